"""The trainer's settings before it is built: the devices that are here, where a run goes, and what has no effect."""

import inspect
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import torch
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping

from rnnzoo.cli.arguments import typed_settings
from rnnzoo.cli.classes import import_class
from rnnzoo.errors import RnnZooError
from rnnzoo.training.optimizers import Optimization
from rnnzoo.training.profile import STEPS, WARM_UP
from rnnzoo.training.run_files import CONFIG, METRICS, RECORD
from rnnzoo.training.trainer import check_precision

_DEVICES = ("accelerator", "devices", "num_nodes", "strategy", "plugins", "sync_batchnorm")
_BAREBONES = ("logger", "enable_checkpointing", "enable_progress_bar", "log_every_n_steps", "enable_model_summary")
_TRAINING = {  # what is for `fit` alone
    "model": tuple(field.name for field in fields(Optimization) if field.name != "freeze"),
    "data": ("stride",),
    "trainer": (
        *("max_epochs", "min_epochs", "max_steps", "min_steps", "max_time", "limit_train_batches"),
        *("accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "val_check_interval"),
        *("check_val_every_n_epoch", "reload_dataloaders_every_n_epochs"),
    ),
}
_BY_OPTIMIZER = _TRAINING["model"]


def use_devices_here(trainer: Namespace, given: list[str], own: bool, say: Callable[[str], None]) -> None:
    """Lets an evaluation run on what this machine has, not on what its training ran on.

    Args:
        trainer: its settings.
        given: the command line, which wins.
        own: whether the config is that of the checkpoint's run; another may choose among the devices that are here.
        say: is called with a line that names what a config asks for and is not here.
    """
    typed = typed_settings(given, "trainer")
    absent = None if own else missing_devices(trainer)
    if (not own and absent is None) or (typed.intersection(_DEVICES) and absent is not None):
        return
    if absent is not None:
        say(f"{absent}: runs on what is here")
    defaults = inspect.signature(Trainer).parameters
    for name in _DEVICES:
        if name not in typed and name in trainer:
            trainer[name] = defaults[name].default


def evaluated_precision(trainer: Namespace, say: Callable[[str], None]) -> None:
    """Lets a model that was trained in float16 on a GPU be evaluated on a CPU, in whole precision."""
    try:
        check_precision(trainer.get("precision"), trainer.get("accelerator"))
    except RnnZooError as error:
        say(f"{error}: runs in 32-true")
        trainer.precision = "32-true"


def missing_devices(trainer: Namespace) -> str | None:
    """What the trainer's settings ask for and this machine has not, or None."""
    accelerator, devices = trainer.get("accelerator"), trainer.get("devices")
    if accelerator in ("gpu", "cuda") and not torch.accelerator.is_available():
        return f"trainer.accelerator is {accelerator!r}, but torch finds no GPU here"
    on_gpu = accelerator not in ("cpu", None) and torch.accelerator.is_available()
    there = torch.accelerator.device_count() if on_gpu else os.cpu_count() or 1
    launched = not on_gpu and "LOCAL_RANK" in os.environ  # torchrun has started as many processes as it was told
    if str(devices).isdigit() and int(devices) > there and not launched:
        kind = "accelerators" if on_gpu else "processor cores"
        return f"trainer.devices is {devices}, but this machine has {there} {kind}"
    return None


def write_under_root(trainer: Namespace, given: list[str]) -> None:
    """Puts the loggers' folders under ``default_root_dir``, unless one is typed."""
    root, loggers = trainer.get("default_root_dir"), trainer.get("logger")
    if not root or any("save_dir" in argument for argument in given):
        return
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        settings = logger.get("init_args") if isinstance(logger, Namespace) else None
        # a config that a run wrote holds the folder as it was put together
        if settings and settings.get("save_dir") and not Path(settings.save_dir).is_relative_to(root):
            settings.save_dir = str(Path(root) / settings.save_dir)


def runs_of(trainer: Namespace, given: list[str]) -> Path | None:
    """Where the runs of a config lie, side by side; None where its logger keeps none in folders."""
    root, logger = trainer.get("default_root_dir"), trainer.get("logger")
    settings = logger.get("init_args") if isinstance(logger, Namespace) else None
    if not settings or not settings.get("save_dir") or not settings.get("name"):
        return None
    folder = Path(settings.save_dir)
    if root and not any("save_dir" in argument for argument in given) and not folder.is_relative_to(root):
        folder = Path(root) / folder
    return folder / settings.name


def leave_no_run(trainer: Namespace) -> None:
    """Evaluation writes no run folder."""
    trainer.logger, trainer.enable_checkpointing = False, False
    trainer.callbacks = [c for c in trainer.callbacks or [] if not _is_checkpoint(c)]


def profile_steps(trainer: Namespace, given: list[str]) -> None:
    """A short training that writes and validates nothing, for ``--profile``."""
    leave_no_run(trainer)
    trainer.callbacks = [c for c in trainer.callbacks if not issubclass(import_class(c.class_path), EarlyStopping)]
    trainer.enable_progress_bar, trainer.limit_val_batches, trainer.num_sanity_val_steps = False, 0, 0
    if "max_steps" not in typed_settings(given, "trainer"):
        trainer.max_steps = STEPS + WARM_UP


def _is_checkpoint(callback: Namespace) -> bool:
    return issubclass(import_class(callback.class_path), Checkpoint)


def leave_earlier_defaults(trainer: Namespace) -> None:
    """Leaves out the two callbacks that runs of earlier versions have in their config: they would write our files."""
    trainer.callbacks = [
        c
        for c in trainer.callbacks or []
        if not (_is_checkpoint(c) and c.init_args.get("filename") in ("best", "last"))
        or c.init_args.get("dirpath")
        or c.init_args.get("enable_version_counter", True)
    ]


def strip(trainer: Namespace, given: list[str]) -> None:
    """For ``barebones``, takes back our own defaults, which Lightning refuses beside it."""
    typed = typed_settings(given, "trainer")
    for name in (*_BAREBONES, "num_sanity_val_steps"):
        if name not in typed:
            trainer[name] = None


def without_effect(command: str, config: Namespace, given: list[str]) -> list[str]:
    """A line for each group of settings that are given and have no effect.

    Raises:
        RnnZooError: for those that can only be a mistake.
    """
    optimizer, scheduler = config.get("optimizer"), config.get("lr_scheduler")
    if scheduler and not optimizer:
        raise RnnZooError(
            f"lr_scheduler {scheduler.class_path.rpartition('.')[2]!r} has no effect without an optimizer: give"
            " --optimizer AdamW too, or --model.schedule one_cycle, cosine or constant"
        )
    lines = []
    if command == "fit":
        typed = [f"--model.{name}" for name in _BY_OPTIMIZER if name in typed_settings(given, "model")]
        if optimizer and typed:
            raise RnnZooError(
                f"{', '.join(typed)} has no effect beside --optimizer: give --optimizer.lr and its other settings,"
                " and --lr_scheduler"
            )
        if optimizer:
            names = ", ".join(f"model.{name}" for name in _BY_OPTIMIZER)
            lines.append(f"{names} have no effect: optimizer {optimizer.class_path.rpartition('.')[2]} is given")
        return lines
    idle = [f"--{group}.{n}" for group, names in _TRAINING.items() for n in names if n in typed_settings(given, group)]
    idle += [f"--checkpoint.{name}" for name in sorted(typed_settings(given, "checkpoint"))]
    idle += [
        f"--{name}"
        for name in ("optimizer", "lr_scheduler", "logger", "numbers")
        if any(a.startswith(f"--{name}") for a in given)
    ]
    if command != "predict" and "predict_split" in typed_settings(given, "data"):
        lines.append(f"--data.predict_split has no effect on {command}: `rnnzoo predict` reads it")
    return [*lines, *([f"{', '.join(idle)} has no effect on {command}: it is for fit"] if idle else [])]


def check_run_folder(trainer: Namespace) -> None:
    """Raises RnnZooError where a run could not be written."""
    logger = trainer.get("logger")
    settings = logger.get("init_args", {}) if isinstance(logger, Namespace) else {}
    folder = Path(settings.get("save_dir") or trainer.get("default_root_dir") or ".")
    if not _can_write(folder):
        raise RnnZooError(
            f"the run cannot be written to {str(folder)!r}: no folder can be made there;"
            " --trainer.logger.save_dir or --trainer.default_root_dir says where"
        )


def _can_write(folder: Path) -> bool:
    """Whether `folder`, or the folders that are missing to it, could be made and written."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return False
    try:
        with tempfile.TemporaryDirectory(dir=folder):
            return True
    except OSError:
        return False


def leave_whole_lines(folder: Path) -> None:
    """Takes away what was half written into a run's folder: the end of the metrics, and a config without metrics."""
    metrics, config = folder / METRICS, folder / CONFIG
    if metrics.is_file():
        content = metrics.read_bytes()
        os.truncate(metrics, content.rfind(b"\n") + 1)
    elif config.is_file() and not (folder / "hparams.yaml").is_file():
        config.unlink()


def leave_nothing(folder: Path) -> None:
    """Takes away the folder of a run that failed before its first step, where nothing but its settings is in it."""
    if folder.is_dir() and {path.name for path in folder.iterdir()} <= {CONFIG, "hparams.yaml", RECORD}:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        with suppress(OSError):  # there are other runs of its name
            folder.parent.rmdir()
            if folder.parent.parent.name == "runs":  # not a folder that a user has made
                folder.parent.parent.rmdir()
