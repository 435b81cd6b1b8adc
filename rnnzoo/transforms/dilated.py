"""Dilation: a cell that reads the state of some steps ago."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rnnzoo.cells.contract import Cell, at_least_one
from rnnzoo.transforms.around import Around

if TYPE_CHECKING:  # kernels know this module
    from rnnzoo.kernels.layout import Dense, Layout

    Layer = Callable[[Cell, Tensor, dict[str, Tensor], Any, Layout], tuple[Tensor, Any]]


class Dilated(Around):
    """Chang et al. 2017: s_t = step(u_t, s_{t-k}), so that every k-th step is a sequence of its own.

    The state is that of the last k steps, the oldest first, side by side along its first axis behind the batch:
    (B, k H). It is the outermost transform: what keeps or resets states has to be inside, to see one step's.

    Args:
        cell: the cell.
        dilation: k, at least 1.

    Raises:
        RnnZooError: `dilation` below 1.
    """

    def __init__(self, cell: Cell, dilation: int):
        super().__init__(cell)
        self.dilation = at_least_one("dilation", dilation)
        start = cell.initial_state(1, cell.like(torch.empty(0)))
        self.shapes = tuple(tuple(a.shape[1:]) for a in start)  # of the cell's fields, without the batch

    def initial_state(self, batch: int, like: Tensor) -> Any:
        s = self.cell.initial_state(batch, like)
        return type(s)(*(torch.cat([_row(a)] * self.dilation, 1) for a in s))

    def step(self, u: Any, s: Any) -> Any:
        new = [_row(a) for a in self.cell.step(u, self._slots(s)[0])]
        return type(s)(*(torch.cat([a[:, b.shape[1] :], b], 1) for a, b in zip(s, new, strict=True)))

    def emit(self, s: Any) -> Tensor:
        return self.cell.emit(self._slots(s)[-1])

    def extra_repr(self) -> str:
        return f"dilation={self.dilation}"

    def _slots(self, s: Any) -> list[Any]:
        """The cell's states of the last k steps."""
        cut = [
            [b.reshape(len(b), *shape) for b in a.chunk(self.dilation, 1)]
            for a, shape in zip(s, self.shapes, strict=True)
        ]
        return [type(s)(*slot) for slot in zip(*cut, strict=True)]

    def folded(self, layer: Layer, x: Tensor, inputs: dict[str, Tensor], s: Any, layout: Dense) -> tuple[Tensor, Any]:
        """All steps, by k times as many sequences of T / k steps, and once more for the steps that are left over."""
        k, T, B = self.dilation, layout.time, layout.batch
        rounds, left = divmod(T, k)
        slots, ys = self._slots(s), []
        for start, n, phases in ((0, rounds, k), (rounds * k, 1, left)):
            if n and phases:
                end = start + n * phases
                mine = {m: a[start:end].reshape(n, phases * B, *a.shape[2:]) for m, a in {"x": x, **inputs}.items()}
                old = type(s)(*(torch.cat(a) for a in zip(*slots[:phases], strict=True)))
                y, new = layer(self.cell, mine.pop("x"), mine, old, layout.of(n, phases * B))
                ys.append(y.reshape(n * phases, B, *y.shape[2:]))
                done = list(zip(*(a.chunk(phases) for a in new), strict=True))
                slots = slots[phases:] + [type(s)(*slot) for slot in done]
        return torch.cat(ys), type(s)(*(torch.cat([_row(a) for a in f], 1) for f in zip(*slots, strict=True)))


def over_time(
    layer: Layer, cell: Cell, x: Tensor, inputs: dict[str, Tensor], s: Any, layout: Layout
) -> tuple[Tensor, Any]:
    """``layer(cell, ...)``, but a dilated cell on sequences of one length folded."""
    if isinstance(cell, Dilated) and layout.batch_sizes is None:
        return cell.folded(layer, x, inputs, s, layout)
    return layer(cell, x, inputs, s, layout)


def _row(a: Tensor) -> Tensor:
    """A field with an axis behind the batch."""
    return a if a.dim() > 1 else a[:, None]
