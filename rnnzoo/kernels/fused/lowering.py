"""From a traced graph to rows, products with parameters, and sums over the batch."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

from rnnzoo.kernels.fused import axes as ax
from rnnzoo.kernels.fused.axes import Axes, natural
from rnnzoo.kernels.fused.expressions import ROWWISE, Expr, Part, Row, cut, elementwise, leaf, number, width
from rnnzoo.kernels.fused.trace import Unsupported
from rnnzoo.kernels.fused.values import Constant, Placed, Product, Rows, Shape, Sum, Term, Value

SAME = frozenset(["detach", "clone", "alias", "lift_fresh_copy"])
CREATED: dict[str, float | None] = {"full": None, "full_like": None, "new_full": None, "scalar_tensor": None}
CREATED |= {"zeros": 0.0, "zeros_like": 0.0, "new_zeros": 0.0, "ones": 1.0, "ones_like": 1.0, "new_ones": 1.0}
RESHAPES = frozenset(["view", "_unsafe_view", "reshape", "squeeze", "unsqueeze"])
MIXED = "its step mixes the rows of a batch"
_FEW = 4  # terms of a sum that are added where it is read


class Lowering:
    """One pass over a graph; `steps` collects what the loop must have computed before others read it: what is
    multiplied by parameters, and rows whose numbers others read one by one."""

    def __init__(self, batch: int, dtype: torch.dtype):
        self.batch, self.dtype = batch, dtype
        self.steps: dict[Any, Product | Placed] = {}
        self.values: dict[fx.Node, Value] = {}

    def run(self, graph: fx.Graph, inputs: Iterable[Value]) -> list[Value | None]:
        """The graph's outputs, flat, from its inputs."""
        given = iter(inputs)
        for node in graph.nodes:
            if node.op == "placeholder":
                self.values[node] = next(given)
            elif node.op == "output":
                outputs = tree_leaves(node.args[0], is_leaf=lambda z: z is None)
                return [None if z is None else self._straight(z) for z in outputs]
            else:
                self.values[node] = self._checked(node, self._lower(node))
        raise AssertionError("a graph has an output")

    # ---- values

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
        if len(terms) > _FEW:
            return self.placed(terms)
        found = ax.added(terms)
        return self.placed([found]) if len(found) > _FEW else found

    def product(self, row: Row, constant: Constant, turned: bool, length: int, part: int | None = None) -> Row:
        """row @ matrix, one of the constant's where it has three axes."""
        key = row, constant.index, constant.dims, turned, part
        product = self.steps.setdefault(key, Product(*key, length, f"m{len(self.steps)}"))
        return leaf(product.name, length)

    def _checked(self, node: fx.Node, value: Value) -> Value:
        """`value`, if it has the shape and dtype that the trace saw."""
        if isinstance(value, Rows):
            seen = node.meta["val"]
            counted = _name(node) == "sum" and node.args[0].meta["val"].dtype == torch.bool  # type: ignore[union-attr]
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
        name, args = _name(node), node.args
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
        if name in CREATED:
            value = CREATED[name] if CREATED[name] is not None else _filled(name, args)
            if value is not None:
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

    # ---- products: by parameters, of the rows with themselves, and over the batch

    def _mm(self, node: fx.Node, x: fx.Node, m: fx.Node) -> Value:
        return self._bmm(node, x, m)

    def _bmm(self, node: fx.Node, x: fx.Node, m: fx.Node) -> Value:
        left, right = self.values[x], self.values[m]
        rank = node.meta["val"].dim()
        a, b = self.shape(x), self.shape(m)
        if isinstance(left, Rows) and isinstance(right, Constant) and a.batch == rank - 2:
            return self._by_constant(node, x, right, right.order[-2:] == (rank - 1, rank - 2))
        if isinstance(left, Constant) and isinstance(right, Rows) and b.batch == rank - 1:
            return self._by_constant(node, m, left, left.order[-2:] == (rank - 2, rank - 1))
        if isinstance(left, Sum) or isinstance(right, Sum):
            raise Unsupported(MIXED)
        if not isinstance(left, Rows) or not isinstance(right, Rows):
            raise Unsupported("its step uses a matrix in other ways than rows @ matrix")
        if a.batch == rank - 1 and b.batch == rank - 2:
            return self._over_the_batch(x, m, rank == 3)
        if rank == 3 and a.batch == b.batch == 0:
            return self._of_each_row(node, x, m)
        raise Unsupported("its step multiplies by a matrix that is made of the state or of the input")

    def _by_constant(self, node: fx.Node, x: fx.Node, m: Constant, turned: bool) -> Value:
        """Rows times a matrix, or each of some parts of a row, its heads, times one of its own."""
        rank = len(m.dims)
        length = node.meta["val"].shape[-2 if self.shape(node).batch == rank - 1 else -1]
        if m.order[:-2] != tuple(range(rank - 2)):
            raise Unsupported("its step transposes a parameter of more than two axes")
        row = self.row(x)
        k = m.dims[-1] if turned else m.dims[-2]
        n = width(row) // k
        heads = range(m.dims[0]) if rank == 3 else None
        parts = [cut(row, h * k, (h + 1) * k) for h in range(n)]
        made = [self.product(p, m, turned, length, None if heads is None else h) for h, p in enumerate(parts)]
        return Rows(ax.joined([p for r in made for p in r]), natural(self.shape(node).dims))

    def _over_the_batch(self, x: fx.Node, m: fx.Node, heads: bool) -> Sum:
        """The gradient of a matrix, or of one for each head."""
        left, right = self.row(x), self.row(m)
        P, Q = x.meta["val"].shape[-2], m.meta["val"].shape[-1]
        terms = [Term(cut(left, k * P, (k + 1) * P), cut(right, k * Q, (k + 1) * Q)) for k in range(width(left) // P)]
        groups = tuple((t,) for t in terms) if heads else (tuple(terms),)
        return Sum(groups, (len(terms), P, Q) if heads else (P, Q))

    def _of_each_row(self, node: fx.Node, x: fx.Node, m: fx.Node) -> Rows:
        """(B, a, k) @ (B, k, b), a matrix of its own for every row of the batch."""
        left, right = (Rows(self.rows(z).row, self.shape(z).with_fold(self.rows(z).axes)) for z in (x, m))
        (F, a, k), (_, _, b) = self.shape(x).folded(), self.shape(m).folded()
        turned = [name for name, _ in right.axes if name] == [2, 1]
        matrices = ax.arrange(right.row, right.axes, _of_size((0, F), (2, b), (1, k)) if turned else natural((F, k, b)))
        rows = ax.arrange(self.placed([left.row]), left.axes, natural((F, a, k)))
        made: list[Row] = []
        for i in range(F * a):
            row = cut(rows, i * k, (i + 1) * k)
            matrix = cut(matrices, i // a * k * b, (i // a + 1) * k * b)
            if turned:  # (b, k): each number is a sum over columns that lie side by side
                terms = [elementwise("mul", cut(matrix, j * k, (j + 1) * k), row) for j in range(b)]
                made += [ax.reduced(p, ((0, k),), {0}, "add")[0] for p in terms]
            else:
                alone = [ax.arrange(cut(row, j, j + 1), (), ((0, b),)) for j in range(k)]
                made.append(
                    self.total([elementwise("mul", p, cut(matrix, j * b, (j + 1) * b)) for j, p in enumerate(alone)])
                )
        result = ax.joined([part for r in made for part in r])
        scalars = turned and len(result) > _FEW
        return Rows(self.placed([result]) if scalars else result, natural(self.shape(node).dims))

    def _addmm(self, node: fx.Node, b: fx.Node, x: fx.Node, m: fx.Node) -> Value:
        product = self._bmm(node, x, m)
        if node.kwargs or not isinstance(product, Rows):
            raise Unsupported(f"its step uses {node.target} in a way that it does not know")
        return Rows(elementwise("add", self._fitted(b, node, product.axes), product.row), product.axes)

    _baddbmm = _addmm

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

    # ---- reductions

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
            row = self.placed([row]) if len(row) > _FEW else row
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
            whole = self.placed([tuple(parts)]) if len(parts) > _FEW else tuple(parts)
            made.append(Rows(whole, natural(dims_left)))
        return made

    # ---- pieces

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

    # ---- others

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


def _of_size(*axes: tuple[int, int]) -> Axes:
    """Axes without those of size 1."""
    return tuple((name, n) for name, n in axes if n != 1)


def _readable(row: Row) -> bool:
    """Whether any number of a row can be read where it is, without computing it."""
    return all(e.op in ("leaf", "vector", "const", "at", "entry") for e, _ in row)


def _name(node: fx.Node) -> str:
    target = node.target
    return str(getattr(target, "_opname", getattr(target, "__name__", target)))


def _filled(name: str, args: Sequence[Any]) -> float | None:
    value = args[0] if name == "scalar_tensor" else args[2] if name == "new_full" else args[1]
    return float(value) if isinstance(value, bool | int | float) else None
