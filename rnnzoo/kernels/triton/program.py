"""A cell's loops on a GPU: per step its bodies' kernels and torch's products, and the autograd node around them."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from rnnzoo.kernels.fused.code import Code
from rnnzoo.kernels.fused.gradients import (
    Left,
    Origin,
    Outer,
    constant_gradients,
    differentiable_once,
    input_gradient,
    matrix_of,
)
from rnnzoo.kernels.fused.loops import Body, Columns, Gemm, Loop
from rnnzoo.kernels.fused.program import Program
from rnnzoo.kernels.fused.steps import Steps
from rnnzoo.kernels.triton.graphs import Graphs, capturing, stream
from rnnzoo.kernels.triton.printer import (
    ENDS,
    Printed,
    end_of,
    module_source,
    narrow_of,
    padded,
    power_of_two,
    print_bodies,
)
from rnnzoo.kernels.triton.source import module

SECOND = "kernel 'triton' has no second derivative; set kernel='reference', which has"
Launch = Callable[[Mapping[str, Tensor], int, int, int], None]  # of r rows: buffers, r, `at`, `old`

_BLOCK = 128  # columns that a program computes, at most, where it need not see the whole row
_PER_WARP = 32  # columns that a warp computes
_PADDING = 4  # times as many rows as there are, at most, when sequences are padded


class GpuProgram:
    """The loops of a traced cell, for whatever T, B and lengths. Where a `narrow` dtype is given, rows and matrices are
    rounded to it before they are multiplied, as under autocast; all else stays as wide as the states are."""

    def __init__(self, traced: Program, narrow: torch.dtype | None = None):
        self.plan, self.early, self.dtype, self.narrow = traced.plan, traced.early, traced.dtype, narrow
        plan = traced.plan
        loops = {"forward": plan.forward, "infer": plan.infer, "backward": plan.backward.adding()}
        self.loops = loops | {f"padded_{name}": padded(loop) for name, loop in loops.items()}
        self._operands = _operands(self.loops["backward"])
        # buffers that have a narrow copy
        self.copied = {name: _operands(loop) if narrow else set() for name, loop in self.loops.items()}
        double = self.dtype == torch.float64
        self.bodies = {name: print_bodies(name, loop, double, self.copied[name]) for name, loop in self.loops.items()}
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
        if steps.packed and self._pads(steps) and not capturing(u.device):
            steps, places = steps.padded()
            places = places.to(u.device)
            rows = u.new_zeros(steps.total, u.shape[1]).index_copy(0, places, u)
            h, *last = self._scan(rows, s, constants, steps)
            return [h.index_select(0, places), *last]
        return self._scan(u, s, constants, steps)

    def _pads(self, steps: Steps) -> bool:
        """Whether sequences of different lengths are padded, so that all steps can be a graph: not where most would be
        padding, nor where a product reads a state's gradient, for it is bodies that take in those of final states."""
        states = {f"d{k}" for k in range(len(self.plan.widths))}
        return steps.time * steps.batch <= _PADDING * steps.total and not states & self._operands

    def _scan(self, u: Tensor, s: Sequence[Tensor], constants: Sequence[Tensor], steps: Steps) -> Sequence[Tensor]:
        if torch.is_grad_enabled() and any(a.requires_grad for a in (u, *s, *constants)):
            origin = u if self.plan.reads_input else Origin.apply(u)
            return WholeSequence.apply(self, steps, len(s), u, origin, *s, *constants)
        given = {"u": u} | {f"s{k}": a for k, a in enumerate(s)}
        finals = [f"l{k}" for k in range(len(s))]
        p = self.call("infer", steps, given, constants, [self.plan.emitted, *finals])
        return [p[self.plan.emitted], *(p[b].view_as(a) for b, a in zip(finals, s, strict=True))]

    def call(
        self,
        name: str,
        steps: Steps,
        given: Mapping[str, Tensor],
        constants: Sequence[Tensor],
        kept: Sequence[str],
        wanted: Sequence[bool] = (),
    ) -> dict[str, Tensor]:
        """Runs a loop from what is given; of the buffers in `kept` those that are there are the caller's afterwards.
        `wanted`: the gradients that are made after the backward's loop, of u, the initial states and the constants."""
        device = given["u"].device if "u" in given else given["y"].device
        if steps.ends is not None:
            name = f"padded_{name}"
            given = dict(given) | {ENDS: steps.ends.to(device, self.dtype)}
        loop = self.loops[name]
        given = {b: a.reshape(len(a), -1) for b, a in given.items() if b in loop.buffers}
        by_number = {k for body in self.bodies[name].values() for k in body.constants}
        constants = [
            a.contiguous() if k in by_number or a.dim() < 2 or 1 in a.shape else a for k, a in enumerate(constants)
        ]

        def allocate(taken: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return self._buffers(name, steps, taken, device)

        def launch(p: dict[str, Tensor], c: Sequence[Tensor]) -> dict[str, Tensor]:
            with rounded_products():
                p = self.launch(name, steps, p, c)
                return p | self._gradients(p, steps, c, wanted) if wanted else p

        where = torch.cuda.device(device) if device.type == "cuda" else nullcontext()
        with torch.no_grad(), where, torch.autocast(device.type, enabled=False):
            if self.graphs.can(steps, device, len(loop.parts)):
                key = name, steps.time, steps.batch, stream(device), device, precisions(), tuple(wanted)
                with self.lock:
                    found = self.graphs.replayed(
                        key, allocate, lambda p: _pairs(loop, p, given), launch, constants, kept
                    )
                if found is not None:
                    return found
            swapped = {b for pair in loop.swaps for b in pair}  # written to, so they must be copies
            p = allocate({b: a.contiguous() for b, a in given.items() if b not in swapped})
            for to, a in _pairs(loop, p, {b: a for b, a in given.items() if b in swapped}):
                to.copy_(a)
            return launch(p, constants)

    def _gradients(
        self, p: dict[str, Tensor], steps: Steps, constants: Sequence[Tensor], wanted: Sequence[bool]
    ) -> dict[str, Tensor]:
        """What is made of what the backward's loop leaves: du, and the constants' gradients by number."""
        left = Left(p, steps)
        made = {}
        if wanted[0]:
            made["du"] = input_gradient(self.plan.late, left, constants, self.product)
        needed = wanted[1 + len(self.plan.widths) :]
        found = constant_gradients(self.plan.gradients, constants, left, needed, self.outer)
        return made | {f"g{k}": a for k, a in enumerate(found) if a is not None}

    def launch(self, name: str, steps: Steps, p: dict[str, Tensor], constants: Sequence[Tensor]) -> dict[str, Tensor]:
        """The loop over time on buffers; as the buffers are called after it."""
        plan, T = self.plan, steps.time
        loop, bodies, copied = self.loops[name], self.bodies[name], self.copied[name]
        alive, rows = steps.alive.tolist(), steps.rows.tolist()
        p = dict(p)
        written = {s.buffer for part in loop.parts if isinstance(part, Body) for s in part.stores}
        for b in copied:
            if b not in written or loop.buffers[b].kind == "turn":  # it is there before the loop
                p[narrow_of(b)].copy_(p[b])
        starts = {b: p[b] for b, buffer in loop.buffers.items() if buffer.kind == "start"}
        pasts = {b: p["n" + b[1:]] for b in starts}  # after the first step the states before lie there
        starts |= {narrow_of(b): p[narrow_of(b)] for b in starts if b in copied}
        pasts |= {narrow_of(b): p[narrow_of("n" + b[1:])] for b in pasts if b in copied}
        swaps = [*loop.swaps, *((narrow_of(a), narrow_of(b)) for a, b in loop.swaps if a in copied)]
        back = name.endswith("backward")
        # the gradients of padded sequences' states begin where each ends
        zeros = {b for pair in loop.swaps for b in pair} if back and ENDS in loop.buffers else set()
        for b in loop.buffers:
            if b in plan.accumulated or b in zeros:
                p[b].zero_()
        for gemm in loop.ahead:
            self._product(loop, gemm, constants)(p, steps.total, 0, 0)
        runs = [
            self._product(loop, part, constants) if isinstance(part, Gemm) else self._body(bodies[k], constants)
            for k, part in enumerate(loop.parts)
            if isinstance(part, Gemm) or k in bodies
        ]
        for t in range(T - 1, -1, -1) if back else range(T):
            r, at, old = alive[t], rows[t], rows[t - 1] if t else 0
            p |= pasts if t else starts
            for run in runs:
                run(p, r, at, old)
            going = alive[t + 1] if t + 1 < T else 0
            if not back and going < r and ENDS not in loop.buffers:  # rows that end here leave their states behind
                for k in range(len(plan.widths)):
                    o = at if loop.buffers[f"n{k}"].kind == "seq" else 0
                    p[f"l{k}"][going:r] = p[f"n{k}"][o + going : o + r]
            for a, b in swaps:
                p[a], p[b] = p[b], p[a]
        return p | starts

    def _product(self, loop: Loop, gemm: Gemm, constants: Sequence[Tensor]) -> Launch:
        """How a product is launched."""
        operand, into = gemm.operand, gemm.into or Columns(gemm.product.name, 0, gemm.product.length)
        source = narrow_of(operand.buffer) if self.narrow else operand.buffer
        kinds = loop.buffers[operand.buffer].kind, loop.buffers[into.buffer].kind
        m = matrix_of(gemm.product, constants)
        m = self.narrowed(m.t() if gemm.product.turned else m)

        def run(p: Mapping[str, Tensor], r: int, at: int, old: int) -> None:
            first = {"seq": at, "block": at, "start": old, "turn": 0}
            i, o = (first[kind] for kind in kinds)
            multiply(_columns(p[source][i : i + r], operand), m, _columns(p[into.buffer][o : o + r], into), gemm.add)

        return run

    def product(self, a: Tensor, m: Tensor, turned: bool, out: Tensor, *, add: bool = False) -> None:
        """Writes a @ m, or a @ mᵀ where it is turned, to `out`, or adds it."""
        multiply(self.narrowed(a), self.narrowed(m.t() if turned else m), out, add)

    def outer(self, pieces: Sequence[tuple[Tensor, Tensor]], sums: tuple[bool, bool]) -> Outer:
        """The sum over pieces of leftᵀ @ right; sums of rows are no by-product here."""
        out = pieces[0][0].new_empty(pieces[0][0].shape[1], pieces[0][1].shape[1])
        for k, (left, right) in enumerate(pieces):
            multiply(self.narrowed(left).t(), self.narrowed(right), out, k > 0)
        return out, (None, None)

    def narrowed(self, a: Tensor) -> Tensor:
        """What is multiplied in place of `a`."""
        return a if self.narrow is None else a.to(self.narrow)

    def _body(self, body: Printed, constants: Sequence[Tensor]) -> Launch:
        """How a body is launched."""
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

    def _buffers(self, name: str, steps: Steps, taken: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
        """(rows, width) of every buffer and its copy: those in `taken`, and new ones."""
        rows = {"seq": steps.total, "block": steps.total, "start": steps.batch, "turn": steps.batch}
        p = dict(taken)
        for b, buffer in self.loops[name].buffers.items():
            if buffer.kind == "weight" or b == "x":  # input products are computed where the input lies
                continue
            room = partial(torch.empty, rows[buffer.kind], buffer.width, device=device)
            if b not in p:
                p[b] = room(dtype=self.dtype)
            if b in self.copied[name]:
                p[narrow_of(b)] = room(dtype=self.narrow)
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
    def forward(
        ctx: Any, program: GpuProgram, steps: Steps, S: int, u: Tensor, origin: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        plan = program.plan
        s, constants = rest[:S], rest[S:]
        finals, new = [f"l{k}" for k in range(S)], [f"n{k}" for k in range(S)]
        given = {"u": u} | {f"s{k}": a for k, a in enumerate(s)}
        p = program.call("forward", steps, given, constants, sorted({*finals, *new, *plan.saved, plan.emitted}))
        ctx.program, ctx.steps, ctx.S = program, steps, S
        saved = [p[b] for b in (*new, *plan.saved)]
        ctx.save_for_backward(origin, *s, *constants, *saved)
        return p[plan.emitted], *(p[b].view_as(a) for b, a in zip(finals, s, strict=True))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad(), torch.autocast(grads[0].device.type, enabled=False):
            found = _backward(ctx, *grads)
        if torch.is_grad_enabled():  # create_graph
            found = differentiable_once(SECOND, found, (*grads, *ctx.saved_tensors))
        return None, None, None, found[0], None, *found[1:]


def _backward(ctx: Any, dy: Tensor, *ds: Tensor) -> list[Tensor | None]:
    """Gradients of u, of the initial states and of the constants."""
    program: GpuProgram = ctx.program
    plan, S, C = program.plan, ctx.S, len(program.plan.gradients)
    origin, *rest = ctx.saved_tensors
    s, constants, saved = rest[:S], rest[S : S + C], rest[S + C :]
    given = dict(zip((*(f"n{k}" for k in range(S)), *plan.saved), saved, strict=True)) | {"y": dy}
    finals = [f"d{k}" if ctx.steps.ends is None else end_of(f"d{k}") for k in range(S)]
    given |= {f"s{k}": a.contiguous() for k, a in enumerate(s)} | dict(zip(finals, ds, strict=True))
    if plan.reads_input:
        given["u"] = origin.contiguous()
    ends, made = [f"d{k}" for k in range(S)], [f"g{k}" for k in range(C)]
    wanted = [ctx.needs_input_grad[3], *ctx.needs_input_grad[5:]]
    p = program.call("backward", ctx.steps, given, constants, ["du", *ends, *made], wanted)
    return [p["du"] if wanted[0] else None, *(p[b].view_as(a) for b, a in zip(ends, s, strict=True)), *map(p.get, made)]


def _columns(a: Tensor, at: Columns) -> Tensor:
    return a[:, at.column : at.column + at.width]


def _operands(loop: Loop) -> set[str]:
    """The buffers that products read, and those that become them."""
    found = {part.operand.buffer for part in [*loop.ahead, *loop.parts] if isinstance(part, Gemm)}
    found |= {"n" + b[1:] for b in found if loop.buffers[b].kind == "start"}
    return found | {b for pair in loop.swaps if found & set(pair) for b in pair}


def multiply(a: Tensor, m: Tensor, out: Tensor, add: bool) -> None:
    """Writes a @ m to `out`, or adds it, in the dtype of `out`, whatever that of a and m."""
    if a.dtype == out.dtype or not a.is_cuda:  # on a CPU torch gives no wider result than its operands are
        a, m = a.to(out.dtype), m.to(out.dtype)
        torch.addmm(out, a, m, out=out) if add else torch.mm(a, m, out=out)
    elif add:
        torch.addmm(out, a, m, out_dtype=out.dtype, out=out)
    else:
        torch.mm(a, m, out_dtype=out.dtype, out=out)


def precisions() -> tuple[str, str]:
    """torch's settings of how float32 is multiplied, in recurrent layers and elsewhere."""
    layers: str = torch.backends.cudnn.rnn.fp32_precision  # type: ignore[attr-defined]  # made when torch is imported
    return layers, torch.backends.cuda.matmul.fp32_precision


@contextmanager
def rounded_products() -> Iterator[None]:
    """Products in TF32 where torch has it for recurrent layers, which is its default: cuDNN's layers go by that too."""
    layers, before = precisions()
    if layers == "tf32":
        torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        yield
    finally:
        if layers == "tf32":
            torch.backends.cuda.matmul.fp32_precision = before


def _pairs(loop: Loop, p: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """What is given, and before it where a loop starts with it."""
    pairs = [(p[b], a) for b, a in given.items()]
    # both start with it: a row that is not alive yet keeps it, whichever is read when it comes alive
    return pairs + [(p[other], given[b]) for b, other in loop.swaps if b in given]
