"""A cell's compiled loops: how they are called on sequences, and the autograd node around them."""

import ctypes
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from rnnzoo.cells.contract import Cell
from rnnzoo.kernels.fused.build import library
from rnnzoo.kernels.fused.c_printer import print_c
from rnnzoo.kernels.fused.gradients import Left, constant_gradients
from rnnzoo.kernels.fused.plan import Loop, Plan
from rnnzoo.kernels.fused.products import Products, Weight
from rnnzoo.kernels.fused.steps import Steps
from rnnzoo.kernels.fused.trace import Shapes, trace

SECOND = "kernel 'fused' has no second derivative; set kernel='reference', which has"
_BLOCK = 24  # rows whose input products are computed at once, at least: fewer leave the processor waiting for memory


class Program:
    """The loops of one cell with its sizes and constants, in one dtype, for whatever T, B and lengths."""

    def __init__(self, cell: Cell, shapes: Shapes):
        self.dtype = shapes.dtype
        traced = trace(cell, shapes)
        self.names, self.early = traced.names, traced.early
        self.plan = Plan(traced, shapes)

    @cached_property
    def compiled(self) -> ctypes.CDLL:
        """The library; compiled at the first use, not before."""
        lib = library(print_c(self.plan, self.dtype == torch.float64))
        self.products.connect(lib)
        return lib

    @cached_property
    def products(self) -> Products:
        """The products of this dtype."""
        return Products.of(self.dtype)

    def scan(self, cell: Cell, u: Tensor, s: Sequence[Tensor], steps: Steps) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What is emitted (N, ...), and the final states, from u (N, P) and the initial states (B, n)."""
        own = {**dict(cell.named_parameters()), **dict(cell.named_buffers())}
        constants = self.early(*(own[n] for n in self.names))
        inputs = (u, *s, *constants)
        if torch.is_grad_enabled() and any(a.requires_grad for a in inputs):
            h, *last = WholeSequence.apply(self, steps, len(s), *inputs)
        else:
            h, *last = self.infer(u, s, constants, steps)
        return h.view(steps.total, *self.plan.emitted_shape), tuple(last)

    def infer(self, u: Tensor, s: Sequence[Tensor], constants: Sequence[Tensor], steps: Steps) -> list[Tensor]:
        """What is emitted and the final states; of what is in between, two steps."""
        plan, B = self.plan, steps.batch
        tensors = {"u": u.contiguous()}
        for k, a in enumerate(s):
            if plan.emitted == f"n{k}":
                tensors[f"s{k}"] = tensors[f"n{k}"] = _states(a, steps)
            else:
                tensors[f"s{k}"] = a.contiguous().clone()
        self.call("infer", plan.infer, steps, tensors, constants)
        h = tensors[plan.emitted][B:] if plan.emitted != "h" else tensors["h"]
        return [h, *(tensors[f"l{k}"].view_as(a) for k, a in enumerate(s))]

    def call(
        self, name: str, loop: Loop, steps: Steps, tensors: dict[str, Tensor], constants: Sequence[Tensor]
    ) -> None:
        """Runs a loop on `tensors`, to which it adds the buffers that they lack."""
        lib, B = self.compiled, steps.batch
        threads = max(1, min(torch.get_num_threads(), B // 4))
        bounds = steps.bounds(threads)
        fewest = min((b - a for a, b in pairwise(bounds) if b > a), default=1)
        block = 1 if 2 * fewest >= _BLOCK else min(-(-_BLOCK // fewest), steps.time)
        rows = {"seq": steps.total, "old": B + steps.total, "new": B + steps.total, "turn": B, "block": block * B}
        for b, buffer in loop.buffers.items():
            if buffer.kind != "weight" and b not in tensors:
                tensors[b] = torch.empty(rows[buffer.kind] * buffer.width, dtype=self.dtype)
        plain = [a.contiguous() for a in constants]
        names = [b for b, buffer in loop.buffers.items() if buffer.kind == "weight"]
        weights, _alive = (Weight * len(names))(), []
        for k, w in enumerate(names):
            weights[k], held = self.products.weight(constants[int(w[1:-1])], w[-1] == "t")
            _alive.append(held)
        getattr(lib, name)(
            ctypes.c_long(steps.time),
            ctypes.c_long(B),
            ctypes.c_long(threads),
            ctypes.c_long(block),
            (ctypes.c_long * len(bounds))(*bounds),
            ctypes.c_void_p(steps.alive.data_ptr()),
            ctypes.c_void_p(steps.rows.data_ptr()),
            _addresses([tensors.get(b) for b in self.plan.order]),
            _addresses(plain),
            weights,
            ctypes.c_long(len(weights)),
        )


class WholeSequence(torch.autograd.Function):
    """A whole sequence as one autograd node."""

    @staticmethod
    def forward(ctx: Any, program: Program, steps: Steps, S: int, u: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        plan, B, u = program.plan, steps.batch, u.contiguous()
        s, constants = rest[:S], rest[S:]
        states = [_states(a, steps) for a in s]
        tensors = {"u": u} | {f"{c}{k}": a for k, a in enumerate(states) for c in "sn"}
        program.call("forward", plan.forward, steps, tensors, constants)
        ctx.program, ctx.steps, ctx.S = program, steps, S
        saved = [tensors[b] for b in plan.saved]
        ctx.save_for_backward(u if plan.reads_input else None, *states, *constants, *saved)
        ctx.shapes = [a.shape for a in s]
        h = tensors[plan.emitted][B:] if plan.emitted != "h" else tensors["h"]
        return h.view(steps.total, plan.output_width), *(tensors[f"l{k}"].view_as(a) for k, a in enumerate(s))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            found = _backward(ctx, *grads)
        if not torch.is_grad_enabled():
            return None, None, None, *found
        # create_graph: the error stands where somebody goes on to differentiate
        late = torch._C._functions.DelayedError(SECOND.encode(), len(found))
        tracked: list[Any] = [None if a is None else a.detach().requires_grad_() for a in found]
        return None, None, None, *late(*tracked)


def _backward(ctx: Any, dy: Tensor, *ds: Tensor) -> list[Tensor | None]:
    """Gradients of u, of the initial states and of the constants."""
    program: Program = ctx.program
    steps: Steps = ctx.steps
    plan, S, T, B = program.plan, ctx.S, steps.time, steps.batch
    u, *rest = ctx.saved_tensors
    C = len(plan.gradients)
    states, constants, saved = rest[:S], rest[S : S + C], rest[S + C :]
    tensors = {"y": dy.contiguous()} | {f"{c}{k}": a for k, a in enumerate(states) for c in "sn"}
    tensors |= dict(zip(plan.saved, saved, strict=True))
    if u is not None:
        tensors["u"] = u
    # both buffers start with it: a row that is not alive yet keeps it, whichever is read when it comes alive
    tensors |= {f"{c}{k}": a.contiguous().clone() for k, a in enumerate(ds) for c in "do"}
    widths = {b: plan.backward.buffers[b].width for b in plan.accumulated}
    tensors |= {b: torch.zeros(B * n, dtype=program.dtype) for b, n in widths.items()}
    program.call("backward", plan.backward, steps, tensors, constants)

    left = Left(tensors, steps)
    du: Tensor | None = None
    if ctx.needs_input_grad[3]:
        du = tensors["du"].view(steps.total, -1)
        for late in plan.late:
            for k, gemm in enumerate(late.gemms):
                p = gemm.product
                into = du[:, late.column : late.column + p.length]
                program.products.all_rows(left.rows(gemm.operand), constants[p.constant], p.transposed, into, add=k > 0)
    last = [tensors[f"{'do'[T % 2]}{k}"].view(shape) for k, shape in enumerate(ctx.shapes)]
    wanted = ctx.needs_input_grad[4 + S :]
    d_constants = constant_gradients(plan.gradients, left, wanted, program.products.outer)
    return [du, *last, *d_constants]


def _states(initial: Tensor, steps: Steps) -> Tensor:
    """(B + N, n): the initial state, and room for the state after every step."""
    n = initial.shape[1] if initial.dim() == 2 else 1
    states = torch.empty(steps.batch + steps.total, n, dtype=initial.dtype)
    states[: steps.batch] = initial.view(-1, n) if initial.is_contiguous() else initial.reshape(-1, n)
    return states


def _addresses(tensors: Sequence[Tensor | None]) -> Any:
    return (ctypes.c_void_p * max(len(tensors), 1))(*(None if a is None else a.data_ptr() for a in tensors))
