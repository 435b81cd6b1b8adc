"""What oracles are written in: registration, how one is run over sequences, and scalar functions.

An oracle gets weights and buffers by name as nested lists (None for one left out), beside them the cell's own
arguments and the sizes I and H; then x, a list of I numbers; then the fields of the old state. It returns y and the
new fields.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from rnnzoo.cells.registry import constants_of


@dataclass(frozen=True)
class Oracle:
    """The step, the settings of the cell's own arguments to compare under, and how to make its other inputs."""

    step: Callable[..., tuple[list[Any], tuple[Any, ...]]]
    settings: tuple[dict[str, Any], ...] = ({},)
    inputs: Mapping[str, Callable[[int, int], Tensor]] = field(default_factory=dict)
    training: bool = False  # whether it is the cell in training mode, where that differs


ORACLES: dict[str, Oracle] = {}


def oracle(
    *names: str,
    settings: tuple[dict[str, Any], ...] = ({},),
    inputs: Mapping[str, Any] | None = None,
    training: bool = False,
):
    """Makes a function the oracle of the cells `names`."""

    def add(step):
        for name in names:
            assert name not in ORACLES, f"{name} has an oracle already"
            ORACLES[name] = Oracle(step, settings, inputs or {}, training)
        return step

    return add


def run_oracle(step: Callable[..., Any], cell: Any, x: Tensor, s: Any, **inputs: Tensor) -> tuple[Tensor, Any]:
    """Outputs (T, B, O) and final state of `cell`, by the oracle; differentiable by all that it gets."""
    constants = {name: getattr(cell, name) for name in constants_of(type(cell))}
    names = dict.fromkeys(("weight_ih", "weight_hh", "bias_ih", "bias_hh", *cell._parameters))
    weights = {name: numbers(a) for name, a in (*cell.named_parameters(), *cell.named_buffers())}
    w = SimpleNamespace(I=cell.input_size, H=cell.hidden_size, **(constants | names | weights))
    ys, finals = [], []
    for b in range(x.shape[1]):
        state, row = tuple(numbers(a[b]) for a in s), []
        for t in range(x.shape[0]):
            y, state = step(w, numbers(x[t, b]), *state, **{n: numbers(a[t, b]) for n, a in inputs.items()})
            row.append(y)
        ys.append(row)
        finals.append(state)
    fields = (tensor([final[k] for final in finals]) for k in range(len(s)))
    return tensor(ys).transpose(0, 1), type(s)(*fields)


def numbers(a: Tensor) -> Any:
    """A tensor as nested lists of 0-d tensors."""
    return [numbers(b) for b in a.unbind(0)] if a.dim() else a


def tensor(nested: Any) -> Tensor:
    """The tensor of nested lists of 0-d tensors."""
    return torch.stack([tensor(a) for a in nested]) if isinstance(nested, list | tuple) else nested


def sigmoid(a: Tensor) -> Tensor:
    return 1 / (1 + (-a).exp())


def tanh(a: Tensor) -> Tensor:
    return 1 - 2 / ((2 * a).exp() + 1)


def dot(row: list[Tensor], values: list[Tensor]) -> Tensor:
    return sum(a * b for a, b in zip(row, values, strict=True))


def entry(bias: list[Tensor] | None, k: int) -> Any:
    return 0 if bias is None else bias[k]


def from_x(w: SimpleNamespace, gate: int, j: int, x: list[Tensor]) -> Tensor:
    """W x + b, unit j of one gate."""
    return dot(w.weight_ih[gate * w.H + j], x) + entry(w.bias_ih, gate * w.H + j)


def from_h(w: SimpleNamespace, gate: int, j: int, h: list[Tensor]) -> Tensor:
    """R h + d, unit j of one gate."""
    return dot(w.weight_hh[gate * w.H + j], h) + entry(w.bias_hh, gate * w.H + j)


def both(w: SimpleNamespace, gate: int, j: int, x: list[Tensor], h: list[Tensor]) -> Tensor:
    return from_x(w, gate, j, x) + from_h(w, gate, j, h)
