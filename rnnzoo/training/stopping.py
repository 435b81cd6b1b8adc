"""Ctrl-C, SIGTERM and SLURM's signal: a run ends between two steps, with a checkpoint that it can go on from."""

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from rnnzoo.training.checkpoints import LastCheckpoint
from rnnzoo.training.exact_resume import between_steps
from rnnzoo.training.messages import relative
from rnnzoo.training.run_files import CONFIG

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
if hasattr(signal, "SIGUSR1"):
    NAMES[signal.SIGUSR1] = "SIGUSR1"


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
    Where SLURM runs the job SIGUSR1, which ``#SBATCH --signal=SIGUSR1@90`` asks for before a job's time is up, does the
    same, and puts the job into the queue again. Lightning would save from within the handler of the signal, in the
    middle of whatever it came into.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may have handlers
        self.received = _EARLY[0] if _EARLY else None
        for signum in NAMES:
            if signum in (signal.SIGINT, signal.SIGTERM) or SLURMEnvironment.detect():
                self._before[signum] = signal.signal(signum, self._receive)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        signum = self.received or 0
        if trainer.world_size > 1:  # one may have it
            own = torch.tensor(float(signum), device=trainer.strategy.root_device)
            signum = int(trainer.strategy.reduce(own, reduce_op="max"))
        if not signum or not between_steps(trainer, batch_idx):
            return
        path, last = last_checkpoint(trainer), _last_checkpoint(trainer)
        if last is not None and trainer.global_step and last.is_behind(trainer):
            last.write(trainer)
        if signum not in (signal.SIGINT, signal.SIGTERM) and trainer.is_global_zero:
            put_into_the_queue_again()
        raise Stopped(signum, where_it_stands(trainer), str(path) if path else None)

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
    callback = _last_checkpoint(trainer)
    return None if callback is None or not callback.dirpath else Path(callback.dirpath) / "last.ckpt"


def _last_checkpoint(trainer: Trainer) -> LastCheckpoint | None:
    if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by a connector
        return None
    return next((c for c in trainer.checkpoint_callbacks if isinstance(c, LastCheckpoint)), None)


def put_into_the_queue_again() -> None:
    """Has SLURM start the job again."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID')}" if array else os.environ.get("SLURM_JOB_ID", "")
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=False)
        failed = done.stderr.strip() or f"it exits with {done.returncode}" if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        failed = str(error)
    _announce(
        f"job {job} is not in the queue again: scontrol requeue: {failed}" if failed else f"job {job} is requeued"
    )


def farewell(stop: Stopped, given: list[str]) -> list[str]:
    """What is said of a run that was stopped: where it stands, and the command that goes on from there."""
    lines = [f"stopped by {NAMES[signal.Signals(stop.signum)]}: {stop.stands}"]
    if stop.checkpoint is None or not Path(stop.checkpoint).is_file():
        return [*lines, "no checkpoint was written; the same command starts anew"]
    path = relative(stop.checkpoint)
    run = Path(path).parent.parent
    if (run / CONFIG).is_file():
        command = f"--resume {shlex.quote(str(run))}"
    else:
        command = f"{shlex.join(_without_checkpoint(given))} --ckpt_path {shlex.quote(path)}"
    return [*lines, f"checkpoint: {path}", f"go on with: rnnzoo fit {command}"]


def _without_checkpoint(given: list[str]) -> list[str]:
    """A command's arguments but for the checkpoint."""
    pairs = zip(["", *given], given, strict=False)
    return [a for before, a in pairs if a.partition("=")[0] != "--ckpt_path" and before != "--ckpt_path"]
