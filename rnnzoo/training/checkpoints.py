"""The checkpoints of a run, `best.ckpt` and `last.ckpt`: whole files, and paths that hold when the run is moved."""

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, StochasticWeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from rnnzoo.errors import RnnZooError


class BestCheckpoint(ModelCheckpoint):
    """`best.ckpt`, of the lowest ``val_loss``; a run that goes on from another's checkpoint takes over its best one.

    Its state names the best checkpoint beside the one that is read, by the file's name alone, so that it holds in
    another working folder and after a run was moved.
    """

    def __init__(self) -> None:
        super().__init__(filename="best", monitor="val_loss", enable_version_counter=False)
        self._before: tuple[Path, torch.Tensor] | None = None  # of the run that goes on: its best file, and the score
        self._missed = False

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
    """`last.ckpt`: the model as it is when an epoch ends and when training ends, whatever is validated."""

    def __init__(self) -> None:
        super().__init__(filename="last", save_on_train_epoch_end=True, enable_version_counter=False)

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
        written = self.best_model_path and self._last_global_step_saved == trainer.global_step
        if not trainer.fast_dev_run and (changed or not written):  # type: ignore[attr-defined]
            self._save_none_monitor_checkpoint(trainer, self._monitor_candidates(trainer))


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint aside and renames it: what ends in ``.ckpt`` is whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if storage_options is not None or "://" in str(path):  # not a file of this machine
            return super().save_checkpoint(checkpoint, path, storage_options)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with whole_file(Path(path)) as file:
            file.write(content.getbuffer())
        return None


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write what is to be `path`: it gets this name once it is whole, and is removed where writing fails.

    Raises:
        RnnZooError: it cannot be written, for a full disk for example.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        raise RnnZooError(f"{str(path)!r} cannot be written: {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)
