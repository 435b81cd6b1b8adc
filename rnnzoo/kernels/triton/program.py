"""A cell's loops on a GPU: per step its bodies' kernels and torch's products, and the autograd node around them."""

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx

from rnnzoo.cells.contract import Cell
from rnnzoo.kernels.fused.gradients import Left, constant_gradients
from rnnzoo.kernels.fused.lowering import Product
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
        self.plan, self.names, self.early, self.dtype = traced.plan, traced.names, traced.early, traced.dtype
        self.bodies = print_bodies(self.plan, self.dtype == torch.float64)
        self.graphs = Graphs()
        self.lock = threading.RLock()
        self._early: dict[torch.device, fx.GraphModule] = {}

    @cached_property
    def kernels(self) -> Any:
        """The module of the bodies' kernels; written and imported at the first use."""
        return module(module_source(self.bodies))

    def scan(self, cell: Cell, u: Tensor, s: Sequence[Tensor], steps: Steps) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What is emitted (N, ...), and the final states, from u (N, P) and the initial states (B, n)."""
        own = {**dict(cell.named_parameters()), **dict(cell.named_buffers())}
        constants = self._early_on(u.device)(*(own[n] for n in self.names))
        inputs = (u, *s, *constants)
        if torch.is_grad_enabled() and any(a.requires_grad for a in inputs):
            h, *last = WholeSequence.apply(self, steps, len(s), *inputs)
        else:
            emitted = self.plan.emitted
            finals = [f"l{k}" for k in range(len(s))]
            given = {"u": u} | {f"s{k}": a for k, a in enumerate(s)}
            p = self.call("infer", steps, given, constants, [emitted, *finals])
            h, last = self.emitted(p, steps), [p[b].view_as(a) for b, a in zip(finals, s, strict=True)]
        return h.view(steps.total, *self.plan.emitted_shape), tuple(last)

    def emitted(self, p: Mapping[str, Tensor], steps: Steps) -> Tensor:
        """(N, n): what the steps have emitted."""
        h = p[self.plan.emitted]
        return h[steps.batch :] if self.plan.emitted != "h" else h

    def call(
        self, name: str, steps: Steps, given: Mapping[str, Tensor], constants: Sequence[Tensor], kept: Sequence[str]
    ) -> dict[str, Tensor]:
        """Runs a loop from what is given; the buffers in `kept` are the caller's afterwards."""
        loop: Loop = getattr(self.plan, name)
        device = given["u"].device if "u" in given else given["y"].device
        given = {b: a.reshape(len(a), -1) for b, a in given.items() if b in loop.buffers}
        constants = [a.contiguous() if a.dim() < 2 or 1 in a.shape else a for a in constants]

        def allocate(taken: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return self._buffers(loop, steps, taken, device)

        def load(p: Mapping[str, Tensor]) -> None:
            _load(loop, p, given)

        def launch(p: dict[str, Tensor], c: Sequence[Tensor]) -> dict[str, Tensor]:
            return self.launch(name, loop, steps, p, c)

        where = torch.cuda.device(device) if device.type == "cuda" else nullcontext()
        with torch.no_grad(), where, torch.autocast(device.type, enabled=False):
            if self.graphs.can(steps, device, len(loop.parts)):
                key = name, steps.time, steps.batch, stream(device), device, torch.get_float32_matmul_precision()
                with self.lock:
                    found = self.graphs.replayed(key, allocate, load, launch, constants, kept)
                if found is not None:
                    return found
            swapped = {b for pair in loop.swaps for b in pair}
            p = allocate({b: a for b, a in given.items() if b not in swapped})
            load(p)
            return launch(p, constants)

    def launch(
        self, name: str, loop: Loop, steps: Steps, p: dict[str, Tensor], constants: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """The loop over time on buffers; as the buffers are called after it."""
        plan, T, B = self.plan, steps.time, steps.batch
        alive, rows = steps.alive.tolist(), steps.rows.tolist()
        p = dict(p)
        for b in loop.buffers:
            if b in plan.accumulated:
                p[b].zero_()
        for gemm in loop.ahead:
            _product(_columns(p[gemm.operand.buffer], gemm.operand), gemm.product, constants, p[gemm.product.name])
        runs = [None if b is None else self._run(b, constants) for b in self.bodies[name]]
        for t in range(T - 1, -1, -1) if name == "backward" else range(T):
            r, at = alive[t], rows[t]
            old, new = B + rows[t - 1] if t else 0, B + at
            first = {"seq": at, "block": at, "old": old, "new": new, "turn": 0}
            for part, run in zip(loop.parts, runs, strict=True):
                if isinstance(part, Body):
                    if run is not None:
                        run(p, r, at, old, new)
                    continue
                operand, out = part.operand, part.product.name
                i, o = (first[loop.buffers[b].kind] for b in (operand.buffer, out))
                _product(_columns(p[operand.buffer][i : i + r], operand), part.product, constants, p[out][o : o + r])
            going = alive[t + 1] if t + 1 < T else 0
            if name != "backward" and going < r:  # rows that end here leave their states behind
                for k in range(len(plan.widths)):
                    o = first[loop.buffers[f"n{k}"].kind]
                    p[f"l{k}"][going:r] = p[f"n{k}"][o + going : o + r]
            for a, b in loop.swaps:
                p[a], p[b] = p[b], p[a]
        return p

    def _run(self, body: Printed, constants: Sequence[Tensor]) -> Callable[..., None]:
        """How a body is launched on some rows."""
        kernel = getattr(self.kernels, body.name)
        own = [constants[k] for k in body.constants]
        block = power_of_two(body.columns) if body.whole else min(power_of_two(body.columns), _BLOCK)
        blocks = -(-body.columns // block)
        warps = min(power_of_two(max(block // _PER_WARP, 1)), 16)

        def run(p: Mapping[str, Tensor], r: int, at: int, old: int, new: int) -> None:
            kernel[(r, blocks)](*(p[b] for b in body.buffers), *own, at, old, new, BLOCK=block, num_warps=warps)

        return run

    def _buffers(
        self, loop: Loop, steps: Steps, taken: Mapping[str, Tensor], device: torch.device
    ) -> dict[str, Tensor]:
        """(rows, width) of every buffer: of `taken` where it has the rows, else new."""
        B, N = steps.batch, steps.total
        rows = {"seq": N, "block": N, "old": B + N, "new": B + N, "turn": B}
        p: dict[str, Tensor] = {}
        for b, buffer in loop.buffers.items():
            if buffer.kind == "weight" or b == "x":  # input products are computed where the input lies
                continue
            if b in taken and len(taken[b]) == rows[buffer.kind]:
                p[b] = taken[b].contiguous()
            elif buffer.kind == "new" and (s := "s" + b[1:]) in p:
                p[b] = p[s]  # one memory
            else:
                p[b] = torch.empty(rows[buffer.kind], buffer.width, dtype=self.dtype, device=device)
        return p

    def _early_on(self, device: torch.device) -> Callable[..., Any]:
        """The graph of parameters alone, which was traced on a CPU, on `device`."""
        if device.type == "cpu":
            return self.early
        if device not in self._early:
            moved = copy.deepcopy(self.early)
            for node in moved.graph.nodes:
                node.args = fx.node.map_aggregate(node.args, lambda a: device if isinstance(a, torch.device) else a)
                node.kwargs = fx.node.map_aggregate(node.kwargs, lambda a: device if isinstance(a, torch.device) else a)
            moved.recompile()
            self._early[device] = moved.to(device)
        return self._early[device]


class WholeSequence(torch.autograd.Function):
    """A whole sequence as one autograd node."""

    @staticmethod
    def forward(ctx: Any, program: GpuProgram, steps: Steps, S: int, u: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        plan = program.plan
        s, constants = rest[:S], rest[S:]
        finals, states = [f"l{k}" for k in range(S)], [f"s{k}" for k in range(S)]
        given = {"u": u} | dict(zip(states, s, strict=True))
        kept = {*finals, *states, *plan.saved, plan.emitted}
        p = program.call("forward", steps, given, constants, sorted(kept))
        ctx.program, ctx.steps, ctx.S = program, steps, S
        ctx.shapes = [a.shape for a in s]
        saved = [p[b] for b in (*states, *plan.saved)]
        ctx.save_for_backward(u if plan.reads_input else None, *constants, *saved)
        return program.emitted(p, steps), *(p[b].view_as(a) for b, a in zip(finals, s, strict=True))

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
    steps: Steps = ctx.steps
    plan, S = program.plan, ctx.S
    u, *rest = ctx.saved_tensors
    C = len(plan.gradients)
    constants, saved = rest[:C], dict(zip((*(f"s{k}" for k in range(S)), *plan.saved), rest[C:], strict=True))
    given = {"y": dy} | saved | {f"d{k}": a for k, a in enumerate(ds)}
    if u is not None:
        given["u"] = u
    ends = [f"d{k}" for k in range(S)]
    made = [b for b in plan.backward.buffers if b[0] in "qa" or b == "du"]
    p = program.call("backward", steps, given, constants, [*made, *ends])
    left = Left({**given, **p}, steps)
    du: Tensor | None = None
    if ctx.needs_input_grad[3]:
        du = p["du"]
        for late in plan.late:
            for k, gemm in enumerate(late.gemms):
                into = du[:, late.column : late.column + gemm.product.length]
                _product(left.rows(gemm.operand), gemm.product, constants, into, add=k > 0)
    last = [p[b].view(shape) for b, shape in zip(ends, ctx.shapes, strict=True)]
    return [du, *last, *constant_gradients(plan.gradients, left, ctx.needs_input_grad[4 + S :], _outer)]


def _outer(left: Tensor, right: Tensor, sums: bool) -> tuple[Tensor, Tensor | None]:
    return left.t() @ right, left.sum(0) if sums else None


def _columns(a: Tensor, at: Columns) -> Tensor:
    return a[:, at.column : at.column + at.width]


def _product(a: Tensor, product: Product, constants: Sequence[Tensor], out: Tensor, add: bool = False) -> None:
    """Writes rows @ parameter to `out`, or adds it."""
    m = constants[product.constant]
    m = m.t() if product.transposed else m
    if add:
        torch.addmm(out, a, m, out=out)
    else:
        torch.mm(a, m, out=out)


def _load(loop: Loop, p: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Copies what is given to where a loop starts with it, unless it lies there."""
    for b, a in given.items():
        if p[b].data_ptr() != a.data_ptr():
            p[b][: len(a)] = a
    # both start with it: a row that is not alive yet keeps it, whichever is read when it comes alive
    for b, other in loop.swaps:
        if b in given:
            p[other].copy_(given[b])
