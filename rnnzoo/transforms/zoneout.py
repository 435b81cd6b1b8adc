"""Zoneout."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rnnzoo.cells.contract import Cell
from rnnzoo.errors import RnnZooError
from rnnzoo.transforms.around import Around, probability


class Zoneout(Around):
    """Krueger et al. 2017: in training each unit of the state keeps its old value with probability p.

    ::

        s_t = d_t s_{t-1} + (1 - d_t) step(u_t, s_{t-1}),   d_t ~ Bernoulli(p) at every step and unit
        s_t = p s_{t-1} + (1 - p) step(u_t, s_{t-1})        in evaluation

    What is emitted is the zoned state. A linear cell stays linear. In training it keeps a mask as large as the states
    of all steps.

    Args:
        cell: the cell.
        p: in [0, 1), for every field of the state that is a vector or more of floating point numbers; or for each field
            apart, ``{"h": 0.05, "c": 0.5}``, those left out being left alone.

    Raises:
        RnnZooError: p out of range, or of a field that the state does not have or that holds no features.
    """

    stays_linear = True

    def __init__(self, cell: Cell, p: float | Mapping[str, float] = 0.1):
        super().__init__(cell)
        start = cell.initial_state(1, cell.like(torch.empty(0)))
        fit = [f for f, a in zip(start._fields, start, strict=True) if a.dim() > 1 and _continuous(a)]
        if isinstance(p, Mapping):
            for field in p:
                if field not in fit:
                    raise RnnZooError(
                        f"zoneout's p names {field!r}; {type(cell).__name__} has {', '.join(fit) or 'none'}"
                    )
        given = p if isinstance(p, Mapping) else dict.fromkeys(fit, p)
        self.p = {f: probability("zoneout's p", given[f]) for f in fit if given.get(f)}

    def project(self, x: Tensor, **inputs: Tensor) -> tuple[Any, tuple[Tensor, ...]]:
        u = self.cell.project(x, **inputs)
        if not self.training:
            return u, ()
        like = self.real_like(x)
        start = self.cell.initial_state(1, like)
        shapes = ((*x.shape[:-1], *getattr(start, f).shape[1:]) for f in self.p)
        rates = self.p.values()
        return u, tuple(like.new_full(shape, p).bernoulli() for shape, p in zip(shapes, rates, strict=True))

    def inner(self, u: Any) -> Any:
        return u[0]

    def step(self, u: Any, s: Any) -> Any:
        u, masks = u
        new = self.cell.step(u, s)
        zoned = {}
        for k, (field, p) in enumerate(self.p.items()):
            old, now = getattr(s, field), getattr(new, field)
            zoned[field] = torch.where(masks[k] > 0, old, now) if masks else p * old + (1 - p) * now
        return new._replace(**zoned)

    def coefficients(self, u: Any) -> tuple[Tensor, Tensor]:
        """a and b of a linear cell, zoned."""
        masks = u[1]
        a, b = super().coefficients(u)
        for p in self.p.values():  # of the one field of a linear cell
            if masks:
                return torch.where(masks[0] > 0, 1.0, a), torch.where(masks[0] > 0, 0.0, b)
            return p + (1 - p) * a, (1 - p) * b
        return a, b

    def extra_repr(self) -> str:
        return f"p={self.p}"


def _continuous(a: Tensor) -> bool:
    return a.is_floating_point() or a.is_complex()
