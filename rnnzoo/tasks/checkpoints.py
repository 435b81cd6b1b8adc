"""Checkpoints read without building a model: what they were made with, and whether they are ours."""

import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
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
    what = f"{argument} {str(path)!r}"
    if isinstance(content["rnnzoo"], dict):
        check_version(content["rnnzoo"].get("version"), what)
    with contents_of(what):
        _check_types(content)
        content["hyper_parameters"] = _todays(content.get("hyper_parameters") or {})
    return content


_HELD = {
    "epoch": int,
    "global_step": int,
    "state_dict": dict,
    "hyper_parameters": dict,
    "callbacks": dict,
    "loops": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
}
_OF_DATA = {"class_path": str, "init_args": dict | None, "files": list, "folder": str, "up": str}


def _check_types(content: dict[str, Any]) -> None:
    """Raises TypeError for a checkpoint that lacks something, or has something else in its place."""
    about = content["rnnzoo"]
    if not isinstance(about, dict) or not isinstance(about.get("task"), str):
        raise TypeError("it does not say what task it is of")
    for name, kind in _HELD.items():
        if not isinstance(content.get(name), kind) and (content.get(name) is not None or name == "state_dict"):
            raise TypeError(f"{name} is a {type(content.get(name)).__name__}, not a {kind.__name__}")
    for name, value in content["state_dict"].items():
        if not isinstance(name, str) or (isinstance(value, torch.Tensor) and value.is_meta):
            raise TypeError(f"state_dict has {name!r}, which is no weight")
    for name in ("data", "model", "description"):
        if not isinstance(about.get(name), dict | None):
            raise TypeError(f"{name} is a {type(about[name]).__name__}, not a dict")
    for name, takes in _OF_DATA.items() if about.get("data") is not None else ():
        if not isinstance(about["data"].get(name), takes):
            raise TypeError(f"{name} of its data is {about['data'].get(name)!r}")


@contextmanager
def contents_of(what: str) -> Iterator[None]:
    """Says of any error that is met while a checkpoint is taken apart, that it does not hold what it should.

    A file from elsewhere can be whole and hold anything.
    """
    try:
        yield
    except (RnnZooError, OSError, ImportError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        kind = "" if type(error) is TypeError else f"{type(error).__name__}: "
        raise RnnZooError(f"{what} does not hold what a checkpoint of rnnzoo does: {kind}{reason}") from error


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
    with contents_of(f"{argument} {str(path)!r}"):
        return _task_of(kind, content)


def _task_of(kind: type, content: dict[str, Any]) -> Any:
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
        kind = getattr(importlib.import_module(module), name)
        if not (isinstance(kind, type) and issubclass(kind, LightningModule)):
            raise ImportError("it is no LightningModule")
        return kind
    except (ImportError, AttributeError, ValueError) as error:
        raise RnnZooError(
            f"checkpoint {str(path)!r} was written by {module}.{name}, which cannot be imported: {error}"
        ) from error


def task_name(task: Any) -> str:
    """The import path of a task's class."""
    return f"{type(task).__module__}.{type(task).__qualname__}"
