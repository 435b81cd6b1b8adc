"""The tasks of this project."""

from typing import Any

from torch.nn.functional import huber_loss

from rnnzoo.tasks import SequenceTask
from rnnzoo.tasks.base import Judged


class HuberTask(SequenceTask):
    """Numbers at the end of a sequence, trained by Huber's loss; evaluated by what a SequenceTask reports.

    Args:
        delta: the error from which on the loss grows linearly, in the units of the answers.
        settings: those of a SequenceTask.
    """

    def __init__(self, description: Any = None, *, delta: float = 1.0, **settings: Any):
        super().__init__(description, **settings)
        self.delta = delta

    def judge(self, batch: Any, stage: str) -> Judged:
        judged = super().judge(batch, stage)
        if stage == "train":
            judged.loss = huber_loss(self(batch.x), batch.y, delta=self.delta)
        return judged
