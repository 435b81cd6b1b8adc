"""Recurrent dropout without memory loss."""

from typing import Any

import torch
from torch import Tensor

from rnnzoo.cells.contract import Cell
from rnnzoo.transforms.around import probability
from rnnzoo.transforms.gates import GateTransform, additive, gated, probe, require, same


class RecurrentDropout(GateTransform):
    """Semeniuta, Severyn & Barth 2016: dropout of what is written into the memory, never of what is kept.

    ::

        c_t = f c_{t-1} + i D(g)                of an LSTM, D(g) = m g,   m ~ Bernoulli(1 - p) at every step and unit
        h_t = (1 - z) D(n) + z h_{t-1}          of a GRU;  D(g) = (1 - p) g in evaluation, as in the paper

    The masks are laid on the candidate's rows, of which D is computed exactly: tanh 0 = 0.

    Args:
        cell: a gated cell with a candidate among its ``rows`` that enters the memory in proportion to its tanh.
        p: in [0, 1).

    Raises:
        RnnZooError: p out of range, or a cell without such a candidate.
    """

    def __init__(self, cell: Cell, p: float = 0.1):
        require(
            cell, writes, "recurrent dropout without memory loss", "that adds the tanh of a candidate to its memory"
        )
        super().__init__(cell)
        self.p = probability("recurrent dropout's p", p)
        self.sums = len(cell.State._fields) > 1  # more than what is written changes, and all follows from W x + R h

    def project(self, x: Tensor, **inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        u = self.cell.project(x, **inputs)
        if not self.training or not self.p:
            return u, ()
        return u, (self.real_like(x).new_full((*x.shape[:-1], self.hidden_size), 1 - self.p).bernoulli(),)

    def inner(self, u: Any) -> Any:
        return u[0]

    def update(self, wx: Any, rh: Tensor, s: Any) -> Any:
        (wx, masks), update = wx, self.cell.update
        for m in masks:
            return update(_masked(self.cell, wx, m), _masked(self.cell, rh, m), s)
        if not self.p:
            return update(wx, rh, s)
        q = 1 - self.p
        if self.sums:
            a = wx + rh
            return update(_scaled(self.cell, a, q), torch.zeros_like(a), s)
        zero = torch.zeros_like(wx[..., : self.hidden_size])
        written, kept = update(wx, rh, s), update(_masked(self.cell, wx, zero), _masked(self.cell, rh, zero), s)
        return type(s)(*(q * a + self.p * b for a, b in zip(written, kept, strict=True)))

    def extra_repr(self) -> str:
        return f"p={self.p}"


def writes(cell: Cell) -> bool:
    """Whether a gated cell's memory is affine in the tanh of its candidate, and what else it returns can follow."""
    if not gated(cell) or "new" not in cell.rows:
        return False
    update, s, (a, b) = probe(cell, 2)
    zero, q = torch.zeros(len(a), cell.hidden_size, dtype=a.dtype), 0.7
    b = _masked(cell, b, zero)
    full, none, part = (update(c, b, s) for c in (a, _masked(cell, a, zero), _scaled(cell, a, q)))
    if len(s) > 1 and not additive(cell):
        return False
    fields = zip(full, none, part, strict=True)
    return any(same([f - n], [(p - n) / q]) and not same([f], [n]) for f, n, p in fields)


def _masked(cell: Cell, a: Tensor, m: Tensor) -> Tensor:
    """Rows with the candidates' multiplied."""
    parts = zip(cell.rows, a.chunk(len(cell.rows), -1), strict=True)
    return torch.cat([b * m if part == "new" else b for part, b in parts], -1)


def _scaled(cell: Cell, a: Tensor, q: float) -> Tensor:
    """Rows with the candidates' such that their tanh is q times as large: atanh(q tanh(a))."""
    parts = []
    for part, b in zip(cell.rows, a.chunk(len(cell.rows), -1), strict=True):
        y = q * b.tanh()
        parts.append((torch.log1p(y) - torch.log1p(-y)) / 2 if part == "new" else b)
    return torch.cat(parts, -1)
