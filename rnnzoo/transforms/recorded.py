"""A cell that also hands out the states of all its steps."""

import math
from typing import Any

import torch
from torch import Tensor

from rnnzoo.cells.contract import Cell
from rnnzoo.transforms.around import Around


class Recorded(Around):
    """For one call: every step emits its whole state, whatever kernel runs it, and ``seen`` has the states after it.

    Numbers of several kinds travel side by side in the widest: whole numbers up to 2^53 are exact in float64.
    """

    stays_linear = True

    def __init__(self, cell: Cell):
        super().__init__(cell)
        self.seen: Any = None  # rows as the kernel has them, read the way that the cell reads

    def step(self, u: Any, s: Any) -> Any:
        return self.cell.step(u, s)

    def emit(self, s: Any) -> Tensor:
        return torch.cat([_flat(a) for a in s], -1)

    def readout(self, h: Tensor, u: Any, x: Tensor) -> Tensor:
        lead, shapes = h.shape[:-1], self.cell.initial_state(1, self.cell.like(x))
        ends = [math.prod(a.shape[1:]) * (2 if a.is_complex() else 1) for a in shapes]
        rows = (_shaped(a, like) for a, like in zip(h.flatten(0, -2).split(ends, -1), shapes, strict=True))
        s = type(shapes)(*rows)
        self.seen = type(s)(*(a.unflatten(0, lead) for a in s))
        return self.cell.readout(self.cell.emit(s).unflatten(0, lead), u, x)


def _flat(a: Tensor) -> Tensor:
    """A field as rows of real numbers."""
    rows = torch.view_as_real(a) if a.is_complex() else a
    rows = rows.reshape(len(a), math.prod(rows.shape[1:]))
    return rows if rows.is_floating_point() else rows.to(torch.float64)


def _shaped(rows: Tensor, like: Tensor) -> Tensor:
    """Rows of real numbers as a field like `like`."""
    if like.is_complex():
        pairs = rows.reshape(len(rows), *like.shape[1:], 2).to(like.real.dtype)
        return torch.view_as_complex(pairs.contiguous())
    return rows.reshape(len(rows), *like.shape[1:]).to(like.dtype)
