"""The parallel form of a linear cell: coefficients of all steps at once, and one scan over h_t = a_t h_{t-1} + b_t."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad

from rnnzoo.cells.contract import Cell, LinearCell
from rnnzoo.cells.registry import kind, name_of
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels.all_at_once import why_not_all_at_once
from rnnzoo.kernels.base import LayerKernel, Work, milliseconds
from rnnzoo.kernels.layout import Layout, Packed
from rnnzoo.kernels.reference import HALF
from rnnzoo.kernels.transforms import transforms

RATE, STEP = 80.0, 0.014  # GFLOP/s, and ms of one step of one cell


class Scan(torch.autograd.Function):
    """h_t = a_t h_{t-1} + b_t over (T, B, H); its gradient is the same recurrence, from the end to the start.

    One autograd node: of T steps only a and h are kept. On a CPU a loop in place is the fastest form, and on a GPU
    one Triton kernel; elsewhere each of log2(T) passes doubles the distance that values have travelled.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
        h = _forward(a, b, h0)
        ctx.save_for_backward(a, h, h0)
        return h

    @staticmethod
    def backward(ctx: Any, dh: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, h, h0 = ctx.saved_tensors
        # create_graph: who asks for it goes on to differentiate, which graphs of torch.compile cannot
        again = torch.is_grad_enabled() and not torch.compiler.is_compiling()
        if _by_triton(h) and not again:
            from rnnzoo.kernels.triton import scan

            return scan.backward(a, h, h0, dh)
        later, dh = torch.cat([a[1:], torch.zeros_like(a[:1])]).flip(0).conj(), dh.flip(0)
        db = (linear_scan(later, dh, torch.zeros_like(h0)) if again else _recur(later, dh)).flip(0)
        return db * torch.cat([h0[None], h[:-1]]).conj(), db, a[0].conj() * db[0]


class TransformedScan(torch.autograd.Function):
    """The same in the form that forward mode and torch.func ask for; torch takes longer to call it."""

    @staticmethod
    def forward(a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
        return _forward(a, b, h0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        a, _, h0 = inputs
        ctx.save_for_backward(a, output, h0)
        ctx.save_for_forward(a, output, h0)

    backward = Scan.backward

    @staticmethod
    def jvp(ctx: Any, da: Tensor | None, db: Tensor | None, dh0: Tensor | None) -> Tensor:
        """The tangent is the same recurrence: dh_t = a_t dh_{t-1} + (da_t h_{t-1} + db_t)."""
        a, h, h0 = ctx.saved_tensors
        put = torch.zeros_like(h) if db is None else db
        if da is not None:
            put = put + da * torch.cat([h0[None], h[:-1]])
        return linear_scan(a, put, torch.zeros_like(h0) if dh0 is None else dh0)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *given: Tensor) -> tuple[Tensor, int]:
        """Sequences of a batch are independent of each other, and so are those of many batches."""
        n = info.batch_size
        spread = [
            (a.movedim(d, at) if d is not None else a.unsqueeze(at).expand(*a.shape[:at], n, *a.shape[at:]))
            for a, d, at in zip(given, in_dims, (1, 1, 0), strict=True)
        ]
        h = linear_scan(*(a.flatten(at, at + 1) for a, at in zip(spread, (1, 1, 0), strict=True)))
        return h.unflatten(1, (n, -1)), 1


def linear_scan(a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
    """h_t = a_t h_{t-1} + b_t, (T, B, H), in the form that suits what the call stands in."""
    transformed = not torch.compiler.is_compiling() and (forward_ad._current_level >= 0 or transforms())
    return (TransformedScan if transformed else Scan).apply(a, b, h0)


def _forward(a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
    if _by_triton(b):
        from rnnzoo.kernels.triton import scan

        return scan.forward(a, b, h0)
    return _recur(a, torch.cat([b[:1] + a[:1] * h0, b[1:]]))


def _by_triton(b: Tensor) -> bool:
    if not b.is_cuda or b.is_complex() or torch.compiler.is_compiling():
        return False
    from rnnzoo.kernels.triton import available

    return available.installed() and available.why_not_device(b.device) is None


def _recur(a: Tensor, b: Tensor) -> Tensor:
    """h_t = a_t h_{t-1} + b_t from h_0 = b_0."""
    # a graph of torch.compile would hold every turn of the loop
    return _in_place(a, b) if b.device.type == "cpu" and not torch.compiler.is_compiling() else _doubling(a, b)


def _in_place(a: Tensor, b: Tensor) -> Tensor:
    h = b.clone()
    for t in range(1, len(h)):
        h[t].addcmul_(a[t], h[t - 1])
    return h


def _doubling(a: Tensor, b: Tensor) -> Tensor:
    k = 1
    while k < len(b):
        b = torch.cat([b[:k], torch.addcmul(b[k:], a[k:], b[:-k])])
        a = torch.cat([a[:k], a[k:] * a[:-k]])
        k *= 2
    return b


def _padded(c: Tensor, layout: Packed, value: float) -> Tensor:
    """A packed coefficient (N, ...) as (T, B, ...)."""
    whole = c.new_full((layout.time, layout.batch, *c.shape[1:]), value)
    return whole.index_put(layout.places, c)


class LinearScan(LayerKernel):
    """Every step of a linear cell at once; the state keeps its dtype whatever the activations have."""

    name = "linear_scan"

    def why_not(self, work: Work) -> str | None:
        if "Functionalize" in transforms():
            return "it runs in no torch.func.functionalize"
        reason = self.likely_why_not(work)
        if reason is not None:
            return reason
        for k, cell in enumerate(work.cells):
            dtype = work.x.dtype if k < len(work.layers[0]) else cell.like(work.x).dtype
            reason = why_not_all_at_once(cell, dtype, work.x.dim() - 1, work.given(k))
            if reason is not None:
                return f"{name_of(kind(cell))}: {reason}"
        return None

    def likely_why_not(self, work: Work) -> str | None:
        return next((f"{name_of(kind(c))} is not linear in its state" for c in work.cells if not c.linear), None)

    def cost(self, work: Work) -> float:
        return milliseconds(work, RATE) + STEP * work.layout.time * len(work.cells)

    def scan(self, cell: Cell, u: Any, s: Any, layout: Layout) -> tuple[Tensor, Any]:
        coefficients = cast(LinearCell, cell).coefficients  # why_not has seen to it
        if s.h.dtype in HALF:  # as in the reference, the state is kept in float32 from step to step
            hs, last = self.scan(cell, u, type(s)(s.h.float()), layout)
            return hs.to(s.h.dtype), type(s)(last.h.to(s.h.dtype))
        a, b = (self._fitted(name, c, cell, s.h, layout) for name, c in zip("ab", coefficients(u), strict=True))
        if isinstance(layout, Packed):  # behind its end a sequence keeps its state: h_t = 1 h_{t-1} + 0
            a, b = _padded(a, layout, 1.0), _padded(b, layout, 0.0)
        h = linear_scan(a, b, s.h)
        last = type(s)(h[-1])
        if isinstance(layout, Packed):
            return cell.emit(type(s)(h[layout.places])), last
        if type(cell).emit is Cell.emit:
            # what the backward reads must not be the user's to change in place, as nn.GRU's output is
            return h.clone() if h.requires_grad else h, last
        if torch.compiler.is_exporting():  # which would hold the batch to a range for the two changes of shape
            return torch.stack([cell.emit(type(s)(a)) for a in h.unbind(0)]), last
        emitted = cell.emit(type(s)(h.flatten(0, 1)))  # emit knows rows, not time
        return emitted.unflatten(0, h.shape[:2]), last

    @staticmethod
    def _fitted(name: str, c: Tensor, cell: Cell, h: Tensor, layout: Layout) -> Tensor:
        """A coefficient in the state's dtype, spread over the state's shape."""
        rows = (sum(layout.batch_sizes),) if isinstance(layout, Packed) else (layout.time, layout.batch)
        shape = (*rows, *h.shape[1:])
        try:
            spread = c.expand(shape)
        except RuntimeError:
            spread = None
        if spread is None or (c.is_complex() and not h.is_complex()):
            raise RnnZooError(
                f"cell {type(cell).__name__} returned the coefficient {name} as {c.dtype} of shape {tuple(c.shape)};"
                f" its state needs {h.dtype} of {shape}"
            )
        return spread.to(h.dtype)
