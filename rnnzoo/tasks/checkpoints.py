"""Checkpoints read without building a model: what they were made with, and whether they are ours."""

import importlib
import inspect
from pathlib import Path
from typing import Any

import torch
from packaging.version import InvalidVersion, Version

from rnnzoo import __version__
from rnnzoo.description import Description, described, of_hyper_parameters
from rnnzoo.errors import RnnZooError
from rnnzoo.training.checkpoint_files import damage, newest_whole


def read_checkpoint(path: str | Path, argument: str = "checkpoint") -> dict[str, Any]:
    """The content of a checkpoint that a run of ours wrote, on the CPU; settings by today's names.

    Raises:
        RnnZooError: there is no such file, it is damaged, or it is no checkpoint of rnnzoo, or a later version's.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise RnnZooError(f"{argument} {str(path)!r} {what}; a run keeps its checkpoints in <run>/checkpoints/*.ckpt")
    if reason := damage(path):
        whole = newest_whole(path.parent)[0]
        beside = f"; {whole.name} beside it is whole" if whole is not None else ""
        raise RnnZooError(f"{argument} {str(path)!r} is damaged: {reason}{beside}")
    try:
        with torch.serialization.safe_globals([Description]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a file that is not, or is no longer, a checkpoint
        reason = str(error).splitlines()[0].split(". ")[0][:120] if str(error) else type(error).__name__
        raise RnnZooError(f"{argument} {str(path)!r} cannot be read: truncated, or no checkpoint ({reason})") from error
    if not isinstance(content, dict) or "rnnzoo" not in content:
        raise RnnZooError(f"{argument} {str(path)!r} is no checkpoint of rnnzoo")
    check_version(content["rnnzoo"].get("version"), f"{argument} {str(path)!r}")
    content["hyper_parameters"] = _todays(content.get("hyper_parameters", {}))
    return content


def check_version(version: Any, what: str) -> None:
    """Raises RnnZooError for what a later version than this one wrote."""
    if version is None:  # of the first checkpoints
        return
    try:
        later = Version(version) > Version(__version__)
    except (InvalidVersion, TypeError):
        raise RnnZooError(f"{what} says that it is of version {version!r}, which is no version") from None
    if later:
        raise RnnZooError(
            f"{what} was written by rnnzoo {version}, and this is {__version__}: install {version} or later"
        )


def _todays(saved: dict[str, Any]) -> dict[str, Any]:
    """Hyper-parameters of earlier versions by the names that they have now."""
    made = {**saved, **(saved.get("rnn_args") or {})}
    made.pop("rnn_args", None)
    older = [name for name in ("vocabulary", "scaling", "problem") if name in saved]
    if "description" not in saved and older:
        made["description"] = of_hyper_parameters(saved).to_json()
        for name in older:
            del made[name]
    return made


def load_task(path: str | Path, argument: str = "checkpoint") -> Any:
    """The task that a checkpoint holds, ready to use, on the CPU.

    Raises:
        RnnZooError: as `read_checkpoint`, or its cell cannot be found.
    """
    content = read_checkpoint(path, argument)
    kind = task_class(content, path)
    about = content["rnnzoo"]
    settings = content["hyper_parameters"] or (about.get("model") or {}).get("init_args") or {}
    description = described(settings.get("description") or about.get("description"))
    if "description" in inspect.signature(kind).parameters:
        settings = {**settings, "description": description}
    task: Any = kind(**settings)
    task.load_state_dict(content["state_dict"])
    if not hasattr(task, "description"):
        task.description = description
    return task.eval()


def load(checkpoint: str | Path) -> Any:
    """The task that a checkpoint holds, in evaluation mode on the CPU, ready to ``predict``; nothing else is needed.

    >>> import rnnzoo
    >>> model = rnnzoo.load("runs/forecast/version_0/checkpoints/best.ckpt")  # doctest: +SKIP
    >>> model.description.horizon, model.predict(series)  # doctest: +SKIP

    Args:
        checkpoint: one that `fit` or a Trainer wrote for a task, or that `fit` wrote for any LightningModule.

    Raises:
        RnnZooError: there is no such file, it is truncated or no checkpoint of rnnzoo, or its class or its cell cannot
            be found.
    """
    return load_task(checkpoint)


def task_class(content: dict[str, Any], path: str | Path) -> type:
    """The class of the task that wrote a checkpoint."""
    module, _, name = content["rnnzoo"]["task"].rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise RnnZooError(
            f"checkpoint {str(path)!r} was written by {module}.{name}, which cannot be imported: {error}"
        ) from error


def task_name(task: Any) -> str:
    """The import path of a task's class."""
    return f"{type(task).__module__}.{type(task).__qualname__}"
