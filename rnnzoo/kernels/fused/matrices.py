"""Products in a trace: by parameters, of the rows with themselves, and over the batch."""

from torch import fx

from rnnzoo.kernels.fused import axes as ax
from rnnzoo.kernels.fused.axes import Axes, natural
from rnnzoo.kernels.fused.expressions import Row, cut, elementwise, width
from rnnzoo.kernels.fused.reader import FEW, MIXED, Reader
from rnnzoo.kernels.fused.unsupported import Unsupported
from rnnzoo.kernels.fused.values import Constant, Rows, Sum, Term, Value


class Matrices(Reader):
    """Methods by the names of torch's operations."""

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
        scalars = turned and len(result) > FEW
        return Rows(self.placed([result]) if scalars else result, natural(self.shape(node).dims))

    def _addmm(self, node: fx.Node, b: fx.Node, x: fx.Node, m: fx.Node) -> Value:
        product = self._bmm(node, x, m)
        if node.kwargs or not isinstance(product, Rows):
            raise Unsupported(f"its step uses {node.target} in a way that it does not know")
        return Rows(elementwise("add", self._fitted(b, node, product.axes), product.row), product.axes)

    _baddbmm = _addmm


def _of_size(*axes: tuple[int, int]) -> Axes:
    """Axes without those of size 1."""
    return tuple((name, n) for name, n in axes if n != 1)
