"""A batch whose loss or gradient is not finite: where it began, which rows it has, and the file that keeps it."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from rnnzoo.cells.contract import Cell
from rnnzoo.rnn import RNN
from rnnzoo.training.watched import watch

FOLDER = "bad_batches"
ROWS = ("number", "numbers", "positions", "rows", "row", "index", "ids", "id")  # fields that say which rows these are
_SHOWN = 6


def plain(value: Any) -> Any:
    """What torch.load reads with weights_only=True: tensors on the CPU, numbers, texts, lists, dictionaries."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return torch.from_numpy(value.copy())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: plain(part) for name, part in zip(value._fields, value, strict=True)}
    if is_dataclass(value) and not isinstance(value, type):
        return {part.name: plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, list | tuple | np.ndarray) else repr(value)


def rows_of(batch: Any) -> str:
    """Which rows of the data a batch holds, as ``number 3, 17, 20``; empty where it does not say."""
    known = plain(batch)
    for name in ROWS if isinstance(known, dict) else ():
        value = known.get(name)
        if isinstance(value, Tensor) and value.dim() == 1 and value.numel():
            values = [str(v) for v in value[:_SHOWN].tolist()]
            return f"{name} {', '.join([*values, '...'] if value.numel() > _SHOWN else values)}"
    return ""


def where_it_begins(module: LightningModule, judge: Any) -> str:
    """The first layer whose output is not finite when ``judge()`` runs once more; empty where none is.

    Of an RNN it names the layer and the step.
    """
    first: list[str] = []
    hooks = []

    def hook(name: str) -> Any:
        def look(part: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
            if not first and not _finite(result):
                given = _finite(args) and _finite(kwargs)
                first.append(_within(name, part, args, kwargs) if isinstance(part, RNN) and given else name)

        return look

    for name, part in module.named_modules():
        leaf = name and not isinstance(part, Cell) and next(part.children(), None) is None  # a cell is never called
        if leaf or isinstance(part, RNN):
            hooks.append(part.register_forward_hook(hook(name), with_kwargs=True))
    try:
        judge()
    finally:
        for each in hooks:
            each.remove()
    return first[0] if first else ""


def _within(name: str, rnn: RNN, args: Any, kwargs: Any) -> str:
    with torch.no_grad():
        seen = watch(rnn, *args, **{k: v for k, v in kwargs.items() if k != "return_states"})
    layer = next((layer for layer in seen.layers if layer.first_bad is not None), None)
    return name if layer is None else f"{name}.{layer.name}, from its step {layer.first_bad} on"


def _finite(value: Any) -> bool:
    leaves = (a for a in tree_leaves(value) if isinstance(a, Tensor) and (a.is_floating_point() or a.is_complex()))
    return all(bool(a.isfinite().all()) for a in leaves)


def save_batch(path: Path, content: dict[str, Any]) -> None:
    """Writes what `plain` makes of `content`.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(plain(content), path)
