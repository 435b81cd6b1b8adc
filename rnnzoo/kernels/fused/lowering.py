"""From a traced graph to rows, products with parameters, and sums over the batch."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

from rnnzoo.kernels.fused.expressions import ROWWISE, Expr, Row, cut, elementwise, leaf, number, reduce, spread, width
from rnnzoo.kernels.fused.trace import Unsupported


@dataclass(frozen=True)
class Product:
    """row @ M, or row @ Mᵀ where `transposed`, with a constant M; its result, `length` columns, is a buffer."""

    row: Row
    constant: int
    transposed: bool
    length: int
    name: str

    @property
    def weight(self) -> str:
        return f"w{self.constant}{'t' if self.transposed else 'n'}"


@dataclass(frozen=True)
class Rows:
    """A value of every row of the batch, (B, n) or (B,), or the same for all."""

    row: Row


@dataclass(frozen=True)
class Turned:
    """A (n, B) tensor: the transpose of rows."""

    row: Row


@dataclass(frozen=True)
class Constant:
    """A result of the graph of parameters alone."""

    index: int
    transposed: bool
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Term:
    """Summed over every row of every step: the outer product of two rows, or one row."""

    left: Row
    right: Row | None = None


@dataclass(frozen=True)
class Sum:
    """The gradient of a constant."""

    terms: tuple[Term, ...]
    transposed: bool = False


Value = Rows | Turned | Constant | Sum | list[Rows]

SAME = frozenset(["detach", "clone", "alias", "lift_fresh_copy"])
CREATED: dict[str, float | None] = {"full": None, "full_like": None, "new_full": None, "scalar_tensor": None}
CREATED |= {"zeros": 0.0, "zeros_like": 0.0, "new_zeros": 0.0, "ones": 1.0, "ones_like": 1.0, "new_ones": 1.0}


class Lowering:
    """One pass over a graph; `products` collects what is multiplied by parameters."""

    def __init__(self, batch: int, dtype: torch.dtype):
        self.batch, self.dtype = batch, dtype
        self.products: dict[tuple[Row, int, bool], Product] = {}
        self.values: dict[fx.Node, Value] = {}

    def run(self, graph: fx.Graph, inputs: Iterable[Value]) -> list[Value | None]:
        """The graph's outputs, flat, from its inputs."""
        given = iter(inputs)
        for node in graph.nodes:
            if node.op == "placeholder":
                self.values[node] = next(given)
            elif node.op == "output":
                outputs = tree_leaves(node.args[0], is_leaf=lambda z: z is None)
                return [None if z is None else self.values[z] for z in outputs]
            else:
                self.values[node] = self._checked(node, self._lower(node))
        raise AssertionError("a graph has an output")

    def row(self, a: Any) -> Row:
        """An argument as a row."""
        if not isinstance(a, fx.Node):
            if isinstance(a, bool | int | float):
                return number(a)
            raise Unsupported(f"its step has an argument {a!r} that it does not know")
        value = self.values[a]
        if isinstance(value, Rows):
            return value.row
        if isinstance(value, Constant) and all(n == 1 for n in value.shape[:-1]) and len(value.shape) <= 2:
            n = value.shape[-1] if value.shape else 1
            return ((Expr("vector", value.index, 0), n),)
        if isinstance(value, Constant):
            raise Unsupported("its step uses a matrix in other ways than rows @ matrix")
        raise Unsupported("its step mixes the rows of a batch")

    def _checked(self, node: fx.Node, value: Value) -> Value:
        """`value`, if it has the shape and dtype that the trace saw."""
        if isinstance(value, Rows):
            seen = node.meta["val"]
            counted = _name(node) == "sum" and node.args[0].meta["val"].dtype == torch.bool  # type: ignore[union-attr]
            if seen.dtype not in (self.dtype, torch.bool) and not counted:
                raise Unsupported(
                    f"its step makes {seen.dtype} numbers ({node.target}), and it computes in {self.dtype}"
                )
            if seen.dim() > 2 or (seen.dim() == 2 and seen.shape[0] not in (1, self.batch)):
                raise Unsupported(f"its step makes a tensor of shape (B, ...) with {seen.dim()} axes (heads, matrices)")
            n = 1 if seen.dim() == 0 or tuple(seen.shape) == (self.batch,) else seen.shape[-1]
            if width(value.row) not in (1, n):
                raise Unsupported(f"its step uses {node.target} in a way that it does not know")
            return Rows(spread(value.row, n))
        return value

    def _lower(self, node: fx.Node) -> Value:
        name, args = _name(node), node.args
        first = self.values[args[0]] if args and isinstance(args[0], fx.Node) else None
        if name == "getitem":
            assert isinstance(first, list)
            return first[int(args[1])]  # type: ignore[arg-type]
        if name in SAME or (name == "_to_copy" and first is not None):
            return first  # type: ignore[return-value]
        if name in RESHAPES:
            return self._reshape(node, name, first)
        method: Callable[..., Value] | None = getattr(self, f"_{name}", None)
        if method is not None:
            return method(node, *args)
        if (
            name in CREATED
            and (value := CREATED[name] if CREATED[name] is not None else _filled(name, args)) is not None
        ):
            shape = node.meta["val"].shape
            return Rows(number(value, shape[-1] if len(shape) else 1))
        if name in ROWWISE and not node.kwargs:
            return Rows(elementwise(name, *map(self.row, args)))
        if name in ("add", "sub") and set(node.kwargs) == {"alpha"}:
            scaled = elementwise("mul", self.row(args[1]), self.row(node.kwargs["alpha"]))
            return Rows(elementwise(name, self.row(args[0]), scaled))
        raise Unsupported(f"its step uses {node.target}, an operation that it does not know")

    def _reshape(self, node: fx.Node, name: str, first: Value | None) -> Value:
        seen = node.meta["val"]
        if name in ("t", "transpose", "permute"):
            if isinstance(first, Constant):
                return Constant(first.index, not first.transposed, tuple(seen.shape))
            if isinstance(first, Sum):
                return Sum(first.terms, not first.transposed)
            return Turned(self.row(node.args[0])) if not isinstance(first, Turned) else Rows(first.row)
        if isinstance(first, Constant) and self.batch not in seen.shape and seen.numel() == _count(first.shape):
            if len(first.shape) == 2 and 1 not in first.shape and tuple(seen.shape) != first.shape:
                raise Unsupported("its step reshapes a matrix together with the state")
            return Constant(first.index, first.transposed, tuple(seen.shape))
        if isinstance(first, Sum):
            if seen.numel() != node.args[0].meta["val"].numel():  # type: ignore[union-attr]
                raise Unsupported("its step mixes the rows of a batch")
            return first
        row = self.row(node.args[0])
        if name != "expand" and width(row) != (1 if tuple(seen.shape) == (self.batch,) else _last(seen.shape)):
            raise Unsupported(f"its step reshapes a tensor to {seen.dim()} axes (heads, matrices)")
        return Rows(row)

    # by the name of the operation in torch

    def _mm(self, node: fx.Node, x: fx.Node, m: fx.Node) -> Value:
        left, right = self.values[x], self.values[m]
        if isinstance(left, Turned):
            return Sum((Term(left.row, self.row(m)),))
        if not isinstance(right, Constant):
            raise Unsupported("its step multiplies by a matrix that is made of the state or of the input")
        row, length = self.row(x), node.meta["val"].shape[-1]
        key = row, right.index, right.transposed
        product = self.products.setdefault(key, Product(*key, length, f"m{len(self.products)}"))
        return Rows(leaf(product.name, length))

    def _addmm(self, node: fx.Node, b: fx.Node, x: fx.Node, m: fx.Node) -> Value:
        product = self._mm(node, x, m)
        if node.kwargs or not isinstance(product, Rows):
            raise Unsupported(f"its step uses {node.target} in a way that it does not know")
        return Rows(elementwise("add", self.row(b), product.row))

    def _add(self, node: fx.Node, a: Any, b: Any) -> Value:
        left, right = (self.values.get(z) if isinstance(z, fx.Node) else None for z in (a, b))
        if isinstance(left, Sum) and isinstance(right, Sum) and left.transposed == right.transposed and not node.kwargs:
            return Sum(left.terms + right.terms, left.transposed)
        x, y = self.row(a), self.row(b)
        if node.kwargs:
            y = elementwise("mul", y, self.row(node.kwargs["alpha"]))
        return Rows(elementwise("add", x, y))

    def _reduced(self, node: fx.Node, kind: str, args: Sequence[Any]) -> Row | None:
        """The columns of a row in one; None where the rows of the batch are reduced as well."""
        seen = args[0].meta["val"]
        if self.batch not in seen.shape[:1] or (node.kwargs and set(node.kwargs) != {"dtype"}):
            raise Unsupported(f"its step uses {node.target} in a way that it does not know")
        dims = args[1] if len(args) > 1 and args[1] is not None else []
        dims = [d % seen.dim() for d in (dims if isinstance(dims, list | tuple) else [dims])]
        if 0 in dims or not dims:
            return None
        return reduce(kind, self.row(args[0]))

    def _sum(self, node: fx.Node, *args: Any) -> Value:
        total = self._reduced(node, "add", args)
        return Sum((Term(self.row(args[0])),)) if total is None else Rows(total)

    def _amax(self, node: fx.Node, *args: Any) -> Value:
        largest = self._reduced(node, "maximum", args)
        if largest is None:
            raise Unsupported("its step mixes the rows of a batch")
        return Rows(largest)

    def _mean(self, node: fx.Node, *args: Any) -> Value:
        total = self._reduced(node, "add", args)
        if total is None:
            raise Unsupported("its step mixes the rows of a batch")
        return Rows(elementwise("div", total, number(width(self.row(args[0])))))

    def _var_mean(self, node: fx.Node, x: fx.Node, dims: Sequence[int]) -> Value:
        rank = x.meta["val"].dim()
        if [d % rank for d in dims] != [1]:
            raise Unsupported("its step mixes the rows of a batch")
        row = self.row(x)
        mean = elementwise("div", reduce("add", row), number(width(row)))
        d = elementwise("sub", row, mean)
        correction: Any = node.kwargs.get("correction", 1)
        var = elementwise("div", reduce("add", elementwise("mul", d, d)), number(width(row) - correction))
        return [Rows(var), Rows(mean)]

    def _split(self, node: fx.Node, x: fx.Node, sizes: int | Sequence[int], dim: int = 0) -> Value:
        self._along_columns(node, x, dim)
        row = self.row(x)
        if isinstance(sizes, int):
            sizes = [min(sizes, width(row) - k) for k in range(0, width(row), sizes)]
        return [Rows(cut(row, sum(sizes[:k]), sum(sizes[: k + 1]))) for k in range(len(sizes))]

    _split_with_sizes = _split

    def _slice(
        self, node: fx.Node, x: fx.Node, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
    ) -> Value:
        row, seen = self.row(x), x.meta["val"]
        if tuple(node.meta["val"].shape) == tuple(seen.shape):
            return Rows(row)
        self._along_columns(node, x, dim, step)
        return Rows(cut(row, *slice(start, end).indices(width(row))[:2]))

    def _select(self, node: fx.Node, x: fx.Node, dim: int, index: int) -> Value:
        self._along_columns(node, x, dim)
        row = self.row(x)
        index %= width(row)
        return Rows(cut(row, index, index + 1))

    def _slice_scatter(
        self, node: fx.Node, x: fx.Node, new: fx.Node, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
    ) -> Value:
        row, part = self.row(x), self.row(new)
        if tuple(new.meta["val"].shape) == tuple(x.meta["val"].shape):
            return Rows(part)
        self._along_columns(node, x, dim, step)
        at = slice(start, end).indices(width(row))[0]
        return Rows(cut(row, 0, at) + part + cut(row, at + width(part), width(row)))

    def _select_scatter(self, node: fx.Node, x: fx.Node, new: fx.Node, dim: int, index: int) -> Value:
        self._along_columns(node, x, dim)
        row = self.row(x)
        index %= width(row)
        return Rows(cut(row, 0, index) + self.row(new) + cut(row, index + 1, width(row)))

    def _cat(self, node: fx.Node, tensors: Sequence[fx.Node], dim: int = 0) -> Value:
        self._along_columns(node, tensors[0], dim)
        return Rows(tuple(part for z in tensors for part in self.row(z)))

    def _clamp(self, node: fx.Node, x: fx.Node, low: Any = None, high: Any = None) -> Value:
        row = self.row(x)
        if node.kwargs:
            raise Unsupported(f"its step uses {node.target} in a way that it does not know")
        row = row if low is None else elementwise("maximum", row, self.row(low))
        return Rows(row if high is None else elementwise("minimum", row, self.row(high)))

    _clamp_min = _clamp

    def _clamp_max(self, node: fx.Node, x: fx.Node, high: Any) -> Value:
        return self._clamp(node, x, None, high)

    def _pow(self, node: fx.Node, x: Any, power: Any) -> Value:
        row = self.row(x)
        if power in (1, 2, 3) and not isinstance(power, fx.Node):
            result = row
            for _ in range(int(power) - 1):
                result = elementwise("mul", result, row)
            return Rows(result)
        return Rows(elementwise("pow", row, self.row(power)))

    def _along_columns(self, node: fx.Node, x: fx.Node, dim: int, step: int = 1) -> None:
        seen = x.meta["val"]
        if step != 1 or seen.dim() == 0 or dim % seen.dim() != seen.dim() - 1 or tuple(seen.shape) == (self.batch,):
            raise Unsupported(f"its step uses {node.target} on other axes than the last")


RESHAPES = frozenset(["t", "transpose", "permute", "view", "_unsafe_view", "reshape", "expand", "squeeze", "unsqueeze"])


def _name(node: fx.Node) -> str:
    target = node.target
    return str(getattr(target, "_opname", getattr(target, "__name__", target)))


def _filled(name: str, args: Sequence[Any]) -> float | None:
    value = args[0] if name == "scalar_tensor" else args[2] if name == "new_full" else args[1]
    return float(value) if isinstance(value, bool | int | float) else None


def _count(shape: Sequence[int]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


def _last(shape: Sequence[int]) -> int:
    return shape[-1] if len(shape) else 1
