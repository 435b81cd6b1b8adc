"""What the backward's loop leaves, and the gradients that are made of it, for every kernel of a plan."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rnnzoo.kernels.fused.loops import Columns
from rnnzoo.kernels.fused.plan import Addends, Gradient, Late
from rnnzoo.kernels.fused.steps import Steps
from rnnzoo.kernels.fused.values import Product

Outer = tuple[Tensor, Sequence[Tensor | None]]  # leftᵀ @ right, and the sums of their rows


class Left:
    """The rows that lie in the loops' buffers afterwards."""

    def __init__(self, tensors: Mapping[str, Tensor], steps: Steps):
        self.tensors, self.steps = tensors, steps
        self._past: dict[str, Tensor] = {}  # of packed data, the states before each step

    def rows(self, at: Columns, cut: bool = False) -> list[Tensor]:
        """Columns of a buffer, (N, n), or (B, n) of one that has added the steps up; in two where `cut`, the first
        step and the others. Of the states, those before each step, which lie in two unless the data are packed."""
        steps, tensors = self.steps, self.tensors
        B, N = steps.batch, steps.total
        if at.buffer[0] == "s":
            start, new = tensors[at.buffer].view(B, -1), tensors["n" + at.buffer[1:]].view(N, -1)
            if not steps.packed:
                pieces = [start, new[: N - B]]
            else:
                if at.buffer not in self._past:
                    old = steps.old.to(start.device)
                    self._past[at.buffer] = torch.cat([start, new]).index_select(0, old)
                pieces = [self._past[at.buffer]]
        else:
            a = tensors[at.buffer].view(B if at.buffer[0] == "a" else N, -1)
            pieces = [a[:B], a[B:]] if cut else [a]
        return [a[:, at.column : at.column + at.width] for a in pieces]


def matrix_of(product: Product, constants: Sequence[Tensor]) -> Tensor:
    """What rows are multiplied by: a constant, or one head's part of it."""
    m = constants[product.constant].reshape(product.dims)
    return m if product.part is None else m[product.part]


def input_gradient(
    late: Sequence[Late], left: Left, constants: Sequence[Tensor], product: Callable[..., None]
) -> Tensor:
    """The gradient of u, (N, P); `product(a, m, turned, out, add=)` writes a @ m, or a @ mᵀ, to `out`, or adds it."""
    du = left.tensors["du"].view(left.steps.total, -1)
    for group in late:
        for k, gemm in enumerate(group.gemms):
            p = gemm.product
            (rows,) = left.rows(gemm.operand)
            into = du[:, group.column : group.column + p.length]
            product(rows, matrix_of(p, constants), p.turned, into, add=k > 0)
    return du


def lies_turned(gradient: Gradient, constant: Tensor) -> bool:
    """Whether a gradient is to lie as its transpose would, as the constant does where it is a parameter's ``.t()``:
    another one torch would copy when it keeps it."""
    turned = constant.dim() == 2 and not constant.is_contiguous() and constant.t().is_contiguous()
    return turned and any(g.outer for g in gradient.groups)


def constant_gradients(
    plan: Sequence[Gradient],
    constants: Sequence[Tensor],
    left: Left,
    wanted: Sequence[bool],
    outer: Callable[[list[tuple[Tensor, Tensor]], tuple[bool, bool]], Outer],
) -> list[Tensor | None]:
    """The gradients of the constants, where `wanted`.

    `outer(pieces, sums)` gives the sum over pieces of leftᵀ @ right, and where asked for, if they are by-products, the
    sums of left's and of right's rows.
    """
    needed = [(g, lies_turned(g, c)) if need else None for g, c, need in zip(plan, constants, wanted, strict=True)]
    there = [found for found in needed if found]
    summed = {at for gradient, _ in there for g in gradient.groups for at in g.rows}
    sums: dict[Columns, Tensor] = {}
    products: dict[tuple[Columns, Columns], Tensor] = {}
    for gradient, turned in there:
        for pair in (pair for g in gradient.groups for pair in _pairs(g, gradient.turned != turned)):
            if pair not in products:
                cut = any(at.buffer[0] == "s" for at in pair) and not left.steps.packed
                pieces = list(zip(*(left.rows(at, cut) for at in pair), strict=True))
                first, second = (at in summed - set(sums) for at in pair)
                products[pair], totals = outer(pieces, (first, second))
                sums |= {at: total for at, total in zip(pair, totals, strict=True) if total is not None}
    for at in summed - set(sums):
        sums[at] = torch.stack([a.sum(0) for a in left.rows(at)]).sum(0)

    def made(gradient: Gradient, turned: bool) -> Tensor | None:
        shape = gradient.shape[::-1] if turned else gradient.shape
        whole = math.prod(shape) // max(len(gradient.groups), 1)
        found = []
        for group in gradient.groups:
            terms = [products[pair] for pair in _pairs(group, gradient.turned != turned)]
            terms += [sums[at] if at.width == whole else sums[at].sum() for at in group.rows]
            found.append(sum(terms[1:], terms[0]))
        if not found:
            return None
        total = (found[0] if len(found) == 1 else torch.stack(found)).reshape(shape)
        return total.t() if turned else total

    return _apart([made(*found) if found else None for found in needed])


def _pairs(group: Addends, reverse: bool) -> list[tuple[Columns, Columns]]:
    """What a matrix is the sum of the outer products of, or its transpose."""
    return [(b, a) if reverse else (a, b) for a, b in group.outer]


class Origin(torch.autograd.Function):
    """An empty tensor in place of one that the backward does not read: it tells where that came from, and keeps nothing
    else of it."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        return a.new_empty(0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> None:
        return None


def differentiable_once(
    message: str, found: Sequence[Tensor | None], made_of: Iterable[Tensor | None]
) -> list[Tensor | None]:
    """The gradients in `found`, so that who goes on to differentiate them by what they are `made_of` gets `message`."""
    leaves: list[Any] = [None if a is None else a.detach().requires_grad_() for a in found]
    given = [*leaves, *(a for a in made_of if a is not None and a.requires_grad)]
    return list(torch._C._functions.DelayedError(message.encode(), len(given))(*given)[: len(leaves)])


def _apart(found: list[Tensor | None]) -> list[Tensor | None]:
    """Two biases that are added have one gradient, and an operation's results must not share memory."""
    seen: set[int] = set()
    for k, a in enumerate(found):
        if a is not None and a.data_ptr() in seen:
            found[k] = a.clone()
        elif a is not None:
            seen.add(a.data_ptr())
    return found
