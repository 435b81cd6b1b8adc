"""The reference: a loop over ``step``. It takes everything, and every other kernel is compared with it."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from rnnzoo.cells.contract import Cell, check_state
from rnnzoo.kernels.base import LayerKernel, Work, milliseconds
from rnnzoo.kernels.layout import Layout

HALF = (torch.bfloat16, torch.float16)
RATE = 80.0  # GFLOP/s
STEP = 0.12  # ms of one step of one cell forward and backward, which calls some thirty small operations


class Reference(LayerKernel):
    """A Python loop over time steps; sequences of other lengths leave it as they end.

    A state in half precision is kept in float32 from step to step: what is added to a sum over many steps needs its
    digits. Autocast then rounds what is multiplied by weights, as it does in mixed precision.
    """

    name = "reference"

    def cost(self, work: Work) -> float:
        return milliseconds(work, RATE) + STEP * work.layout.time * len(work.cells)

    def scan(self, cell: Cell, u: Any, s: Any, layout: Layout) -> tuple[Tensor, Any]:
        narrow = next((a.dtype for a in s if a.dtype in HALF), None)
        if narrow is None or not torch.amp.is_autocast_available(s[0].device.type):
            return self.loop(cell, u, s, layout)
        with torch.autocast(s[0].device.type, narrow):
            hs, last = self.loop(cell, u, type(s)(*(a.float() if a.dtype in HALF else a for a in s)), layout)
        return hs.to(narrow), type(s)(*(a.to(b.dtype) for a, b in zip(last, s, strict=True)))

    def loop(self, cell: Cell, u: Any, s: Any, layout: Layout) -> tuple[Tensor, Any]:
        """What the steps emit and the final state, in the state's own precision."""
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
