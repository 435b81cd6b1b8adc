"""What takes the columns of a row apart, and puts them together."""

import math
from collections.abc import Sequence
from typing import Any

from torch import fx

from rnnzoo.kernels.fused import axes as ax
from rnnzoo.kernels.fused.axes import natural
from rnnzoo.kernels.fused.expressions import Part, Row, cut, number, width
from rnnzoo.kernels.fused.reader import Reader
from rnnzoo.kernels.fused.unsupported import Unsupported
from rnnzoo.kernels.fused.values import Places, Rows, Shape, Value


class Pieces(Reader):
    """Methods by the names of torch's operations."""

    def _along(self, node: fx.Node, x: fx.Node, dim: int) -> tuple[Rows, int]:
        """The rows of x, and the name of an axis."""
        shape = self.shape(x)
        names = dict(shape.names())
        if shape.rank == 0 or dim % shape.rank not in names:
            raise Unsupported(f"its step uses {node.target} on the batch")
        return self.rows(x), names[dim % shape.rank]

    def _cut(self, x: fx.Node, value: Rows, name: int, places: Sequence[int]) -> Row:
        """Some places of an axis, as it is written."""
        dims = self.shape(x).dims
        row = ax.arrange(value.row, value.axes, natural(dims))
        inner, whole = math.prod(dims[name + 1 :]), math.prod(dims[name:])
        spans = _spans(places)
        parts = [
            part
            for k in range(0, math.prod(dims), whole)
            for start, end in spans
            for part in cut(row, k + start * inner, k + end * inner)
        ]
        return ax.joined(parts)

    def _split(self, node: fx.Node, x: fx.Node, sizes: int | Sequence[int], dim: int = 0) -> Value:
        value, name = self._along(node, x, dim)
        total = x.meta["val"].shape[dim]
        if isinstance(sizes, int):
            sizes = [min(sizes, total - k) for k in range(0, total, sizes)]
        ends = [sum(sizes[: k + 1]) for k in range(len(sizes))]
        shapes = [Shape.of(a.shape, self.batch) for a in node.meta["val"]]
        return [
            Rows(self._cut(x, value, name, range(end - n, end)), natural(z.dims))
            for n, end, z in zip(sizes, ends, shapes, strict=True)
        ]

    _split_with_sizes = _split

    def _slice(
        self, node: fx.Node, x: fx.Node, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
    ) -> Value:
        if tuple(node.meta["val"].shape) == tuple(x.meta["val"].shape):
            return self.values[x]
        value, name = self._along(node, x, dim)
        places = range(*slice(start, end, step).indices(x.meta["val"].shape[dim]))
        return Rows(self._cut(x, value, name, places), natural(self.shape(node).dims))

    def _flip(self, node: fx.Node, x: fx.Node, dims: Sequence[int]) -> Value:
        found = self.rows(x)
        for dim in dims:
            _, name = self._along(node, x, dim)
            places = range(x.meta["val"].shape[dim] - 1, -1, -1)
            found = Rows(self._cut(x, found, name, places), natural(self.shape(x).dims))
        return found

    def _roll(self, node: fx.Node, x: fx.Node, shifts: Any, dims: Any = None) -> Value:
        if dims is None or dims == []:
            raise Unsupported(f"its step uses {node.target} on the batch")
        found = self.rows(x)
        lists = ([z] if isinstance(z, int) else z for z in (shifts, dims))
        for shift, dim in zip(*lists, strict=True):
            _, name = self._along(node, x, dim)
            n = x.meta["val"].shape[dim]
            at = -shift % n
            dims_here = self.shape(x).dims
            found = Rows(self._turned(x, found, name, at, n), natural(dims_here))
        return found

    def _turned(self, x: fx.Node, value: Rows, name: int, at: int, n: int) -> Row:
        """An axis that begins at one of its places, and goes on behind its end."""
        late, early = (self._cut(x, value, name, r) for r in (range(at, n), range(at)))
        inner = math.prod(self.shape(x).dims[name + 1 :])
        parts: list[Part] = []
        for k in range(math.prod(self.shape(x).dims[:name])):
            parts += cut(late, k * (n - at) * inner, (k + 1) * (n - at) * inner)
            parts += cut(early, k * at * inner, (k + 1) * at * inner)
        return ax.joined(parts)

    def _constant_pad_nd(self, node: fx.Node, x: fx.Node, pad: Sequence[int], value: Any = 0.0) -> Value:
        shape = self.shape(x)
        if len(pad) > 2 or shape.batch == shape.rank - 1 or not isinstance(value, bool | int | float):
            raise Unsupported(f"its step uses {node.target} on other axes than the last")
        n, row = x.meta["val"].shape[-1], self.row(x)
        before, after = pad
        parts: list[Part] = []
        for k in range(0, width(row), n):
            parts += [*number(value, max(before, 0)), *cut(row, k + max(-before, 0), k + n - max(-after, 0))]
            parts += number(value, max(after, 0))
        return Rows(ax.joined([p for p in parts if p[1]]), natural(self.shape(node).dims))

    def _select(self, node: fx.Node, x: fx.Node, dim: int, index: int) -> Value:
        value, name = self._along(node, x, dim)
        index %= x.meta["val"].shape[dim]
        return Rows(self._cut(x, value, name, range(index, index + 1)), natural(self.shape(node).dims))

    def _places(self, node: fx.Node) -> Places:
        """The whole numbers of a tensor that the trace holds."""
        numbers = getattr(node.graph.owning_module, str(node.target))
        if numbers.dim() != 1:
            raise Unsupported("its step reads places from a buffer of more than one axis")
        return Places(tuple(numbers.tolist()))

    def _index_select(self, node: fx.Node, x: fx.Node, dim: int, index: fx.Node) -> Value:
        value, name = self._along(node, x, dim)
        row = self._cut(x, value, name, self._read_places(x, dim, index))
        return Rows(row, natural(self.shape(node).dims))

    def _index(self, node: fx.Node, x: fx.Node, indices: Sequence[fx.Node | None]) -> Value:
        return self._index_select(node, x, *self._only(node, indices))

    def _index_put(
        self, node: fx.Node, x: fx.Node, indices: Sequence[fx.Node | None], new: fx.Node, accumulate: bool = False
    ) -> Value:
        """The gradient of a choice of places: what goes to one place is added up."""
        dim, index = self._only(node, indices)
        _, name = self._along(node, x, dim)
        places = self._read_places(x, dim, index)
        if not accumulate and len(set(places)) < len(places):
            raise Unsupported(f"its step uses {node.target} with a place that comes twice")
        dims, n = self.shape(x).dims, len(places)
        base, added = self.row(x), self.row(new)
        inner, whole = math.prod(dims[name + 1 :]), math.prod(dims[name:])
        made: list[Part] = []
        for lead in range(math.prod(dims[:name])):
            for place in range(dims[name]):
                at = lead * whole + place * inner
                rows = [
                    cut(added, (lead * n + k) * inner, (lead * n + k + 1) * inner)
                    for k, other in enumerate(places)
                    if other == place
                ]
                old = cut(base, at, at + inner)
                made += ax.added([old, *rows]) if accumulate or not rows else rows[0]
        return Rows(ax.joined(made), natural(dims))

    def _only(self, node: fx.Node, indices: Sequence[fx.Node | None]) -> tuple[int, fx.Node]:
        """The one axis that places are chosen of, and the places."""
        found = [(dim, index) for dim, index in enumerate(indices) if index is not None]
        if len(found) != 1:
            raise Unsupported(f"its step uses {node.target} with places of several axes")
        return found[0]

    def _read_places(self, x: fx.Node, dim: int, index: fx.Node) -> Sequence[int]:
        value = self.values[index]
        if not isinstance(value, Places):
            raise Unsupported("its step computes the places that it reads")
        n = x.meta["val"].shape[dim]
        return [k % n for k in value.numbers]

    def _slice_scatter(
        self, node: fx.Node, x: fx.Node, new: fx.Node, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
    ) -> Value:
        if tuple(new.meta["val"].shape) == tuple(x.meta["val"].shape):
            return self.values[new]
        _, name = self._along(node, x, dim)
        places = range(*slice(start, end, step).indices(x.meta["val"].shape[dim]))
        return self._replaced(x, new, name, places)

    def _select_scatter(self, node: fx.Node, x: fx.Node, new: fx.Node, dim: int, index: int) -> Value:
        _, name = self._along(node, x, dim)
        index %= x.meta["val"].shape[dim]
        return self._replaced(x, new, name, range(index, index + 1))

    def _replaced(self, x: fx.Node, new: fx.Node, name: int, places: range) -> Rows:
        """x with other numbers in some places of an axis."""
        dims = self.shape(x).dims
        row, part = self.row(x), self.row(new)
        inner, whole = math.prod(dims[name + 1 :]), math.prod(dims[name:])
        spans = _spans(places)
        made: list[Part] = []
        taken = 0
        for k in range(0, math.prod(dims), whole):
            at = k
            for start, end in spans:
                made += cut(row, at, k + start * inner)
                made += cut(part, taken, taken + (end - start) * inner)
                taken += (end - start) * inner
                at = k + end * inner
            made += cut(row, at, k + whole)
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


def _spans(places: Sequence[int]) -> list[tuple[int, int]]:
    """Places that follow each other, from the first to the one behind the last."""
    if isinstance(places, range) and places.step == 1:
        return [(places.start, places.stop)]
    spans: list[tuple[int, int]] = []
    for k in places:
        if spans and spans[-1][1] == k:
            spans[-1] = spans[-1][0], k + 1
        else:
            spans.append((k, k + 1))
    return spans
