"""A cell's compiled loops: how they are called on sequences, and the autograd node around them."""

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from rnnzoo.cells.contract import Cell
from rnnzoo.kernels.fused.build import library
from rnnzoo.kernels.fused.c_printer import print_c
from rnnzoo.kernels.fused.plan import Columns, Gradient, Loop, Plan
from rnnzoo.kernels.fused.products import Products, Weight
from rnnzoo.kernels.fused.trace import Shapes, trace
from rnnzoo.kernels.layout import Layout, Packed

SECOND = "kernel 'fused' has no second derivative; set kernel='reference', which has"
_BLOCK = 24  # rows whose input products are computed at once, at least: fewer leave the processor waiting for memory


@dataclass(frozen=True)
class Steps:
    """Where the rows of a batch lie: at step t, `alive`[t] of them behind `rows`[t] earlier ones; N in all."""

    time: int
    batch: int
    total: int
    alive: Tensor
    rows: Tensor
    packed: bool

    def bounds(self, threads: int) -> list[int]:
        """The rows that each thread owns, with even work: `threads` + 1 borders."""
        if not self.packed:
            return [self.batch * k // threads for k in range(threads + 1)]
        if threads == 1:
            return [0, self.batch]
        work = (self.alive[:, None] > torch.arange(self.batch)).sum(0).cumsum(0)  # steps of this row and those before
        wanted = torch.tensor([self.total * k // threads for k in range(1, threads)], dtype=torch.int64)
        return [0, *torch.searchsorted(work, wanted).tolist(), self.batch]

    @cached_property
    def old(self) -> Tensor:
        """(N,): where the state before each row of each step lies, among B initial rows and N new ones."""
        t = torch.repeat_interleave(torch.arange(self.time), self.alive)
        b = torch.arange(self.total) - self.rows[t]
        return torch.where(t == 0, b, self.batch + self.rows[(t - 1).clamp(min=0)] + b)


def steps_of(layout: Layout) -> Steps:
    """The steps of a layout."""
    if isinstance(layout, Packed):
        alive = layout.packed.batch_sizes.contiguous()
        ends = alive.cumsum(0)
        return Steps(layout.time, layout.batch, int(ends[-1]), alive, ends - alive, True)
    return _dense_steps(layout.time, layout.batch)


@lru_cache(maxsize=64)
def _dense_steps(T: int, B: int) -> Steps:
    with torch.inference_mode(False):
        return Steps(T, B, T * B, torch.full((T,), B), torch.arange(T) * B, False)


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

    old: dict[str, Tensor] = {}

    def rows(at: Columns) -> Tensor:
        """Columns of a buffer, (N, n), or (B, n) of one that has added the steps up; of the states, those before each
        step."""
        a = tensors[at.buffer]
        if at.buffer[0] == "s":
            if at.buffer not in old:
                a = a.view(B + steps.total, -1)
                old[at.buffer] = a.index_select(0, steps.old) if steps.packed else a[: steps.total]
            a = old[at.buffer]
        elif at.buffer[0] == "a":
            a = a.view(B, -1)
        else:
            a = a.view(steps.total, -1)
        return a[:, at.column : at.column + at.width]

    wanted = ctx.needs_input_grad[4 + S :]
    summed = {at for g, need in zip(plan.gradients, wanted, strict=True) if need for at in g.rows}
    sums: dict[Columns, Tensor] = {}
    products: dict[tuple[Columns, Columns], Tensor] = {}
    for gradient, need in zip(plan.gradients, wanted, strict=True):
        for pair in gradient.outer if need else ():
            if pair not in products:
                left, right = map(rows, pair)
                products[pair], total = program.products.outer(left, right, pair[0] in summed)
                if total is not None:
                    sums[pair[0]] = total

    def summed_rows(at: Columns, shape: tuple[int, ...]) -> Tensor:
        if at not in sums:
            sums[at] = rows(at).sum(0)
        return sums[at] if at.width == math.prod(shape) else sums[at].sum()

    def made(gradient: Gradient) -> Tensor | None:
        terms = [products[pair] for pair in gradient.outer]
        terms += [summed_rows(at, gradient.shape) for at in gradient.rows]
        if not terms:
            return None
        total = sum(terms[1:], terms[0])
        return (total.t() if gradient.transposed else total).reshape(gradient.shape)

    du: Tensor | None = None
    if ctx.needs_input_grad[3]:
        du = tensors["du"].view(steps.total, -1)
        for late in plan.late:
            for k, gemm in enumerate(late.gemms):
                p = gemm.product
                into = du[:, late.column : late.column + p.length]
                program.products.all_rows(rows(gemm.operand), constants[p.constant], p.transposed, into, add=k > 0)
    last = [tensors[f"{'do'[T % 2]}{k}"].view(shape) for k, shape in enumerate(ctx.shapes)]
    d_constants = [made(g) if need else None for g, need in zip(plan.gradients, wanted, strict=True)]
    return [du, *last, *d_constants]


def _states(initial: Tensor, steps: Steps) -> Tensor:
    """(B + N, n): the initial state, and room for the state after every step."""
    n = initial.shape[1] if initial.dim() == 2 else 1
    states = torch.empty(steps.batch + steps.total, n, dtype=initial.dtype)
    states[: steps.batch] = initial.view(-1, n) if initial.is_contiguous() else initial.reshape(-1, n)
    return states


def _addresses(tensors: Sequence[Tensor | None]) -> Any:
    return (ctypes.c_void_p * max(len(tensors), 1))(*(None if a is None else a.data_ptr() for a in tensors))
