"""States in torch's shapes, (layers * directions, B, ...) a field, and the cells' own, (B, ...) a layer and direction.

A state of one field is a tensor, one of more the cell's NamedTuple, in an exported program a plain tuple. Where sizes
differ from layer to layer, so that no single tensor holds them, it is a list with one entry a layer, (directions, B,
...) a field.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnzoo.cells.contract import Cell
from rnnzoo.errors import RnnZooError

Layers = Sequence[Sequence[Cell]]


def initial(layers: Layers, batch: int, x: Tensor) -> list[Any]:
    """The cells' own states before the first step, layer by layer and direction by direction."""
    return [cell.initial_state(batch, cell.like(x)) for directions in layers for cell in directions]


def join(layers: Layers, finals: Sequence[Any]) -> Any:
    """The cells' states, one for each layer and direction, in torch's shapes."""
    D = len(layers[0])
    if _alike(finals):
        return unwrap(_stack(finals))
    return [unwrap(_stack(finals[k : k + D])) for k in range(0, len(finals), D)]


def split(layers: Layers, hx: Any) -> list[Any]:
    """The cells' states, one for each layer and direction, from a state in torch's shapes that has been checked."""
    cells = [cell for directions in layers for cell in directions]
    rows = [
        row
        for layer in (hx if isinstance(hx, list) else [hx])
        for row in zip(*(a.unbind(0) for a in as_tuple(layer)), strict=True)
    ]
    return [cell.State(*row) for cell, row in zip(cells, rows, strict=True)]


def check(layers: Layers, hx: Any, batch: int, x: Tensor) -> None:
    """Raises RnnZooError when `hx` has another structure, batch size, dtype or device than this stack needs."""
    D, expected = len(layers[0]), initial(layers, batch, x)
    if _alike(expected):
        _check_fields(hx, expected, "hx", "num_layers * directions")
    elif not isinstance(hx, list) or len(hx) != len(layers):
        got = f"one of {len(hx)}" if isinstance(hx, list) else type(hx).__name__
        raise RnnZooError(f"hx must be a list with one state for each of the {len(layers)} layers, not {got}")
    else:
        for k, layer in enumerate(hx):
            _check_fields(layer, expected[k * D : (k + 1) * D], f"hx[{k}]", "directions")


def as_tuple(state: Any) -> tuple[Tensor, ...]:
    """The fields of a state in torch's shapes, which is a bare tensor where there is one field."""
    return (state,) if isinstance(state, Tensor) else tuple(state)


def _check_fields(hx: Any, expected: Sequence[Any], name: str, axis: str) -> None:
    fields = expected[0]._fields
    given = (hx,) if isinstance(hx, Tensor) else hx
    if not isinstance(given, tuple) or len(given) != len(fields):
        what = "a tensor" if len(fields) == 1 else f"a tuple of {len(fields)} tensors"
        got = f"a tuple of {len(given)}" if isinstance(given, tuple) else f"a {type(given).__name__}"
        raise RnnZooError(f"{name} must be {what} ({', '.join(fields)}), not {'a tensor' if given is not hx else got}")
    for field, tensor, like in zip(fields, given, expected[0], strict=True):
        label = name if len(fields) == 1 else f"{name}.{field}"
        if not isinstance(tensor, Tensor):
            raise RnnZooError(f"{label} must be a tensor, not {type(tensor).__name__}")
        shape = (len(expected), *like.shape)
        if tensor.shape != shape:
            legend = f"({axis}, batch{', ...' if len(shape) > 2 else ''})"
            raise RnnZooError(f"{label} must have the shape {shape} {legend}, not {tuple(tensor.shape)}")
        if tensor.device != like.device:
            raise RnnZooError(f"{label} lies on {tensor.device}, the weights on {like.device}")
        same = tensor.dtype == like.dtype
        if not same and not (torch.is_autocast_enabled(tensor.device.type) and tensor.is_floating_point()):
            raise RnnZooError(f"{label} must be {like.dtype}, as the weights, not {tensor.dtype}")


def _alike(states: Sequence[Any]) -> bool:
    first = states[0]
    return all(
        type(s) is type(first) and all(a.shape == b.shape for a, b in zip(s, first, strict=True)) for s in states
    )


def _stack(states: Sequence[Any]) -> Any:
    return type(states[0])(*map(torch.stack, zip(*states, strict=True)))


def unwrap(state: Any) -> Any:
    """A state of fields in torch's shapes as a user gets it."""
    if len(state) == 1:
        return state[0]
    # who loads an exported program may have no rnnzoo, and so no class of the cell's state
    return tuple(state) if torch.compiler.is_exporting() else state
