"""Which class was said of what, of each class, as a picture in the run's folder."""

from pathlib import Path
from typing import Any

from rnnzoo.training.confusion import CONFUSION, ConfusionCounts, draw_confusion
from rnnzoo.training.messages import relative, warn
from rnnzoo.training.run_files import is_run
from rnnzoo.training.run_record import run_folder


class ConfusionPicture:
    """What a task that classifies puts before `Task`: its `confusion`, which it updates in a test, is drawn after it.

    `confusion` is None for a task that draws nothing.
    """

    confusion: ConfusionCounts | None
    description: Any
    classes: int
    trainer: Any

    @property
    def labels(self) -> list[str]:
        """The names of the classes; their numbers where they have none."""
        return list(self.description.labels or map(str, range(self.classes)))

    def on_test_epoch_start(self) -> None:
        if self.confusion is not None:
            self.confusion.reset()

    def on_test_epoch_end(self) -> None:
        """Draws the confusion matrix into the run's folder: that of the training, or else the checkpoint's."""
        if self.confusion is None or not self.confusion.update_called:
            return
        counts = self.confusion.compute().cpu().numpy()  # on all processes: it adds up theirs
        folder = run_folder(self.trainer) or owner(self.trainer.ckpt_path)
        if folder is None or not self.trainer.is_global_zero:
            return
        try:
            draw_confusion(counts, self.labels, folder / CONFUSION)
        except Exception as error:  # whatever it is, it must not cost the run its figures
            reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
            warn(f"{relative(str(folder / CONFUSION))} is not drawn: {reason}")


def owner(checkpoint: str | Path | None) -> Path | None:
    """The folder of the run that a checkpoint lies in; None where it lies in none."""
    folder = Path(checkpoint).absolute().parent.parent if checkpoint else None
    return folder if folder is not None and is_run(folder) else None
