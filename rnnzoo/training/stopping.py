"""Ctrl-C and SIGTERM: a run ends between two steps, with a checkpoint that it can go on from."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from rnnzoo.training.checkpoints import LastCheckpoint

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Stopped(BaseException):
    """A run that was asked to stop has stopped; no Exception, so that nothing takes it for an error."""

    def __init__(self, signum: int, stands: str, checkpoint: str | None):
        super().__init__(stands)
        self.signum, self.stands, self.checkpoint = signum, stands, checkpoint


_EARLY: list[int] = []  # signals before the training's own handlers were there


@contextmanager
def no_interruption_lost() -> Iterator[None]:
    """Has a Ctrl-C before the training raise KeyboardInterrupt as ever, and end the training before its first step
    where that is swallowed: of an error in a finaliser, say, Python prints a line and goes on."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may have handlers
        return

    def receive(signum: int, frame: FrameType | None) -> None:
        _EARLY.append(signum)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, receive)
    try:
        yield
    finally:
        _EARLY.clear()
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


class StopBetweenSteps(Callback):
    """Stops before the next training step once SIGINT or SIGTERM has come; a second one stops at once.

    In the middle of a step half of the weights may be new, and in the middle of a validation half of a metric is known:
    neither belongs into a checkpoint. On several processes all stop before the same step, whichever has the signal.
    Where SLURM runs the job SIGTERM is left to Lightning, which has the job started again.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may have handlers
        self.received = _EARLY[0] if _EARLY else None
        for signum in (signal.SIGINT, signal.SIGTERM):
            if signum == signal.SIGINT or not SLURMEnvironment.detect():
                self._before[signum] = signal.signal(signum, self._receive)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        stop = self.received is not None
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            path = last_checkpoint(trainer)
            if path and trainer.global_step and (batch_idx or not path.is_file()):  # at an epoch's start it is there
                trainer.save_checkpoint(path, weights_only=False)
            raise Stopped(self.received or signal.SIGINT, where_it_stands(trainer), str(path) if path else None)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._give_back()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._give_back()

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self.received is not None:
            self._give_back()
            raise KeyboardInterrupt
        self.received = signum
        _announce(f"\n{NAMES[signal.Signals(signum)]}: stopping before the next step; Ctrl-C again stops at once")

    def _give_back(self) -> None:
        """Puts the handlers back that were there before."""
        for signum, handler in self._before.items():
            signal.signal(signum, handler or signal.SIG_DFL)
        self._before = {}


@rank_zero_only
def _announce(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # a print may be what the signal came into


def where_it_stands(trainer: Trainer) -> str:
    """Epoch and steps, of how many."""
    epochs, steps = trainer.max_epochs, trainer.estimated_stepping_batches if trainer.train_dataloader else 0
    of_epochs = f" of {epochs}" if epochs is not None and epochs > 0 else ""
    of_steps = f" of {int(steps):,}" if 0 < steps < float("inf") else ""
    return f"epoch {trainer.current_epoch + 1}{of_epochs}, {trainer.global_step:,}{of_steps} steps done"


def last_checkpoint(trainer: Trainer) -> Path | None:
    """The path of the run's last.ckpt, whether or not it is written yet; None for a run that keeps no checkpoints."""
    if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by a connector
        return None
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, LastCheckpoint) and callback.dirpath:
            return Path(callback.dirpath) / "last.ckpt"
    return None
