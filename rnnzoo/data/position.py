"""Where training data are read on from in a run that was interrupted: the epoch, and what of it was trained on."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch.utils.data import Sampler

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

_START = "rnnzoo_start"  # an attribute of a trainer, which is all that its data modules know of the run


def start_at(trainer: "Trainer", epoch: int, batches: int) -> None:
    """Has the training data that `trainer` reads next begin in `epoch`, behind so many of its batches."""
    vars(trainer)[_START] = epoch, batches


def next_position(trainer: "Trainer | None", epoch: int) -> tuple[int, int]:
    """The epoch whose training data are read now, and how many batches of it are left out. To be asked once an epoch.

    Args:
        trainer: which knows of the epoch; None for a loop of one's own.
        epoch: which it is where there is no trainer.
    """
    if trainer is None:
        return epoch, 0
    # what Lightning says by set_epoch counts an epoch twice where a run by max_steps is resumed at an epoch's end
    start: tuple[int, int] | None = vars(trainer).pop(_START, None)
    return start or (getattr(trainer, "current_epoch", epoch), 0)


class InOrder(Sampler[int]):
    """The places 0, 1, ... of an epoch's batches; in a run that goes on those that were not trained on.

    Args:
        count: of batches in an epoch.
        trainer: which knows where a run goes on.
    """

    def __init__(self, count: int, trainer: "Trainer | None" = None) -> None:
        self.count, self.trainer = count, trainer

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        yield from range(next_position(self.trainer, 0)[1], self.count)


def own_generator() -> torch.Generator:
    """What a loader of torch may draw from.

    By itself it draws a number from the generator that dropout draws from, whenever it starts workers or an epoch; and
    of an interrupted run it starts more often.
    """
    return torch.Generator().manual_seed(0)
