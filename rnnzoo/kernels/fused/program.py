"""A cell's compiled loops: how they are called on sequences, forward and backward."""

import copy
import ctypes
import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from rnnzoo.cells.contract import Cell
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels.fused.build import compile_together, library
from rnnzoo.kernels.fused.c_printer import print_c
from rnnzoo.kernels.fused.gradients import Left, constant_gradients, input_gradient, matrix_of
from rnnzoo.kernels.fused.kept import Made, made_once
from rnnzoo.kernels.fused.loops import Loop
from rnnzoo.kernels.fused.memory import BLOCKS
from rnnzoo.kernels.fused.plan import Plan
from rnnzoo.kernels.fused.products import Products, Weight
from rnnzoo.kernels.fused.steps import Steps
from rnnzoo.kernels.fused.trace import Shapes, trace

_BLOCK = 24  # rows whose input products are computed at once, at least: fewer leave the processor waiting for memory


# what a loop computes again must equal what another has computed, or `x == x.amax()` would be false
_FLAGS = ("-ffp-contract=off",)

_SHARED = 60_000  # elements of a matrix: to wait for each other costs more than half of a smaller one's product
_TEAM = 8


class Program:
    """The loops of one cell with its sizes and constants, in one dtype, for whatever T, B and lengths.

    `key` names it in the operations of torch.library, in every process alike.
    """

    def __init__(self, cell: Cell, shapes: Shapes):
        self.dtype, self.fields = shapes.dtype, shapes.fields
        made = made_once(cell, shapes, _made)
        self.names, self.early, self.plan, self.source = made.names, made.early, made.plan, made.source
        self.emits_pairs, self.complex_fields = made.emits_pairs, shapes.complex_fields
        plan = self.plan
        # what is made of parameters alone is not in C
        early = self.names, self.early.source, [(n, a.tolist()) for n, a in self.early.named_buffers()]
        told = (self.source, shapes.fields, plan.emitted_shape, plan.gradients, plan.late, early)
        self.key = f"{type(cell).__name__}-{hashlib.sha256(repr(told).encode()).hexdigest()[:24]}"

    @cached_property
    def compiled(self) -> ctypes.CDLL:
        """The library; compiled at the first use, not before."""
        return library(self.source.head + self.source.own, *_FLAGS)

    @cached_property
    def products(self) -> Products:
        """The products of this dtype."""
        return Products.of(self.dtype)

    def narrowed(self, key: str) -> "Program":
        """The same loops, with rows and matrices rounded to bfloat16 before they are multiplied."""
        found = copy.copy(self)
        found.key, found.products = key, Products.of(self.dtype, narrow=True)
        return found

    def check(self, u: Tensor, s: Sequence[Tensor], steps: Steps) -> None:
        """Raises RnnZooError for tensors that C would read beyond their ends, or as other numbers than they are."""
        wanted = [(steps.rows_in_all, self.plan.input_width), *((steps.batch, *shape) for shape in self.fields)]
        for name, a, shape in zip(("u", *(f"state {k}" for k in range(len(s)))), (u, *s), wanted, strict=True):
            if tuple(a.shape) != shape or a.dtype != self.dtype:
                raise RnnZooError(
                    f"kernel 'fused' was made for {name} of shape {shape} in {self.dtype}, and got {tuple(a.shape)}"
                    f" in {a.dtype}"
                )

    def infer(self, u: Tensor, s: Sequence[Tensor], constants: Sequence[Tensor], steps: Steps) -> list[Tensor]:
        """What is emitted (N, n) and the final states, from u (N, P) and the initial states; in between, two steps."""
        plan = self.plan
        tensors = {"u": u.contiguous()}
        for k, a in enumerate(s):
            # a state that only the next step reads changes places with it, so it must be a copy
            tensors[f"s{k}"] = a.contiguous() if plan.emitted == f"n{k}" else _copy(a)
        self.call("infer", plan.infer, steps, tensors, constants)
        return self._results(tensors, steps)

    def forward(self, u: Tensor, s: Sequence[Tensor], constants: Sequence[Tensor], steps: Steps) -> list[Tensor]:
        """What is emitted, the final states, and what the backward reads: further states, and what is kept."""
        plan = self.plan
        tensors = {"u": u.contiguous()} | {f"s{k}": a.contiguous() for k, a in enumerate(s)}
        self.call("forward", plan.forward, steps, tensors, constants)
        further = [f"n{k}" for k in range(len(s)) if plan.emitted != f"n{k}"]
        return self._results(tensors, steps) + [tensors[b] for b in (*further, *plan.saved)]

    def _results(self, tensors: dict[str, Tensor], steps: Steps) -> list[Tensor]:
        # no views, which autograd would not let a user change in place
        shaped = torch.ops.aten._unsafe_view
        last = [shaped(tensors[f"l{k}"], (steps.batch, *shape)) for k, shape in enumerate(self.fields)]
        return [shaped(tensors[self.plan.emitted], (steps.total, self.plan.output_width)), *last]

    def sizes_kept(self, steps_total: Any) -> list[Any]:
        """How many numbers each tensor has that `forward` returns behind the results."""
        plan = self.plan
        further = [n for k, n in enumerate(plan.widths) if plan.emitted != f"n{k}"]
        return [steps_total * n for n in (*further, *(plan.forward.buffers[b].width for b in plan.saved))]

    def backward(
        self,
        dy: Tensor,
        ds: Sequence[Tensor],
        u: Tensor | None,
        s: Sequence[Tensor],
        constants: Sequence[Tensor],
        new: Sequence[Tensor],
        kept: Sequence[Tensor],
        steps: Steps,
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        """Gradients of u, of the initial states and of the constants, where `wanted`."""
        plan, T, B = self.plan, steps.time, steps.batch
        tensors = {"y": dy.contiguous()} | dict(zip(plan.saved, kept, strict=True))
        tensors |= {f"s{k}": a.contiguous() for k, a in enumerate(s)} | {f"n{k}": a for k, a in enumerate(new)}
        if u is not None:
            tensors["u"] = u.contiguous()
        # both buffers start with it: a row that is not alive yet keeps it, whichever is read when it comes alive
        tensors |= {f"{c}{k}": _copy(a) for k, a in enumerate(ds) for c in "do"}
        widths = {b: plan.backward.buffers[b].width for b in plan.accumulated}
        tensors |= {b: torch.zeros(B * n, dtype=self.dtype) for b, n in widths.items()}
        self.call("backward", plan.backward, steps, tensors, constants)

        left = Left(tensors, steps)
        du = input_gradient(plan.late, left, constants, self.products.all_rows) if wanted[0] else None
        last = [tensors[f"{'do'[T % 2]}{k}"].view(B, *shape) for k, shape in enumerate(self.fields)]
        d_s = [a if need else None for a, need in zip(last, wanted[1:], strict=False)]
        return [du, *d_s, *constant_gradients(plan.gradients, left, wanted[1 + len(s) :], self.products.outer)]

    def call(
        self, name: str, loop: Loop, steps: Steps, tensors: dict[str, Tensor], constants: Sequence[Tensor]
    ) -> None:
        """Runs a loop on `tensors`, to which it adds the buffers that they lack."""
        lib, B = self.compiled, steps.batch
        threads, team = self._threads(loop, constants, B)
        bounds = steps.bounds(1 if team > 1 else threads)
        fewest = min((b - a for a, b in pairwise(bounds) if b > a), default=1)
        block = 1 if 2 * fewest >= _BLOCK else min(-(-_BLOCK // fewest), steps.time)
        rows = {"seq": steps.total, "start": B, "turn": B, "block": block * B}
        for b, buffer in loop.buffers.items():
            if buffer.kind != "weight" and b not in tensors:
                tensors[b] = BLOCKS.empty(rows[buffer.kind] * buffer.width, self.dtype)
        plain = [a.contiguous() for a in constants]
        names = [b for b, buffer in loop.buffers.items() if buffer.kind == "weight"]
        weights, _alive = (Weight * len(names))(), []
        for k, w in enumerate(names):
            product = loop.products[w]
            weights[k], held = self.products.weight(matrix_of(product, constants), product.turned)
            _alive.append(held)
        getattr(lib, f"{name}_{self.source.tag}")(
            ctypes.c_long(steps.time),
            ctypes.c_long(B),
            ctypes.c_long(threads),
            ctypes.c_long(team),
            ctypes.c_long(block),
            (ctypes.c_long * len(bounds))(*bounds),
            ctypes.c_void_p(steps.alive.data_ptr()),
            ctypes.c_void_p(steps.rows.data_ptr()),
            _addresses([tensors.get(b) for b in self.plan.order]),
            _addresses(plain),
            weights,
            ctypes.c_long(len(weights)),
        )

    @staticmethod
    def _threads(loop: Loop, constants: Sequence[Tensor], B: int) -> tuple[int, int]:
        """How many threads run, and of how many the teams are that share the columns of a product."""
        there = torch.get_num_threads()
        owners = max(1, min(there, B // 4))
        if owners > 1 or there == 1:
            return owners, 1
        products = [matrix_of(p, constants) for p in loop.products.values()]
        if not products or min(m.numel() for m in products) < _SHARED:
            return 1, 1
        team = min(there, _TEAM)
        return team, team


def compile_programs(programs: Iterable[Program]) -> None:
    """Compiles those that the cache lacks, together."""
    compile_together((program.source for program in programs), *_FLAGS)


def _made(cell: Cell, shapes: Shapes) -> Made:
    """What the trace of a cell comes to."""
    traced = trace(cell, shapes)
    plan = Plan(traced, shapes)
    source = print_c(plan, shapes.dtype == torch.float64)
    return Made(traced.names, traced.early, traced.code, traced.batch, traced.emits_pairs, plan, source)


def _copy(a: Tensor) -> Tensor:
    return a.clone(memory_format=torch.contiguous_format)


def _addresses(tensors: Sequence[Tensor | None]) -> Any:
    return (ctypes.c_void_p * max(len(tensors), 1))(*(None if a is None else a.data_ptr() for a in tensors))
