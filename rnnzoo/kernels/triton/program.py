"""A cell's loops on a GPU: per step its bodies' kernels and torch's products, and the autograd node around them."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rnnzoo.kernels.fused.code import Code
from rnnzoo.kernels.fused.gradients import Left, constant_gradients, input_gradient, matrix_of
from rnnzoo.kernels.fused.plan import Body, Columns, Loop
from rnnzoo.kernels.fused.program import Program
from rnnzoo.kernels.fused.steps import Steps
from rnnzoo.kernels.triton.graphs import Graphs, stream
from rnnzoo.kernels.triton.printer import Printed, module_source, power_of_two, print_bodies
from rnnzoo.kernels.triton.source import module

SECOND = "kernel 'triton' has no second derivative; set kernel='reference', which has"
_BLOCK = 256  # columns that a program computes, at most, where it need not see the whole row
_PER_WARP = 256  # columns that a warp computes


class GpuProgram:
    """The loops of a traced cell, for whatever T, B and lengths."""

    def __init__(self, traced: Program):
        self.plan, self.early, self.dtype = traced.plan, traced.early, traced.dtype
        self.bodies = print_bodies(self.plan, self.dtype == torch.float64)
        self.graphs = Graphs()
        self.lock = threading.RLock()
        self._early: dict[torch.device, Code] = {}

    @cached_property
    def kernels(self) -> Any:
        """The module of the bodies' kernels; written and imported at the first use."""
        return module(module_source(self.bodies))

    def scan(self, u: Tensor, s: Sequence[Tensor], values: Sequence[Tensor], steps: Steps) -> Sequence[Tensor]:
        """What is emitted (N, n) and the final states, from u (N, P), the initial states (B, n), and the values of
        parameters and buffers."""
        constants = self._early_on(u.device)(*values)
        if torch.is_grad_enabled() and any(a.requires_grad for a in (u, *s, *constants)):
            return WholeSequence.apply(self, steps, len(s), u, *s, *constants)
        given = {"u": u} | {f"s{k}": a for k, a in enumerate(s)}
        finals = [f"l{k}" for k in range(len(s))]
        p = self.call("infer", steps, given, constants, [self.plan.emitted, *finals])
        return [p[self.plan.emitted], *(p[b].view_as(a) for b, a in zip(finals, s, strict=True))]

    def call(
        self, name: str, steps: Steps, given: Mapping[str, Tensor], constants: Sequence[Tensor], kept: Sequence[str]
    ) -> dict[str, Tensor]:
        """Runs a loop from what is given; the buffers in `kept` are the caller's afterwards."""
        loop: Loop = getattr(self.plan, name)
        device = given["u"].device if "u" in given else given["y"].device
        given = {b: a.reshape(len(a), -1) for b, a in given.items() if b in loop.buffers}
        by_number = {k for body in self.bodies[name] if body is not None for k in body.constants}
        constants = [
            a.contiguous() if k in by_number or a.dim() < 2 or 1 in a.shape else a for k, a in enumerate(constants)
        ]

        def allocate(taken: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return self._buffers(loop, steps, taken, device)

        def launch(p: dict[str, Tensor], c: Sequence[Tensor]) -> dict[str, Tensor]:
            return self.launch(name, loop, steps, p, c)

        where = torch.cuda.device(device) if device.type == "cuda" else nullcontext()
        with torch.no_grad(), where, torch.autocast(device.type, enabled=False):
            if self.graphs.can(steps, device, len(loop.parts)):
                key = name, steps.time, steps.batch, stream(device), device, torch.get_float32_matmul_precision()
                with self.lock:
                    found = self.graphs.replayed(
                        key, allocate, lambda p: _load(loop, p, given), launch, constants, kept
                    )
                if found is not None:
                    return found
            swapped = {b for pair in loop.swaps for b in pair}  # written to, so they must be copies
            p = allocate({b: a.contiguous() for b, a in given.items() if b not in swapped})
            _load(loop, p, {b: a for b, a in given.items() if b in swapped})
            return launch(p, constants)

    def launch(
        self, name: str, loop: Loop, steps: Steps, p: dict[str, Tensor], constants: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """The loop over time on buffers; as the buffers are called after it."""
        plan, T = self.plan, steps.time
        alive, rows = steps.alive.tolist(), steps.rows.tolist()
        p = dict(p)
        starts = {b: p[b] for b, buffer in loop.buffers.items() if buffer.kind == "start"}
        pasts = {b: p["n" + b[1:]] for b in starts}  # after the first step the states before lie there
        for b in loop.buffers:
            if b in plan.accumulated:
                p[b].zero_()
        for gemm in loop.ahead:
            m, turned = matrix_of(gemm.product, constants), gemm.product.turned
            _product(_columns(p[gemm.operand.buffer], gemm.operand), m, turned, p[gemm.product.name])
        runs = [None if b is None else self._run(b, constants) for b in self.bodies[name]]
        for t in range(T - 1, -1, -1) if name == "backward" else range(T):
            r, at, old = alive[t], rows[t], rows[t - 1] if t else 0
            first = {"seq": at, "block": at, "start": old, "turn": 0}
            p |= pasts if t else starts
            for part, run in zip(loop.parts, runs, strict=True):
                if isinstance(part, Body):
                    if run is not None:
                        run(p, r, at, old)
                    continue
                operand, out = part.operand, part.product.name
                i, o = (first[loop.buffers[b].kind] for b in (operand.buffer, out))
                m, turned = matrix_of(part.product, constants), part.product.turned
                _product(_columns(p[operand.buffer][i : i + r], operand), m, turned, p[out][o : o + r])
            going = alive[t + 1] if t + 1 < T else 0
            if name != "backward" and going < r:  # rows that end here leave their states behind
                for k in range(len(plan.widths)):
                    o = first[loop.buffers[f"n{k}"].kind]
                    p[f"l{k}"][going:r] = p[f"n{k}"][o + going : o + r]
            for a, b in loop.swaps:
                p[a], p[b] = p[b], p[a]
        return p | starts

    def _run(self, body: Printed, constants: Sequence[Tensor]) -> Callable[..., None]:
        """How a body is launched on some rows."""
        kernel = getattr(self.kernels, body.name)
        own = [constants[k] for k in body.constants]
        block = power_of_two(body.columns) if body.whole else min(power_of_two(body.columns), _BLOCK)
        blocks = -(-body.columns // block)
        warps = min(power_of_two(max(block // _PER_WARP, 1)), 16)

        # no fusion: what a body computes again must equal what another has computed, or `x == x.amax()` would be false
        options = {"BLOCK": block, "num_warps": warps, "enable_fp_fusion": False}

        def run(p: Mapping[str, Tensor], r: int, at: int, old: int) -> None:
            kernel[(r, blocks)](*(p[b] for b in body.buffers), *own, at, old, **options)

        return run

    def _buffers(
        self, loop: Loop, steps: Steps, taken: Mapping[str, Tensor], device: torch.device
    ) -> dict[str, Tensor]:
        """(rows, width) of every buffer: those in `taken`, and new ones."""
        rows = {"seq": steps.total, "block": steps.total, "start": steps.batch, "turn": steps.batch}
        p = dict(taken)
        for b, buffer in loop.buffers.items():
            if b not in p and buffer.kind != "weight" and b != "x":  # input products are computed where the input lies
                p[b] = torch.empty(rows[buffer.kind], buffer.width, dtype=self.dtype, device=device)
        return p

    def _early_on(self, device: torch.device) -> Callable[..., Any]:
        """The graph of parameters alone, which was traced on a CPU, on `device`."""
        if device.type == "cpu":
            return self.early
        if device not in self._early:
            self._early[device] = self.early.on(device)
        return self._early[device]


class WholeSequence(torch.autograd.Function):
    """A whole sequence as one autograd node."""

    @staticmethod
    def forward(ctx: Any, program: GpuProgram, steps: Steps, S: int, u: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        plan = program.plan
        s, constants = rest[:S], rest[S:]
        finals, new = [f"l{k}" for k in range(S)], [f"n{k}" for k in range(S)]
        given = {"u": u} | {f"s{k}": a for k, a in enumerate(s)}
        p = program.call("forward", steps, given, constants, sorted({*finals, *new, *plan.saved, plan.emitted}))
        ctx.program, ctx.steps, ctx.S = program, steps, S
        saved = [p[b] for b in (*new, *plan.saved)]
        ctx.save_for_backward(u if plan.reads_input else None, *s, *constants, *saved)
        return p[plan.emitted], *(p[b].view_as(a) for b, a in zip(finals, s, strict=True))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad(), torch.autocast(grads[0].device.type, enabled=False):
            found = _backward(ctx, *grads)
        if not torch.is_grad_enabled():
            return None, None, None, *found
        # create_graph: the error stands where somebody goes on to differentiate
        late = torch._C._functions.DelayedError(SECOND.encode(), len(found))
        tracked: list[Any] = [None if a is None else a.detach().requires_grad_() for a in found]
        return None, None, None, *late(*tracked)


def _backward(ctx: Any, dy: Tensor, *ds: Tensor) -> list[Tensor | None]:
    """Gradients of u, of the initial states and of the constants."""
    program: GpuProgram = ctx.program
    plan, S, C = program.plan, ctx.S, len(program.plan.gradients)
    u, *rest = ctx.saved_tensors
    s, constants, saved = rest[:S], rest[S : S + C], rest[S + C :]
    given = dict(zip((*(f"n{k}" for k in range(S)), *plan.saved), saved, strict=True)) | {"y": dy}
    given |= {f"s{k}": a.contiguous() for k, a in enumerate(s)} | {f"d{k}": a for k, a in enumerate(ds)}
    if u is not None:
        given["u"] = u.contiguous()
    ends = [f"d{k}" for k in range(S)]
    made = [b for b in plan.backward.buffers if b[0] in "qa" or b == "du"]
    p = program.call("backward", ctx.steps, given, constants, [*made, *ends])
    left = Left(given | p, ctx.steps)
    du = input_gradient(plan.late, left, constants, _product) if ctx.needs_input_grad[3] else None
    last = [p[b].view_as(a) for b, a in zip(ends, s, strict=True)]
    return [du, *last, *constant_gradients(plan.gradients, left, ctx.needs_input_grad[4 + S :], _outer)]


def _outer(pieces: Sequence[tuple[Tensor, Tensor]], *, sums: bool) -> tuple[Tensor, None]:
    """The sum over pieces of leftᵀ @ right; the sum of left's rows is no by-product here."""
    (left, right), *others = pieces
    out = left.t() @ right
    for left, right in others:
        out.addmm_(left.t(), right)
    return out, None


def _columns(a: Tensor, at: Columns) -> Tensor:
    return a[:, at.column : at.column + at.width]


def _product(a: Tensor, m: Tensor, turned: bool, out: Tensor, *, add: bool = False) -> None:
    """Writes a @ m, or a @ mᵀ where it is turned, to `out`, or adds it."""
    m = m.t() if turned else m
    if add:
        torch.addmm(out, a, m, out=out)
    else:
        torch.mm(a, m, out=out)


def _load(loop: Loop, p: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Copies what is given to where a loop starts with it."""
    for b, a in given.items():
        p[b].copy_(a)
    # both start with it: a row that is not alive yet keeps it, whichever is read when it comes alive
    for b, other in loop.swaps:
        if b in given:
            p[other].copy_(given[b])
