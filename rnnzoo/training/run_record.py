"""What a run writes of itself beside metrics and checkpoints: `run.json`, and the picture of its curve."""

import errno
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.trainer.states import TrainerFn

from rnnzoo import __version__
from rnnzoo.cache import written_aside
from rnnzoo.training.checkpoints import BestCheckpoint
from rnnzoo.training.messages import relative, warn
from rnnzoo.training.run_files import CURVE, RECORD, this_process
from rnnzoo.training.run_folder import RunLogger


def run_folder(trainer: Trainer) -> Path | None:
    """The folder of a run's metrics.csv, on the process that writes it; None elsewhere, and where there is none."""
    if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by a connector
        return None
    return next((Path(logger.log_dir) for logger in trainer.loggers if isinstance(logger, CSVLogger)), None)


class RunRecord(Callback):
    """Writes `run.json`, when training starts and when it ends, however it does.

    task: import path of the module's class.
    cell, hidden_size, num_layers: of its hyper-parameters, null where it has none.
    parameters: how many numbers are trained.
    version: of rnnzoo.
    started: date and time, with the time zone.
    goes_on_from: the checkpoint it goes on from, or null.
    process: host, id, and the system's own time of its start, which tell whether it still runs.
    settings, limits: a digest of its settings, and how far it goes, by which ``fit --resume`` finds it; in runs of
        the command line.
    state: running, finished, stopped (by a signal) or failed (by an error).
    seconds: from the start to the end of training, null until then.
    steps, epochs: done in all, those before `goes_on_from` too.
    best: the lowest val_loss, that of best.ckpt; null where that was not written.
    tested: true once the command line has tested it after its training.
    """

    def __init__(self) -> None:
        self._content: dict[str, Any] = {}
        self._since = 0.0
        self.about: dict[str, Any] = {}  # further facts

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if run_folder(trainer) is None:
            return
        self._since = time.perf_counter()
        kind, settings = type(pl_module), pl_module.hparams
        self._content = {
            "task": f"{kind.__module__}.{kind.__qualname__}",
            **{name: settings.get(name) for name in ("cell", "hidden_size", "num_layers")},
            "parameters": sum(p.numel() for p in pl_module.parameters() if p.requires_grad),
            "version": __version__,
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "goes_on_from": relative(str(trainer.ckpt_path)) if trainer.ckpt_path else None,
            "process": this_process(),
            **self.about,
        }
        self._write(trainer, "running")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, RunLogger):
                logger.start_clock()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, "finished")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._write(trainer, "failed" if isinstance(exception, Exception) else "stopped")

    def add(self, trainer: Trainer, **facts: Any) -> None:
        """Adds to the record of a run that has finished; nothing where it has not."""
        if self._content.get("state") == "finished":
            self._content |= facts
            self._keep(trainer)

    def _write(self, trainer: Trainer, state: str) -> None:
        # a run that failed before it began has no folder, and asking for it makes one
        if not self._content or run_folder(trainer) is None:
            return
        scores = [c.best_model_score for c in trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint)]
        self._content |= {
            "state": state,
            "seconds": None if state == "running" else round(time.perf_counter() - self._since, 3),
            "steps": trainer.global_step,
            "epochs": trainer.current_epoch,
            "best": next((float(score) for score in scores if score is not None), None),
        }
        self._keep(trainer)

    def _keep(self, trainer: Trainer) -> None:
        folder = run_folder(trainer)
        if folder is None:
            return
        try:
            if self._content["state"] == "running":  # else it is there, unless its disk is lost
                folder.mkdir(parents=True, exist_ok=True)
            content = json.dumps(self._content, indent=2, default=str) + "\n"
            with written_aside(folder / RECORD) as made:
                made.write_text(content, encoding="utf-8")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT) and _written_over(folder / RECORD, content.encode()):
                return
            warn(f"{relative(str(folder / RECORD))} is not written: {error.strerror}")


def _written_over(path: Path, content: bytes) -> bool:
    """Writes over a file in the room that it has on a disk that is full; whether it could."""
    try:
        if path.stat().st_blocks * 512 < len(content):
            return False
        with path.open("r+b") as file:
            file.write(content)
            file.truncate()
    except OSError:
        return False
    return True


class RunCurve(Callback):
    """Draws `curve.png` when training ends and when it is stopped; stands behind RunRecord, which it reads."""

    def __init__(self) -> None:
        self._began = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began = True

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if trainer.state.fn == TrainerFn.FITTING and self._began and not isinstance(exception, Exception):
            self._draw(trainer)

    def _draw(self, trainer: Trainer) -> None:
        folder = run_folder(trainer)
        if folder is None:
            return
        try:
            for logger in trainer.loggers:
                if isinstance(logger, CSVLogger):
                    logger.save()
            from rnnzoo.training.curve import draw_run  # matplotlib takes half a second to load

            draw_run(folder)
        except Exception as error:  # whatever it is, it must not cost the run its figures
            reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
            warn(f"{relative(str(folder / CURVE))} is not drawn: {reason}")
