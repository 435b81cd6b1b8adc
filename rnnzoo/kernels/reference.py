"""The reference: a loop over ``step``. It takes everything, and every other kernel is compared with it."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from rnnzoo.cells.contract import Cell
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels.base import LayerKernel, Work, milliseconds
from rnnzoo.kernels.layout import Layout

STEP = 0.12  # ms of one step of one cell forward and backward, which calls some thirty small operations


class Reference(LayerKernel):
    """A Python loop over time steps; sequences of other lengths leave it as they end."""

    name = "reference"

    def cost(self, work: Work) -> float:
        return milliseconds(work) + STEP * work.layout.time * len(work.cells)

    def scan(self, cell: Cell, u: Any, s: Any, layout: Layout) -> tuple[Tensor, Any]:
        sizes = layout.batch_sizes
        hs, ended = [], []
        for t, u_t in enumerate(layout.steps(u)):
            new = cell.step(u_t, s)
            if t == 0:
                check_state(cell, s, new)
            s = new
            hs.append(cell.emit(s))
            if sizes is not None:
                going = sizes[t + 1] if t + 1 < len(sizes) else 0
                if going < sizes[t]:  # longest first, so the rows that end are the last
                    ended.append(tree_map(lambda a, going=going: a[going:], s))
                    s = tree_map(lambda a, going=going: a[:going], s)
        if sizes is None:
            return torch.stack(hs), s
        return torch.cat(hs), tree_map(lambda *a: torch.cat(a), *reversed(ended))


def check_state(cell: Cell, old: Any, new: Any) -> None:
    """Raises RnnZooError when a step does not give a state like the one that it got."""
    name = type(cell).__name__
    if not isinstance(new, type(old)):
        raise RnnZooError(f"cell {name} must return a {type(old).__name__} from a step, not a {type(new).__name__}")
    for field, a, b in zip(old._fields, old, new, strict=True):
        if not isinstance(b, Tensor) or a.shape != b.shape:
            got = tuple(b.shape) if isinstance(b, Tensor) else type(b).__name__
            raise RnnZooError(
                f"cell {name} returned {field} of shape {got} from a step; its state has {tuple(a.shape)}"
            )
        if a.dtype != b.dtype and not (a.is_floating_point() and b.is_floating_point()):
            raise RnnZooError(f"cell {name} returned {field} as {b.dtype} from a step, not {a.dtype}")
