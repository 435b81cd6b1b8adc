"""How an identity is written: a sentence, and a function that returns what was got and what it must equal."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnzoo.cells import Cell, create


class Identity(NamedTuple):
    """A claim, and what builds its two sides; equal up to `tolerance`, relative to 1 + the value expected."""

    sides: Callable[[], tuple[Any, Any]]
    tolerance: float


IDENTITIES: dict[str, Identity] = {}


def identity(claim: str, tolerance: float = 1e-12):
    """Registers a function without arguments that returns (got, wanted), tensors or tuples of tensors."""

    def add(sides):
        assert claim not in IDENTITIES, f"{claim!r} is claimed already"
        IDENTITIES[claim] = Identity(sides, tolerance)
        return sides

    return add


def random_cell(name: str, input_size: int = 3, hidden_size: int = 5, **constants: Any) -> Cell:
    """A cell in float64 and evaluation mode whose parameters are all off their initial values."""
    cell = create(name, input_size, hidden_size, **constants).double().eval()
    for p in cell.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return cell


def run(cell: Cell, x: Tensor, s: Any = None, **inputs: Tensor) -> tuple[Tensor, Any]:
    """Outputs (T, B, O) and the final state, one step after another, from x (T, B, I)."""
    ys = []
    for t in range(len(x)):
        y, s = cell(x[t], s, **{n: a[t] for n, a in inputs.items()})
        ys.append(y)
    return torch.stack(ys), s
