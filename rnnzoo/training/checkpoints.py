"""The checkpoints of a run, `best.ckpt` and `last.ckpt`: whole files, and paths that hold when the run is moved."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, StochasticWeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from rnnzoo.errors import RnnZooError
from rnnzoo.training.checkpoint_files import whole_file
from rnnzoo.training.exact_resume import between_steps
from rnnzoo.training.run_folder import RunLogger

_STEPS_A_LOOK = 10  # after so many do processes ask each other whether the time is up


def check_folder(trainer: Trainer) -> None:
    """Raises RnnZooError where the folder of a run is gone: a disk that is lost must not be replaced by what is below.

    To write a checkpoint makes the folders on its path.
    """
    for logger in trainer.loggers if trainer.is_global_zero else ():
        if isinstance(logger, RunLogger) and logger.has_folder and not os.path.isdir(logger.log_dir):
            raise RnnZooError(f"the run {logger.log_dir!r} cannot be written: its folder is gone; is the disk mounted?")


class BestCheckpoint(ModelCheckpoint):
    """`best.ckpt`, of the lowest ``val_loss``; a run that goes on from another's checkpoint takes over its best one.

    Its state names the best checkpoint beside the one that is read, by the file's name alone, so that it holds in
    another working folder and after a run was moved.
    """

    def __init__(self) -> None:
        super().__init__(filename="best", monitor="val_loss", enable_version_counter=False)
        self._before: tuple[Path, torch.Tensor] | None = None  # of the run that goes on: its best file, and the score
        self._missed = False

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        check_folder(trainer)
        super()._save_checkpoint(trainer, filepath)

    def state_dict(self) -> dict[str, Any]:
        best = os.path.basename(self.best_model_path)
        return {"monitor": self.monitor, "best_model_score": self.best_model_score, "best_model_path": best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Leaves it to `on_load_checkpoint`, which knows where the checkpoint lies."""

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        state = checkpoint.get("callbacks", {}).get(self.state_key)
        if trainer.state.fn != TrainerFn.FITTING or not state or not state["best_model_path"]:
            return
        path = Path(trainer.ckpt_path or "").with_name(state["best_model_path"])
        if path.is_file():
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            score = found.get("callbacks", {}).get(self.state_key, {}).get("best_model_score")
            # one of a later epoch lies there where an earlier checkpoint of the run is gone on from
            if score is not None and torch.equal(score.cpu(), state["best_model_score"].cpu()):
                self._before = path, score

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._before is None:
            return
        path, score = self._before
        own = self.format_checkpoint_name({})
        if trainer.is_global_zero and path.absolute() != Path(own).absolute():
            with whole_file(Path(own)) as file, path.open("rb") as old:
                shutil.copyfileobj(old, file)
        score = score.to(trainer.strategy.root_device)
        self.best_model_path = self.kth_best_model_path = own
        self.best_model_score = self.kth_value = score
        self.best_k_models = {own: score}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor in trainer.callback_metrics:
            super().on_train_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor in trainer.callback_metrics:
            super().on_validation_end(trainer, pl_module)
        elif trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and not self._missed:
            self._missed = True
            logged = ", ".join(trainer.callback_metrics) or "nothing"
            rank_zero_warn(f"no best.ckpt is written: it is of the lowest {self.monitor}, but validation logs {logged}")


class LastCheckpoint(ModelCheckpoint):
    """`last.ckpt`: the model as it is when an epoch ends and when training ends, whatever is validated.

    Within an epoch it is written before a step: what was done is logged by then, and validated where that was due.

    Args:
        every_n_steps: of the optimizer; None for none within an epoch.
        every_minutes: since it was last written.

    Raises:
        RnnZooError: one of them is not above 0.
    """

    def __init__(self, every_n_steps: int | None = None, every_minutes: float | None = 10.0) -> None:
        for name, value in (("every_n_steps", every_n_steps), ("every_minutes", every_minutes)):
            if value is not None and not value > 0:
                raise RnnZooError(f"{name} must be above 0, not {value}; null is for none within an epoch")
        super().__init__(filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
        self.every_n_steps, self.every_minutes = every_n_steps, every_minutes
        self._written_at = time.monotonic()

    def is_behind(self, trainer: Trainer) -> bool:
        """Whether steps were made since it was written."""
        return trainer.global_step != self._last_global_step_saved

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.fast_dev_run or not trainer.global_step or not between_steps(trainer, batch_idx):  # type: ignore[attr-defined]
            return
        if self.is_behind(trainer) and (self._steps_are_up(trainer) or self._time_is_up(trainer)):
            self.write(trainer)

    def _steps_are_up(self, trainer: Trainer) -> bool:
        return self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0

    def _time_is_up(self, trainer: Trainer) -> bool:
        if self.every_minutes is None:
            return False
        up = time.monotonic() - self._written_at >= 60 * self.every_minutes
        if trainer.world_size == 1:
            return up
        if trainer.global_step % _STEPS_A_LOOK:
            return False
        return bool(trainer.strategy.reduce_boolean_decision(up, all=False))  # each has a clock of its own

    def write(self, trainer: Trainer) -> None:
        """Writes it now; to be called on every process."""
        self._save_none_monitor_checkpoint(trainer, self._monitor_candidates(trainer))

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        check_folder(trainer)
        super()._save_checkpoint(trainer, filepath)
        self._written_at = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._written_at = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Has none: a run writes its own, whatever it goes on from."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        # it puts its average in the place of the weights when training has ended
        self._finish(trainer, changed=any(isinstance(c, StochasticWeightAveraging) for c in callbacks))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finish(trainer)  # on_train_end is not called where there was nothing left to train

    def _finish(self, trainer: Trainer, changed: bool = False) -> None:
        own = self.format_checkpoint_name({})
        if (
            not self.best_model_path
            and trainer.ckpt_path
            and Path(own).absolute() == Path(trainer.ckpt_path).absolute()
        ):
            self.best_model_path = own  # of a run in whose folder nothing was left to train
            return
        written = self.best_model_path and self._last_global_step_saved == trainer.global_step
        if not trainer.fast_dev_run and (changed or not written):  # type: ignore[attr-defined]
            self.write(trainer)
