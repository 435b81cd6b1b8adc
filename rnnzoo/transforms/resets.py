"""Resets in mid-sequence: a step may start from the initial state."""

from typing import Any

import torch
from torch import Tensor

from rnnzoo.cells.contract import Cell
from rnnzoo.transforms.around import Around


class Resets(Around):
    """A cell whose state goes back to the initial one before each step where ``resets``, (...,) of 0 and 1, is not 0.

    An RNN puts it around its cells for a call with ``resets=``. A linear cell stays linear: a_t = 0 there.
    """

    stays_linear = True

    def project(self, x: Tensor, resets: Tensor | None = None, **inputs: Tensor) -> tuple[Any, tuple[Tensor, ...]]:
        u = self.cell.project(x, **inputs)
        return u, () if resets is None else (resets.to(self.real_like(x).dtype)[..., None],)

    def inner(self, u: Any) -> Any:
        return u[0]

    def step(self, u: Any, s: Any) -> Any:
        u, resets = u
        return self.cell.step(u, reset(self.cell, s, resets[0].squeeze(-1)) if resets else s)

    def coefficients(self, u: Any) -> tuple[Tensor, Tensor]:
        """a and b of a linear cell; 0 and a s_0 + b where the state s_0 comes first."""
        a, b = super().coefficients(u)
        if not u[1]:
            return a, b
        resets = u[1][0].squeeze(-1)
        (start,) = self.cell.initial_state(1, self.cell.like(b))
        here = _column(resets, resets.dim() - 1 + start.dim()) != 0
        return torch.where(here, 0.0, a), torch.where(here, a * start[0] + b, b)


def reset(cell: Cell, s: Any, resets: Tensor) -> Any:
    """The state `s`, but the initial one in each row where `resets` (B,) is not 0."""
    whole = s[0].is_complex() or not s[0].is_floating_point()
    starts = cell.initial_state(len(resets), cell.like(s[0]) if whole else s[0])
    pairs = zip(starts, s, strict=True)
    return type(s)(*(torch.where(_column(resets, old.dim()) != 0, start, old) for start, old in pairs))


def _column(a: Tensor, dims: int) -> Tensor:
    """`a` with axes of one element behind its own, `dims` in all."""
    return a.reshape(*a.shape, *(1,) * (dims - a.dim()))
