"""Gradient checkpointing over time: some steps at a time, of which only the state they start from is kept."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import checkpoint

from rnnzoo import states
from rnnzoo.cells.contract import Cell
from rnnzoo.kernels.base import Kernel, Work, run_stack
from rnnzoo.kernels.layout import Dense, Layout, Packed


def run_checkpointed(kernel: Kernel, work: Work, every: int) -> tuple[Tensor, Any]:
    """What ``kernel.run(work)`` gives, with the memory of `every` steps and one more forward pass in the backward
    (Chen et al. 2016): each cell's sequence is cut, whatever the stack and its directions."""

    def layer(cell: Cell, x: Tensor, inputs: dict[str, Tensor], s: Any) -> tuple[Tensor, Any]:
        return _in_pieces(kernel, cell, {"x": x, **inputs}, s, work.layout, every)

    return run_stack(work, layer)


def _in_pieces(
    kernel: Kernel, cell: Cell, inputs: dict[str, Tensor], s: Any, layout: Layout, every: int
) -> tuple[Tensor, Any]:
    """The outputs and the final state of one cell in one direction."""

    def piece(inputs: dict[str, Tensor], s: Any, part: Layout) -> tuple[Tensor, Any]:
        inputs = dict(inputs)
        work = Work([[cell]], inputs.pop("x"), part, states.join([[cell]], [s]), inputs=inputs)
        y, hx = kernel.run(work)
        return y, states.split([[cell]], hx)[0]

    ys, ended = [], []
    for rows, part in _pieces(layout, every):
        if part.batch < len(s[0]):  # packed data lie longest first: those that have ended are the last
            ended.append(tree_map(lambda a, n=part.batch: a[n:], s))
            s = tree_map(lambda a, n=part.batch: a[:n], s)
        mine = {n: a[rows] for n, a in inputs.items()}
        y, s = checkpoint(piece, mine, s, part, use_reentrant=False)
        ys.append(y)
    return torch.cat(ys), tree_map(lambda *a: torch.cat(a), s, *reversed(ended)) if ended else s


def _pieces(layout: Layout, every: int) -> Iterator[tuple[slice, Layout]]:
    """For every `every` steps, where they lie and how."""
    for t in range(0, layout.time, every):
        if isinstance(layout, Dense):
            n = min(every, layout.time - t)
            yield slice(t, t + n), Dense(torch.empty(n, layout.batch, 0))
        else:
            sizes = layout.packed.batch_sizes
            first, last = (int(sizes[:at].sum()) for at in (t, t + every))
            yield slice(first, last), Packed(PackedSequence(torch.empty(last - first, 0), sizes[t : t + every]))
