"""What the nodes of a trace are, and how they are read by those that use them."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from rnnzoo.kernels.fused import axes as ax
from rnnzoo.kernels.fused.axes import Axes, natural
from rnnzoo.kernels.fused.expressions import Expr, Row, leaf, number, width
from rnnzoo.kernels.fused.unsupported import Unsupported
from rnnzoo.kernels.fused.values import Constant, Placed, Product, Rows, Shape, Value

MIXED = "its step mixes the rows of a batch"
FEW = 4  # terms of a sum that are added where it is read


class Reader:
    """The values of a graph's nodes; `steps` collects what the loop must have computed before others read it: what is
    multiplied by parameters, and rows whose numbers others read one by one."""

    def __init__(self, batch: int, dtype: torch.dtype):
        self.batch, self.dtype = batch, dtype
        self.steps: dict[Any, Product | Placed] = {}
        self.values: dict[fx.Node, Value] = {}

    def shape(self, node: fx.Node) -> Shape:
        """Of a tensor of the trace: its sizes without the batch, and where the batch stands."""
        return Shape.of(node.meta["val"].shape, self.batch)

    def rows(self, node: fx.Node) -> Rows:
        """A tensor as rows; a constant is one that all rows have."""
        value = self.values[node]
        if isinstance(value, Constant):
            where = tuple((value.order.index(k), n) for k, n in enumerate(value.dims) if n != 1)
            return Rows(((Expr("vector", value.index, 0), math.prod(value.dims)),), where)
        if not isinstance(value, Rows):
            raise Unsupported(MIXED)
        return value

    def row(self, a: Any) -> Row:
        """An argument as a row whose numbers lie as it is written."""
        if not isinstance(a, fx.Node):
            return self._number(a)
        value = self.rows(a)
        return ax.arrange(value.row, value.axes, natural(self.shape(a).dims))

    def _straight(self, node: fx.Node) -> Value:
        """A result, its numbers as they are written."""
        value = self.values[node]
        return Rows(self.row(node), natural(self.shape(node).dims)) if isinstance(value, Rows) else value

    def _number(self, a: Any) -> Row:
        if isinstance(a, bool | int | float):
            return number(a)
        raise Unsupported(f"its step has an argument {a!r} that it does not know")

    def _fitted(self, a: Any, node: fx.Node, wanted: Axes) -> Row:
        """An argument of `node` in the axes that its result is to have."""
        if not isinstance(a, fx.Node):
            return self._number(a)
        value = self._aligned(a, node)
        return ax.arrange(self._ready(value, wanted), value.axes, wanted)

    def _aligned(self, a: fx.Node, node: fx.Node) -> Rows:
        """An argument with the names that its axes have in the result of `node`, to which it is broadcast."""
        value, own, result = self.rows(a), self.shape(a), self.shape(node)
        names = own.names_in(result)
        if names is None:
            raise Unsupported(MIXED)
        return Rows(value.row, tuple((names[k], n) for k, n in value.axes))

    def _ready(self, value: Rows, wanted: Axes) -> Row:
        """The row of a value, placed if it is computed and its numbers are to be read one by one."""
        alone = bool(value.axes) and value.axes != wanted and value.axes[-1][0] != wanted[-1][0]
        return self.placed([value.row]) if alone else value.row

    def placed(self, terms: Sequence[Row]) -> Row:
        """The sum of rows, computed before others read it."""
        n = width(terms[0])
        if len(terms) == 1 and _readable(terms[0]):
            return terms[0]
        placed = self.steps.setdefault(tuple(terms), Placed(tuple(terms), n, f"m{len(self.steps)}"))
        return leaf(placed.name, n)

    def total(self, terms: Sequence[Row]) -> Row:
        """The sum of rows; placed where they are many."""
        if len(terms) > FEW:
            return self.placed(terms)
        found = ax.added(terms)
        return self.placed([found]) if len(found) > FEW else found

    def product(self, row: Row, constant: Constant, turned: bool, length: int, part: int | None = None) -> Row:
        """row @ matrix, one of the constant's where it has three axes."""
        key = row, constant.index, constant.dims, turned, part
        product = self.steps.setdefault(key, Product(*key, length, f"m{len(self.steps)}"))
        return leaf(product.name, length)


def _readable(row: Row) -> bool:
    """Whether any number of a row can be read where it is, without computing it."""
    return all(e.op in ("leaf", "vector", "const", "at", "entry") for e, _ in row)
