"""What is read of another library's model, and how it becomes a checkpoint of ours."""

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from rnnzoo.cache import written_aside
from rnnzoo.errors import RnnZooError, did_you_mean
from rnnzoo.tasks.base import Task

# of language models, which most are
TEXT: Mapping[str, Any] = {"class_path": "rnnzoo.data.TokenTextData", "init_args": {"dataset": "kjv"}}
COMMANDS = (
    "rnnzoo generate {checkpoint} --length 200",
    "rnnzoo test --ckpt_path {checkpoint} --data.dataset FILE",
    "rnnzoo fit --config configs/word_lm.yaml --model.pretrained {checkpoint} --data.dataset FILE",
)


@dataclass(frozen=True)
class Imported:
    """A model of another library as a task of ours.

    Args:
        task: with its weights.
        lines: what was read, for people: layers, sizes, tokens.
        data: what evaluates it and goes on training it, "class_path" and "init_args".
        commands: what to try next, with "{checkpoint}" for its path.
    """

    task: Task
    lines: Sequence[str]
    data: Mapping[str, Any] = field(default_factory=lambda: TEXT)
    commands: Sequence[str] = COMMANDS


def import_model(kind: str, paths: Sequence[Path] = ()) -> Imported:
    """A model of the library `kind`.

    Args:
        kind: one of KINDS.
        paths: the file, the folder, or the files that it has; none for a model that an installed package has.

    Raises:
        RnnZooError: an unknown kind, no path or package, or files that are not of this kind, are truncated or hold
            code.
    """
    from rnnzoo.tasks.imports import KINDS

    check_kind(kind)
    module, _, function = KINDS[kind].partition(":")
    made: Imported = getattr(importlib.import_module(module), function)(list(paths) or [_installed(kind)])
    return made


def _installed(kind: str) -> Path:
    """The folder of the package that has the model; it is not imported, which may load more than is wanted."""
    from rnnzoo.tasks.imports import PACKAGED

    if kind not in PACKAGED:
        raise RnnZooError(f"the path of the {kind} model is missing")
    spec = find_spec(PACKAGED[kind])
    if spec is None or spec.origin is None:
        raise RnnZooError(f"{kind} is not installed: pip install 'rnnzoo[text]', or give the path of its file")
    return Path(spec.origin).parent


def check_kind(kind: str) -> None:
    """Raises RnnZooError for a kind of model that cannot be imported."""
    from rnnzoo.tasks.imports import KINDS

    if kind not in KINDS:
        raise RnnZooError(f"unknown kind {kind!r}{did_you_mean(kind, KINDS)} there are: {', '.join(KINDS)}")


def write_checkpoint(imported: Imported, kind: str, output: Path) -> None:
    """Writes a checkpoint as a run does, whole or not at all.

    Args:
        imported: the model.
        kind: the library that it is of.
        output: the file; there must be none.

    Raises:
        RnnZooError: it exists, or cannot be written.
    """
    check_output(output)
    task = imported.task
    content: dict[str, Any] = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": task.state_dict(),
        "loops": None,
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": dict(task.hparams),
    }
    task.on_save_checkpoint(content)
    content["rnnzoo"]["imported"] = kind
    folder = {"files": [], "folder": os.getcwd(), "up": "."}
    content["rnnzoo"]["data"] = {**imported.data, **folder}
    try:
        with written_aside(output) as aside:
            torch.save(content, aside)
    except (OSError, RuntimeError) as error:  # torch raises the latter where the disk is full
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise RnnZooError(f"output {str(output)!r} cannot be written: {reason}") from error


def check_output(output: Path) -> None:
    """Raises RnnZooError where a file stands already, or there is no folder for it."""
    if output.exists() or output.is_symlink():
        raise RnnZooError(f"output {str(output)!r} exists: give another name, or remove it first")
    if not output.parent.is_dir():
        raise RnnZooError(f"output {str(output)!r}: the folder {str(output.parent)!r} does not exist")


def one_path(paths: Sequence[Path], kind: str, what: str) -> Path:
    """The only path.

    Raises:
        RnnZooError: there are several.
    """
    if len(paths) != 1:
        given = ", ".join(repr(str(path)) for path in paths)
        raise RnnZooError(f"{kind} takes one path, {what}, not {len(paths)}: {given}")
    return paths[0]


class Weights:
    """The weights of a file by their names, each to be taken once.

    Args:
        given: what the file holds.
        name: of the file, for messages.
        kind: the library that it should be of.

    Raises:
        RnnZooError: they are no tensors by names.
    """

    def __init__(self, given: Any, name: str, kind: str):
        if not isinstance(given, Mapping) or not given or not all(isinstance(one, str) for one in given):
            raise RnnZooError(f"{name!r} holds no weights by their names, as a model of {kind} has them")
        self._left: dict[str, Any] = dict(given)
        self._name, self._kind = name, kind

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str, *shape: int | None) -> Tensor:
        """A tensor, in float32 where it has fewer bits; None in `shape` is any size.

        Raises:
            RnnZooError: it is missing, no tensor, or of another shape.
        """
        if name not in self._left:
            has = f"it has {', '.join(list(self._left)[:4])}, ..." if self._left else "nothing is left"
            raise RnnZooError(f"{self._name!r} is no model of {self._kind}: it has no {name!r}; {has}")
        tensor = self._left.pop(name)
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise RnnZooError(f"{self._name!r}: {name!r} must hold numbers, not {type(tensor).__name__}")
        fits = not shape or (
            tensor.dim() == len(shape) and all(n in (None, m) for n, m in zip(shape, tensor.shape, strict=True))
        )
        if not fits:
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise RnnZooError(f"{self._name!r}: {name!r} must be ({wanted}), not {tuple(tensor.shape)}")
        return tensor.to(torch.promote_types(tensor.dtype, torch.float32)).contiguous()

    def look(self, name: str, *shape: int | None) -> Tensor:
        """A tensor whose shape says a size; it is still to be taken.

        Raises:
            RnnZooError: as `take`.
        """
        tensor = self.take(name, *shape)
        self._left[name] = tensor
        return tensor

    def drop(self, *names: str) -> None:
        """Leaves out what says the same again."""
        for name in names:
            self._left.pop(name, None)

    def count(self, form: str) -> int:
        """How many there are of ``form.format(0)``, ``form.format(1)``, ..."""
        k = 0
        while form.format(k) in self._left:
            k += 1
        return k

    def done(self) -> None:
        """Raises RnnZooError where something is left that this model does not have."""
        if self._left:
            names = ", ".join(list(self._left)[:4])
            raise RnnZooError(f"{self._name!r} has more than a model of {self._kind} is read with: {names}")
