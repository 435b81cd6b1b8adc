"""A cell's compiled loops: how they are called on sequences, forward and backward."""

import copy
import ctypes
import hashlib
import itertools
import struct
import weakref
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rnnzoo.cells.contract import Cell
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels.fingerprint import Fingerprint
from rnnzoo.kernels.fused.build import compile_together, library
from rnnzoo.kernels.fused.c_printer import print_c
from rnnzoo.kernels.fused.gradients import Left, constant_gradients, input_gradient, matrix_of
from rnnzoo.kernels.fused.kept import Made, made_once
from rnnzoo.kernels.fused.loops import Loop
from rnnzoo.kernels.fused.memory import BLOCKS
from rnnzoo.kernels.fused.plan import Plan
from rnnzoo.kernels.fused.products import Products, Weight
from rnnzoo.kernels.fused.steps import Steps
from rnnzoo.kernels.fused.trace import Shapes, check_agreement, trace

# what a loop computes again must equal what another has computed, or `x == x.amax()` would be false
_FLAGS = ("-ffp-contract=off",)

_WATCHES = itertools.count()

_SHARED = 60_000  # elements of a matrix: to wait for each other costs more than half of a smaller one's product


class Program:
    """The loops of one cell with its sizes and constants, in one dtype, for whatever T, B and lengths.

    `key` names it in the operations of torch.library, in every process alike.
    """

    def __init__(self, cell: Cell, mark: Fingerprint, shapes: Shapes):
        self.dtype, self.fields = shapes.dtype, shapes.fields
        self._watched: tuple[weakref.ref[Cell], Fingerprint] | None = None
        made = made_once(cell, mark, shapes, _made)
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

    def watching(self, cell: Cell, mark: Fingerprint) -> "Program":
        """The same loops for code that runs without the cell, which must be as it was."""
        found = copy.copy(self)
        found.key, found._watched = f"{self.key}@{next(_WATCHES)}", (weakref.ref(cell), mark)
        return found

    def watched_cell(self) -> Cell | None:
        """The cell that is looked at."""
        return None if self._watched is None else self._watched[0]()

    def _check_cell(self, mark: Fingerprint) -> None:
        cell = self.watched_cell()
        if cell is not None and not mark.holds(cell):
            raise RnnZooError(
                f"{mark.first_change(cell)} has changed since torch.compile looked at it; torch.compiler.reset() has it"
                " compiled anew"
            )

    def check(self, u: Tensor, s: Sequence[Tensor], steps: Steps) -> None:
        """Raises RnnZooError for tensors that C would read beyond their ends, or as other numbers than they are."""
        if self._watched is not None:
            self._check_cell(self._watched[1])
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
        return self._run("infer", plan.infer, steps, tensors, constants)

    def forward(self, u: Tensor, s: Sequence[Tensor], constants: Sequence[Tensor], steps: Steps) -> list[Tensor]:
        """What is emitted, the final states, and what the backward reads: further states, and what is kept."""
        plan = self.plan
        tensors = {"u": u.contiguous()} | {f"s{k}": a.contiguous() for k, a in enumerate(s)}
        results = self._run("forward", plan.forward, steps, tensors, constants)
        further = [f"n{k}" for k in range(len(s)) if plan.emitted != f"n{k}"]
        return results + [tensors[b] for b in (*further, *plan.saved)]

    def _run(
        self, name: str, loop: Loop, steps: Steps, tensors: dict[str, Tensor], constants: Sequence[Tensor]
    ) -> list[Tensor]:
        """What is emitted and the final states: tensors of their own, for views a user could not change in place."""
        results = {self.plan.emitted: BLOCKS.empty((steps.total, self.plan.output_width), self.dtype)}
        for k, shape in enumerate(self.fields):
            results[f"l{k}"] = BLOCKS.empty((steps.batch, *shape), self.dtype)
        tensors |= results
        self.call(name, loop, steps, tensors, constants)
        return list(results.values())

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
        return [
            du,
            *d_s,
            *constant_gradients(plan.gradients, constants, left, wanted[1 + len(s) :], self.products.outer),
        ]

    def call(
        self, name: str, loop: Loop, steps: Steps, tensors: dict[str, Tensor], constants: Sequence[Tensor]
    ) -> None:
        """Runs a loop on `tensors`, to which it adds the buffers that they lack."""
        B = steps.batch
        smallest = min((p.numbers for p in loop.products.values()), default=0)
        shares = steps.shares(torch.get_num_threads(), teams=smallest >= _SHARED)
        rows = {"seq": steps.total, "start": B, "turn": B, "block": shares.block * B}
        for b, buffer in loop.buffers.items():
            if b not in tensors and buffer.kind != "weight":
                tensors[b] = BLOCKS.empty((rows[buffer.kind] * buffer.width,), self.dtype)
        plain = [a.contiguous() if k in loop.read else None for k, a in enumerate(constants)]
        weights, _alive = (Weight * len(loop.products))(), []
        for k, product in enumerate(loop.products.values()):
            weights[k], held = self.products.weight(matrix_of(product, constants), product.turned)
            _alive.append(held)
        self._functions[name](
            steps.time,
            B,
            shares.threads,
            shares.team,
            shares.block,
            shares.bounds,
            steps.alive.data_ptr(),
            steps.rows.data_ptr(),
            _addresses([tensors.get(b) for b in self.plan.order]),
            _addresses(plain),
            weights,
            len(loop.products),
        )

    @cached_property
    def _functions(self) -> dict[str, Any]:
        """The library's loops, by name."""
        found = {name: getattr(self.compiled, f"{name}_{self.source.tag}") for name in ("forward", "infer", "backward")}
        for function in found.values():
            function.argtypes, function.restype = [ctypes.c_long] * 5 + [ctypes.c_void_p] * 6 + [ctypes.c_long], None
        return found


def compile_programs(programs: Iterable[Program]) -> None:
    """Compiles those that the cache lacks, together."""
    compile_together((program.source for program in programs), *_FLAGS)


def _made(cell: Cell, shapes: Shapes) -> Made:
    """What the trace of a cell comes to."""
    traced = trace(cell, shapes)
    plan = Plan(traced, shapes)
    source = print_c(plan, shapes.dtype == torch.float64)
    check_agreement(cell, shapes, traced.names, traced.early, traced.code)
    return Made(traced.names, traced.early, traced.code, traced.emits_pairs, plan, source)


def _copy(a: Tensor) -> Tensor:
    return a.clone(memory_format=torch.contiguous_format)


def _addresses(tensors: Sequence[Tensor | None]) -> bytes:
    """As C takes them; ctypes' arrays take three times as long to make."""
    return struct.pack(f"{len(tensors)}P", *(0 if a is None else a.data_ptr() for a in tensors))
