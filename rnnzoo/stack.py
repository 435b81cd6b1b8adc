"""The layers of an RNN, made from what its constructor is given, one for all layers or one for each."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import nn

from rnnzoo.cells.contract import Cell, at_least_one
from rnnzoo.cells.registry import create
from rnnzoo.connections import connection
from rnnzoo.errors import RnnZooError
from rnnzoo.transforms.dilated import Dilated
from rnnzoo.transforms.named import named

CellLike = str | type[Cell] | Callable[..., Cell]
Transform = Callable[[Cell], Cell]
Transforms = Transform | str | Mapping[str, Mapping[str, Any] | None] | Sequence[Any]  # of the others
V = TypeVar("V")


def layers_of(num_layers: int | None, **given: Any) -> int:
    """`num_layers`, or as many as there are entries where one argument has one for each layer; else 1."""
    counts = {name: len(value) for name, value in given.items() if _several(value)}
    if num_layers is None:
        num_layers = next(iter(counts.values()), 1)
    at_least_one("num_layers", num_layers)
    for name, count in counts.items():
        if count != num_layers:
            raise RnnZooError(f"{name} must have one entry for each of the {num_layers} layers, not {count}")
    return num_layers


def each(value: V | Sequence[V], num_layers: int) -> list[V]:
    """One value for each layer."""
    return list(value) if _several(value) else [value] * num_layers  # type: ignore[arg-type,list-item]


def functions(transforms: Transforms) -> list[Transform]:
    """Transforms as functions of a cell, the innermost first."""
    if isinstance(transforms, str):
        return named({transforms: None})
    if isinstance(transforms, Mapping):
        return named(transforms)
    if isinstance(transforms, Sequence):
        return [f for each_one in transforms for f in functions(each_one)]
    return [transforms]


def _several(value: Any) -> bool:
    return isinstance(value, list | tuple)


def make_layers(
    cells: Sequence[CellLike],
    input_size: int,
    hidden_sizes: Sequence[int],
    directions: int,
    transforms: Sequence[Transform],
    dilations: Sequence[int],
    connect: str | Callable[[int, int], nn.Module] | None,
    constants: dict[str, Any],
) -> tuple[nn.ModuleList, nn.ModuleList, int]:
    """Of every layer its cells, one a direction, and its connection, if there are any; and the size of the output."""
    layers, connections = nn.ModuleList(), nn.ModuleList()
    for cell, hidden_size, dilation in zip(cells, hidden_sizes, dilations, strict=True):
        made = [make_cell(cell, input_size, hidden_size, transforms, dilation, constants) for _ in range(directions)]
        layers.append(nn.ModuleList(made))
        output_size = directions * made[0].output_size
        if connect is not None:
            past = connection(connect)(input_size, output_size)
            connections.append(past)
            output_size = int(past.output_size)  # type: ignore[arg-type]
        input_size = output_size
    return layers, connections, input_size


def make_cell(
    cell: CellLike,
    input_size: int,
    hidden_size: int,
    transforms: Sequence[Transform],
    dilation: int,
    constants: dict[str, Any],
) -> Cell:
    """One cell within its transforms."""
    if isinstance(cell, str | type | nn.Module) or not callable(cell):
        made = create(cell, input_size, hidden_size, **constants)  # type: ignore[arg-type]
    else:
        made = _a_cell(f"cell, called with ({input_size}, {hidden_size}),", cell(input_size, hidden_size, **constants))
    for transform in transforms:
        if not callable(transform):
            raise RnnZooError(f"transforms must be functions of a cell, such as Zoneout, not {transform!r}")
        made = _a_cell("a transform, called with a cell,", transform(made))
    return made if at_least_one("dilation", dilation) == 1 else Dilated(made, dilation)


def _a_cell(who: str, made: Any) -> Cell:
    if not isinstance(made, Cell):
        raise RnnZooError(f"{who} must make a Cell, not {made!r}")
    return made


@contextlib.contextmanager
def defaults(device: torch.device | str | None, dtype: torch.dtype | None) -> Iterator[None]:
    """Tensors made inside have this device and dtype, so that cells need no arguments for them."""
    before = torch.get_default_dtype()
    with torch.device(device) if device is not None else contextlib.nullcontext():
        if dtype is not None:
            torch.set_default_dtype(dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)
