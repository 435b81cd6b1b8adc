"""Averaged weights once validation stalls."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn

from rnnzoo.errors import RnnZooError
from rnnzoo.training.messages import say


class AverageOnceStalled(WeightAveraging):
    """NT-ASGD of Merity, Keskar & Socher 2018: from when validation stalls the mean of all weights since is the model.

    Training itself goes on as it was, by any optimizer; with SGD at a constant rate this is averaged SGD (Polyak &
    Juditsky 1992). It is triggered by a validation that is no better than the best of those more than `patience` before
    it. From then on the mean is what is validated and what checkpoints hold as the model; they hold the weights that
    training goes on with beside it.

    Args:
        patience: n, validations that are not looked at, for they may be better by chance.
        monitor: what is validated; lower is better.

    Raises:
        RnnZooError: `patience` below 1.
    """

    def __init__(self, patience: int = 5, monitor: str = "val_loss") -> None:
        if patience < 1:
            raise RnnZooError(f"patience must be at least 1, not {patience}")
        super().__init__(use_buffers=False)
        self.patience, self.monitor = patience, monitor
        self.stalled = False
        self._seen: list[float] = []

    @property
    def averages(self) -> bool:
        """Whether there is a mean to take the place of the weights."""
        return self.stalled and self._average_model is not None and int(self._average_model.n_averaged) > 0

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return self.stalled and step_idx is not None

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.averages:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.averages:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        value = trainer.callback_metrics.get(self.monitor)
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING or value is None or self.stalled:
            return
        before = self._seen[: -self.patience]
        self._seen.append(float(value))
        if before and self._seen[-1] > min(before):
            self.stalled = True
            say(
                f"{self.monitor} has stalled: from step {trainer.global_step:,} on the mean of the weights is the model"
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.averages:
            super().on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "stalled": self.stalled, "seen": self._seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.stalled, self._seen = state_dict["stalled"], list(state_dict["seen"])

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.averages:
            super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._average_model is not None and "averaging_state" in checkpoint:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
