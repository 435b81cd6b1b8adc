"""The reference: a loop over ``step``. It takes everything, and every other kernel is compared with it."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from rnnzoo.cells.contract import Cell, check_state
from rnnzoo.kernels.base import LayerKernel, Work, milliseconds
from rnnzoo.kernels.layout import Layout

RATE = 80.0  # GFLOP/s
STEP = 0.12  # ms of one step of one cell forward and backward, which calls some thirty small operations


class Reference(LayerKernel):
    """A Python loop over time steps; sequences of other lengths leave it as they end."""

    name = "reference"

    def cost(self, work: Work) -> float:
        return milliseconds(work, RATE) + STEP * work.layout.time * len(work.cells)

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
