"""What the backward's loop leaves, and the gradients of constants that are made of it, for every kernel of a plan."""

import math
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from rnnzoo.kernels.fused.plan import Columns, Gradient
from rnnzoo.kernels.fused.steps import Steps

Outer = Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor | None]]


class Left:
    """The rows that lie in the loops' buffers afterwards."""

    def __init__(self, tensors: Mapping[str, Tensor], steps: Steps):
        self.tensors, self.steps = tensors, steps
        self._old: dict[str, Tensor] = {}

    def rows(self, at: Columns) -> Tensor:
        """Columns of a buffer, (N, n), or (B, n) of one that has added the steps up; of the states, those before each
        step."""
        a, steps = self.tensors[at.buffer], self.steps
        if at.buffer[0] == "s":
            if at.buffer not in self._old:
                a = a.view(steps.batch + steps.total, -1)
                old = a.index_select(0, steps.old.to(a.device)) if steps.packed else a[: steps.total]
                self._old[at.buffer] = old
            a = self._old[at.buffer]
        elif at.buffer[0] == "a":
            a = a.view(steps.batch, -1)
        else:
            a = a.view(steps.total, -1)
        return a[:, at.column : at.column + at.width]


def constant_gradients(
    gradients: Sequence[Gradient], left: Left, wanted: Sequence[bool], outer: Outer
) -> list[Tensor | None]:
    """The gradients of those constants that are wanted; `outer` gives leftᵀ @ right, and where asked for the sum of
    left's rows."""
    summed = {at for g, need in zip(gradients, wanted, strict=True) if need for at in g.rows}
    sums: dict[Columns, Tensor] = {}
    products: dict[tuple[Columns, Columns], Tensor] = {}
    for gradient, need in zip(gradients, wanted, strict=True):
        for pair in gradient.outer if need else ():
            if pair not in products:
                products[pair], total = outer(left.rows(pair[0]), left.rows(pair[1]), pair[0] in summed)
                if total is not None:
                    sums[pair[0]] = total

    def summed_rows(at: Columns, shape: tuple[int, ...]) -> Tensor:
        if at not in sums:
            sums[at] = left.rows(at).sum(0)
        return sums[at] if at.width == math.prod(shape) else sums[at].sum()

    def made(gradient: Gradient) -> Tensor | None:
        terms = [products[pair] for pair in gradient.outer]
        terms += [summed_rows(at, gradient.shape) for at in gradient.rows]
        if not terms:
            return None
        total = sum(terms[1:], terms[0])
        return (total.t() if gradient.transposed else total).reshape(gradient.shape)

    return [made(g) if need else None for g, need in zip(gradients, wanted, strict=True)]
