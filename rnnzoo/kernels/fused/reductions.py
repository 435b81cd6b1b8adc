"""Sums, means and extremes in a trace: over the columns of a row, or over the batch."""

from collections.abc import Sequence
from typing import Any

from torch import fx

from rnnzoo.kernels.fused import axes as ax
from rnnzoo.kernels.fused.axes import Axes, natural
from rnnzoo.kernels.fused.expressions import Part, cut, elementwise, number, width
from rnnzoo.kernels.fused.reader import FEW, MIXED, Reader
from rnnzoo.kernels.fused.unsupported import Unsupported
from rnnzoo.kernels.fused.values import Rows, Shape, Sum, Term, Value


class Reductions(Reader):
    """Methods by the names of torch's operations."""

    def _reduced(self, node: fx.Node, x: fx.Node, dims: Any, kind: str) -> Value:
        """Over some axes; where the batch is among them, the gradient of something that all rows share."""
        seen, shape = x.meta["val"], self.shape(x)
        if shape.batch is None or (node.kwargs and set(node.kwargs) - {"dtype"}):
            raise Unsupported(f"its step uses {node.target} in a way that it does not know")
        dims = list(range(seen.dim())) if dims is None or dims == [] else dims
        dims = {d % seen.dim() for d in (dims if isinstance(dims, list | tuple) else [dims])}
        value = self.rows(x)
        if shape.batch in dims:
            if kind != "add":
                raise Unsupported(MIXED)
            left = node.meta["val"].numel()
            if left == 1:  # summed after the loop
                return Sum(((Term(self.row(x)),),), tuple(node.meta["val"].shape))
            names = {name for d, name in shape.names() if d in dims} | ({0} if shape.fold > 1 else set())
            terms = ax.reduced(value.row, value.axes, names, kind)
            kept = ax.without(value.axes, *names)
            row = ax.arrange(value.row if kept == value.axes else self.total(terms), kept, tuple(sorted(kept)))
            return Sum(((Term(row),),), tuple(node.meta["val"].shape))
        names = {name for d, name in shape.names() if d in dims}
        terms = ax.reduced(value.row, value.axes, names, kind)
        kept = ax.without(value.axes, *names)
        if kind == "add":
            row = self.total(terms)
        else:
            row = ax.tree(terms, lambda p, q: elementwise(kind, p, q))
            row = self.placed([row]) if len(row) > FEW else row
        return Rows(row, self._renamed(node, shape, dims, kept))

    def _renamed(self, node: fx.Node, shape: Shape, dims: set[int], kept: Axes) -> Axes:
        """Axes with the names that they have once `dims` are gone from the tensor, or are of size 1."""
        keeps = node.meta["val"].dim() == shape.rank
        names = {}
        left = [d for d in range(shape.rank) if keeps or d not in dims]
        places = Shape.of(node.meta["val"].shape, self.batch)
        new = dict(places.names())
        for d, name in shape.names():
            if d in left and left.index(d) in new:
                names[name] = new[left.index(d)]
        if shape.fold > 1:
            names[0] = 0
        return tuple((names[name], n) for name, n in kept)

    def _sum(self, node: fx.Node, x: fx.Node, dims: Any = None, keepdim: bool = False) -> Value:
        return self._reduced(node, x, dims, "add")

    def _amax(self, node: fx.Node, x: fx.Node, dims: Any = None, keepdim: bool = False) -> Value:
        return self._reduced(node, x, dims, "maximum")

    def _amin(self, node: fx.Node, x: fx.Node, dims: Any = None, keepdim: bool = False) -> Value:
        value = self.rows(x)
        self.values[x] = Rows(elementwise("neg", value.row), value.axes)
        found = self._reduced(node, x, dims, "maximum")
        self.values[x] = value
        assert isinstance(found, Rows)
        return Rows(elementwise("neg", found.row), found.axes)

    def _mean(self, node: fx.Node, x: fx.Node, dims: Any = None, keepdim: bool = False) -> Value:
        total = self._reduced(node, x, dims, "add")
        if not isinstance(total, Rows):
            raise Unsupported(MIXED)
        count = x.meta["val"].numel() / node.meta["val"].numel()
        return Rows(elementwise("div", total.row, number(count)), total.axes)

    def _var_mean(self, node: fx.Node, x: fx.Node, dims: Sequence[int], **_: Any) -> Value:
        shape = x.meta["val"]
        if [d % shape.dim() for d in dims] != [shape.dim() - 1] or self.shape(x).batch == shape.dim() - 1:
            raise Unsupported(MIXED)
        row, n = self.row(x), shape.shape[-1]
        correction: Any = node.kwargs.get("correction", 1)
        variances: list[Part] = []
        means: list[Part] = []
        for k in range(0, width(row), n):
            part = cut(row, k, k + n)
            mean = elementwise("div", ax.reduced(part, ((0, n),), {0}, "add")[0], number(n))
            d = elementwise("sub", part, mean)
            square = ax.reduced(elementwise("mul", d, d), ((0, n),), {0}, "add")[0]
            variances += elementwise("div", square, number(n - correction))
            means += mean
        dims_left = tuple(d for d in self.shape(x).dims[:-1])
        made: list[Rows] = []
        for parts in (variances, means):
            whole = self.placed([tuple(parts)]) if len(parts) > FEW else tuple(parts)
            made.append(Rows(whole, natural(dims_left)))
        return made
