"""From a traced graph to rows, products with parameters, and sums over the batch."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

from rnnzoo.kernels.fused import axes as ax
from rnnzoo.kernels.fused.axes import natural
from rnnzoo.kernels.fused.expressions import ROWWISE, elementwise, number, width
from rnnzoo.kernels.fused.matrices import Matrices
from rnnzoo.kernels.fused.operations import filled, operation
from rnnzoo.kernels.fused.pieces import Pieces
from rnnzoo.kernels.fused.reader import MIXED
from rnnzoo.kernels.fused.reductions import Reductions
from rnnzoo.kernels.fused.unsupported import Unsupported
from rnnzoo.kernels.fused.values import Constant, Rows, Sum, Value

SAME = frozenset(["detach", "clone", "alias", "lift_fresh_copy"])
RESHAPES = frozenset(["view", "_unsafe_view", "reshape", "squeeze", "unsqueeze"])


class Lowering(Matrices, Reductions, Pieces):
    """One pass over a graph."""

    def run(self, graph: fx.Graph, inputs: Iterable[Value]) -> list[Value | None]:
        """The graph's outputs, flat, from its inputs."""
        given = iter(inputs)
        for node in graph.nodes:
            if node.op == "placeholder":
                self.values[node] = next(given)
            elif node.op == "output":
                outputs = tree_leaves(node.args[0], is_leaf=lambda z: z is None)
                return [None if z is None else self._straight(z) for z in outputs]
            elif node.op == "get_attr":
                self.values[node] = self._places(node)
            else:
                self.values[node] = self._checked(node, self._lower(node))
        raise AssertionError("a graph has an output")

    def _checked(self, node: fx.Node, value: Value) -> Value:
        """`value`, if it has the shape and dtype that the trace saw."""
        if isinstance(value, Rows):
            seen = node.meta["val"]
            counted = operation(node) == "sum" and node.args[0].meta["val"].dtype == torch.bool  # type: ignore[union-attr]
            if seen.dtype not in (self.dtype, torch.bool) and not counted:
                raise Unsupported(
                    f"its step makes {seen.dtype} numbers ({node.target}), and it computes in {self.dtype}"
                )
            wanted = natural(self.shape(node).dims)
            if sorted(value.axes) != list(wanted) or width(value.row) != ax.size(wanted):
                raise Unsupported(f"its step uses {node.target} in a way that it does not know")
        return value

    # ---- operations

    def _lower(self, node: fx.Node) -> Value:
        name, args = operation(node), node.args
        first = self.values[args[0]] if args and isinstance(args[0], fx.Node) else None
        if name == "getitem":
            assert isinstance(first, list)
            return first[int(args[1])]  # type: ignore[arg-type]
        if name in SAME or (name == "_to_copy" and first is not None):
            return first  # type: ignore[return-value]
        if name in RESHAPES:
            return self._reshape(node, first)
        method: Callable[..., Value] | None = getattr(self, f"_{name}", None)
        if method is not None:
            return method(node, *args)
        value = filled(node)
        if isinstance(value, float):
            wanted = natural(self.shape(node).dims)
            return Rows(number(value, ax.size(wanted)), wanted)
        if name in ROWWISE and not node.kwargs:
            return self._elementwise(node, name, *args)
        raise Unsupported(f"its step uses {node.target}, an operation that it does not know")

    def _elementwise(self, node: fx.Node, name: str, *args: Any) -> Rows:
        """Column by column, in the order in which the largest argument lies."""
        wanted = natural(self.shape(node).dims)
        for a in args:
            if isinstance(a, fx.Node):
                lies = self._aligned(a, node).axes
                if len(lies) == len(wanted):
                    wanted = lies
                    break
        fitted = [self._fitted(a, node, wanted) for a in args]
        return Rows(elementwise(name, *fitted), wanted)

    def _scaled(self, node: fx.Node, name: str, a: Any, b: Any) -> Rows:
        """a + alpha b, or a - alpha b."""
        if not node.kwargs:
            return self._elementwise(node, name, a, b)
        wanted = natural(self.shape(node).dims)
        x, y = self._fitted(a, node, wanted), self._fitted(b, node, wanted)
        return Rows(elementwise(name, x, elementwise("mul", y, self._number(node.kwargs["alpha"]))), wanted)

    def _reshape(self, node: fx.Node, first: Value | None) -> Value:
        source = node.args[0]
        assert isinstance(source, fx.Node)
        seen, before = node.meta["val"], source.meta["val"]
        if isinstance(first, Sum):
            if seen.numel() != before.numel():
                raise Unsupported(MIXED)
            return Sum(first.groups, tuple(seen.shape), first.turned)
        if isinstance(first, Constant):
            if self.batch in seen.shape or seen.numel() != before.numel():
                raise Unsupported("its step reshapes a matrix together with the state")
            return first.reshaped(tuple(seen.shape))
        if not self.shape(source).reshapes_to(self.shape(node)):
            raise Unsupported(MIXED)
        return Rows(self.row(source), natural(self.shape(node).dims))

    def _expand(self, node: fx.Node, x: fx.Node, *_: Any) -> Value:
        if self.shape(node).fold == 0 and isinstance(self.values[x], Constant):
            raise Unsupported("its step repeats a matrix")
        wanted = natural(self.shape(node).dims)
        return Rows(self._fitted(x, node, wanted), wanted)

    def _permute(self, node: fx.Node, x: fx.Node, order: Sequence[int]) -> Value:
        rank = x.meta["val"].dim()
        order = [d % rank for d in order]
        value = self.values[x]
        if isinstance(value, Constant):
            return Constant(value.index, value.dims, tuple(value.order[d] for d in order))
        if isinstance(value, Sum):
            turn = tuple(order[:-2]) == tuple(range(rank - 2)) and order[-2:] == [rank - 1, rank - 2]
            if not turn and order != list(range(rank)):
                raise Unsupported("its step transposes a parameter of more than two axes")
            shape = tuple(value.shape[d] for d in order)
            return Sum(value.groups, shape, value.turned != turn)
        names = self.shape(x).permuted(order)
        rows = self.rows(x)
        return Rows(rows.row, tuple((names[k], n) for k, n in rows.axes))

    def _t(self, node: fx.Node, x: fx.Node) -> Value:
        return self._permute(node, x, list(range(x.meta["val"].dim()))[::-1])

    def _transpose(self, node: fx.Node, x: fx.Node, a: int, b: int) -> Value:
        order = list(range(x.meta["val"].dim()))
        order[a], order[b] = order[b], order[a]
        return self._permute(node, x, order)

    def _add(self, node: fx.Node, a: Any, b: Any) -> Value:
        left, right = (self.values.get(z) if isinstance(z, fx.Node) else None for z in (a, b))
        if isinstance(left, Sum) and isinstance(right, Sum) and left.fits(right) and not node.kwargs:
            groups = tuple(p + q for p, q in zip(left.groups, right.groups, strict=True))
            return Sum(groups, left.shape, left.turned)
        return self._scaled(node, "add", a, b)

    def _sub(self, node: fx.Node, a: Any, b: Any) -> Value:
        return self._scaled(node, "sub", a, b)

    def _div(self, node: fx.Node, a: Any, b: Any) -> Value:
        mode = node.kwargs.get("rounding_mode")
        found = self._elementwise(node, "div", a, b)
        if mode is None:
            return found
        return Rows(elementwise({"floor": "floor", "trunc": "trunc"}[str(mode)], found.row), found.axes)

    def _clamp(self, node: fx.Node, x: fx.Node, low: Any = None, high: Any = None) -> Value:
        if node.kwargs:
            raise Unsupported(f"its step uses {node.target} in a way that it does not know")
        found = self.rows(x)
        for limit, name in ((low, "maximum"), (high, "minimum")):
            if limit is not None:
                found = Rows(elementwise(name, found.row, self._fitted(limit, node, found.axes)), found.axes)
        return found

    _clamp_min = _clamp

    def _clamp_max(self, node: fx.Node, x: fx.Node, high: Any) -> Value:
        return self._clamp(node, x, None, high)

    def _pow(self, node: fx.Node, x: Any, power: Any) -> Value:
        if power in (1, 2, 3) and not isinstance(power, fx.Node):
            found = self.rows(x)
            row = found.row
            for _ in range(int(power) - 1):
                row = elementwise("mul", row, found.row)
            return Rows(row, found.axes)
        return self._elementwise(node, "pow", x, power)
