"""Lightning's finders of a learning rate and of a batch size, beside the tasks."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from lightning.pytorch.trainer.states import TrainerFn

from rnnzoo.errors import RnnZooError
from rnnzoo.training.messages import say, warn

_ITS_FILE = ".lr_find_"  # begins the name of what the finder saves, and loads again


class TakeFindings(Callback):
    """Has a task train with the learning rate that a LearningRateFinder found; stands behind it.

    Lightning writes the rate into the hyper-parameters and into the optimizer, whose schedule, laid before, overwrites
    it with the next step. So the task gets it as its setting, and its optimizer and schedule are made anew. A run that
    goes on from a checkpoint has its rate there, and looks for none.

    BatchSizeFinder is refused for our data: how many batches there are, and so the schedule, and for streams the data
    themselves depend on the batch size, which Lightning changes when all of these are made.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
        data: Any = getattr(trainer, "datamodule", None)
        ours = any(type(part).__module__.startswith("rnnzoo.") for part in (pl_module, data))
        if stage == "fit" and ours and any(isinstance(callback, BatchSizeFinder) for callback in callbacks):
            raise RnnZooError(
                "BatchSizeFinder is not supported: the schedule, and of streams the data, depend on the batch size that"
                f" it would change; set --data.batch_size (now {getattr(data, 'batch_size', 'unknown')}), an error says"
                " where memory does not suffice"
            )

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        fits, own = trainer.state.fn == TrainerFn.FITTING, Path(trainer.ckpt_path or "").name.startswith(_ITS_FILE)
        if fits and not own and any(isinstance(callback, LearningRateFinder) for callback in callbacks):
            say("LearningRateFinder does nothing here: the run goes on with the rate of its checkpoint")
            trainer.callbacks = [c for c in callbacks if not isinstance(c, LearningRateFinder)]  # type: ignore[attr-defined]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        finder = next((c for c in callbacks if isinstance(c, LearningRateFinder)), None)
        settings: Any = getattr(pl_module, "settings", None)
        if finder is None or not hasattr(settings, "learning_rate") or "learning_rate" not in pl_module.hparams:
            return
        if finder.optimal_lr is None or finder.optimal_lr.suggestion() is None:
            warn(f"LearningRateFinder found no rate: it stays {settings.learning_rate:g}")
            return
        trainer.ckpt_path = None  # the finder's own file, from which nothing goes on
        settings.learning_rate = pl_module.hparams["learning_rate"] = float(pl_module.hparams["learning_rate"])
        trainer.strategy.setup_optimizers(trainer)
        say(f"learning_rate {settings.learning_rate:.4g}, which LearningRateFinder found")
