"""What takes the columns of a row apart, and puts them together."""

import math
from collections.abc import Sequence
from typing import Any

from torch import fx

from rnnzoo.kernels.fused import axes as ax
from rnnzoo.kernels.fused.axes import natural
from rnnzoo.kernels.fused.expressions import Part, Row, cut
from rnnzoo.kernels.fused.reader import Reader
from rnnzoo.kernels.fused.trace import Unsupported
from rnnzoo.kernels.fused.values import Rows, Shape, Value


class Pieces(Reader):
    """Methods by the names of torch's operations."""

    def _along(self, node: fx.Node, x: fx.Node, dim: int, step: int = 1) -> tuple[Rows, int]:
        """The rows of x, and the name of an axis."""
        shape = self.shape(x)
        names = dict(shape.names())
        if step != 1 or shape.rank == 0 or dim % shape.rank not in names:
            raise Unsupported(f"its step uses {node.target} on the batch, or with a stride")
        return self.rows(x), names[dim % shape.rank]

    def _cut(self, x: fx.Node, value: Rows, name: int, start: int, end: int) -> Row:
        """The places from `start` to `end` of an axis, as it is written."""
        dims = self.shape(x).dims
        row = ax.arrange(value.row, value.axes, natural(dims))
        inner, whole = math.prod(dims[name + 1 :]), math.prod(dims[name:])
        lead = range(math.prod(dims[:name]))
        return ax.joined([p for k in lead for p in cut(row, k * whole + start * inner, k * whole + end * inner)])

    def _split(self, node: fx.Node, x: fx.Node, sizes: int | Sequence[int], dim: int = 0) -> Value:
        value, name = self._along(node, x, dim)
        total = x.meta["val"].shape[dim]
        if isinstance(sizes, int):
            sizes = [min(sizes, total - k) for k in range(0, total, sizes)]
        ends = [sum(sizes[: k + 1]) for k in range(len(sizes))]
        shapes = [Shape.of(a.shape, self.batch) for a in node.meta["val"]]
        return [
            Rows(self._cut(x, value, name, end - n, end), natural(z.dims))
            for n, end, z in zip(sizes, ends, shapes, strict=True)
        ]

    _split_with_sizes = _split

    def _slice(
        self, node: fx.Node, x: fx.Node, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
    ) -> Value:
        if tuple(node.meta["val"].shape) == tuple(x.meta["val"].shape):
            return self.values[x]
        value, name = self._along(node, x, dim, step)
        a, b, _ = slice(start, end).indices(x.meta["val"].shape[dim])
        return Rows(self._cut(x, value, name, a, b), natural(self.shape(node).dims))

    def _select(self, node: fx.Node, x: fx.Node, dim: int, index: int) -> Value:
        value, name = self._along(node, x, dim)
        index %= x.meta["val"].shape[dim]
        return Rows(self._cut(x, value, name, index, index + 1), natural(self.shape(node).dims))

    def _slice_scatter(
        self, node: fx.Node, x: fx.Node, new: fx.Node, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
    ) -> Value:
        if tuple(new.meta["val"].shape) == tuple(x.meta["val"].shape):
            return self.values[new]
        _, name = self._along(node, x, dim, step)
        at = slice(start, end).indices(x.meta["val"].shape[dim])[0]
        return self._replaced(x, new, name, at, new.meta["val"].shape[dim])

    def _select_scatter(self, node: fx.Node, x: fx.Node, new: fx.Node, dim: int, index: int) -> Value:
        _, name = self._along(node, x, dim)
        return self._replaced(x, new, name, index % x.meta["val"].shape[dim], 1)

    def _replaced(self, x: fx.Node, new: fx.Node, name: int, at: int, n: int) -> Rows:
        """x with other numbers in some places of an axis."""
        dims = self.shape(x).dims
        row, part = self.row(x), self.row(new)
        inner, whole = math.prod(dims[name + 1 :]), math.prod(dims[name:])
        made: list[Part] = []
        for k in range(math.prod(dims[:name])):
            made += cut(row, k * whole, k * whole + at * inner)
            made += cut(part, k * n * inner, (k + 1) * n * inner)
            made += cut(row, k * whole + (at + n) * inner, (k + 1) * whole)
        return Rows(ax.joined(made), natural(dims))

    def _cat(self, node: fx.Node, tensors: Sequence[fx.Node], dim: int = 0) -> Value:
        tensors = [z for z in tensors if z.meta["val"].numel()]
        self._along(node, tensors[0], dim)
        own = [self.shape(z) for z in tensors]
        name = dict(own[0].names())[dim % own[0].rank]
        rows = [self.row(z) for z in tensors]
        widths = [math.prod(z.dims[name:]) for z in own]
        lead = math.prod(own[0].dims[:name])
        made: list[Part] = []
        for k in range(lead):
            for row, n in zip(rows, widths, strict=True):
                made += cut(row, k * n, (k + 1) * n)
        return Rows(ax.joined(made), natural(self.shape(node).dims))
