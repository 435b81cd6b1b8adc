"""The kernel ``fused``: which cells it can run, and their compiled programs, shared by all that are alike."""

import os
import threading
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from rnnzoo.cells.contract import Cell, LinearCell
from rnnzoo.cells.registry import name_of
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels.base import LayerKernel, Work, milliseconds
from rnnzoo.kernels.fused.build import why_no_compiler
from rnnzoo.kernels.fused.program import Program, blas, steps_of
from rnnzoo.kernels.fused.signature import signature
from rnnzoo.kernels.fused.trace import Shapes, untraceable
from rnnzoo.kernels.layout import Layout, Packed

START, STEP = 0.1, 0.003  # ms of a call and of one step, beside its products; never dearer than the reference
LINEAR = 0.021  # of a linear cell, which is left to linear_scan where that can run
_MOST = 256  # programs that are remembered


class Fused(LayerKernel):
    """C derived from a cell's ``step``, forward and backward, for any cell of row-wise arithmetic, reductions over
    the row and products with parameters. Compiled at the first run; lengths and batches never compile again."""

    name = "fused"

    def why_not(self, work: Work) -> str | None:
        dtype = work.cells[0].like(work.x).dtype
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return "torch.compile and export cannot see into it"
        if work.x.device.type != "cpu":
            return f"it runs on a CPU, and x lies on {work.x.device}"
        if torch.is_autocast_enabled("cpu"):
            return "it does not follow autocast"
        if dtype not in (torch.float32, torch.float64):
            return f"it computes in float32 and float64, not in {dtype}"
        if torch._C._functorch.peek_interpreter_stack() is not None:
            return "it runs in no transform of torch.func"
        if _forked and torch.get_num_threads() > 1:
            return "this process was forked, and its threads were not; torch.set_num_threads(1) would do"
        if blas(dtype) is None:
            return "torch's library exports no product of matrices"
        for k, cell in enumerate(work.cells):
            reason = _why_not_cell(cell, work, first=k < len(work.layers[0]))
            if reason:
                return f"{name_of(type(cell))}: {reason}"
        return why_no_compiler()

    def cost(self, work: Work) -> float:
        steps = (LINEAR if isinstance(cell, LinearCell) else STEP for cell in work.cells)
        return milliseconds(work) + sum(START + ms * work.layout.time for ms in steps)

    def scan(self, cell: Cell, u: Any, s: Any, layout: Layout) -> tuple[Tensor, Any]:
        shapes = _shapes(cell, u, s, 1 if isinstance(layout, Packed) else 2)
        program = shapes if isinstance(shapes, str) else _program(cell, shapes)
        if isinstance(program, str):
            raise RnnZooError(f"kernel 'fused' cannot run {name_of(type(cell))}: {program}; set kernel='reference'")
        steps = steps_of(layout)
        leaves = [a.reshape(steps.total, -1) for a in tree_flatten(u)[0]]
        rows = leaves[0] if len(leaves) == 1 else torch.cat(leaves, -1)
        h, last = program.scan(cell, rows, tuple(s), steps)
        if not isinstance(layout, Packed):
            h = h.view(layout.time, layout.batch, *h.shape[1:])
        return h, type(s)(*last)


_programs: OrderedDict[Any, Program | str] = OrderedDict()  # or the reason why there is none
_projected: OrderedDict[Any, Shapes | str] = OrderedDict()  # what a cell's `project` and `initial_state` give
_lock = threading.RLock()
_forked = False


def _after_fork() -> None:
    global _forked, _lock
    _forked, _lock = True, threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _why_not_cell(cell: Cell, work: Work, first: bool) -> str | None:
    """The reason why `cell` cannot be compiled; remembered."""
    inputs = tuple((n, a.shape[work.x.dim() - 1 :], a.dtype) for n, a in work.inputs.items())
    key = signature(cell), work.x.dtype if first else None, work.x.dim(), inputs
    with _lock:
        shapes = _projected.get(key)
        if shapes is None:
            shapes = _sampled(cell, work, first)
            _remember(_projected, key, shapes)
        if isinstance(shapes, str):
            return shapes
        program = _program(cell, shapes)
    return program if isinstance(program, str) else None


def _sampled(cell: Cell, work: Work, first: bool) -> Shapes | str:
    """The shapes of u and of the state, from a row or two."""
    lead = (slice(2),) if work.x.dim() == 2 else (slice(1), slice(2))
    like = cell.like(work.x)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        x = work.x[lead]
        x = x if first else torch.zeros(*x.shape[:-1], cell.input_size, dtype=like.dtype)
        try:
            u = cell.project(x, **{n: a[lead] for n, a in work.inputs.items()})
        except Exception as error:
            return f"its project fails on two rows ({type(error).__name__}: {error})"
        return _shapes(cell, u, cell.initial_state(x.shape[-2], like), x.dim() - 1, tuple(x.shape[:-1]))


def _shapes(cell: Cell, u: Any, s: Any, lead: int, sizes: tuple[int, ...] | None = None) -> Shapes | str:
    """The shapes of u, behind `lead` axes, and of the state, or the reason why they do not fit."""
    leaves, structure = tree_flatten(u)
    dtype = s[0].dtype
    for field, a in zip(s._fields, s, strict=True):
        if a.dtype not in (torch.float32, torch.float64) or a.dtype != dtype:
            return f"its state has {field} in {a.dtype}"
        if a.dim() > 2:
            return f"its state has {field} with {a.dim()} axes (heads, matrices)"
    if not leaves:
        return "its u is empty"
    for a in leaves:
        if not isinstance(a, Tensor) or a.dtype != dtype:
            return f"its u holds {a.dtype if isinstance(a, Tensor) else type(a).__name__}, not {dtype} alone"
        if a.dim() > lead + 1:
            return f"its u holds a tensor with {a.dim() - lead + 1} axes a step (heads, matrices)"
        if a.dim() < lead or (sizes is not None and tuple(a.shape[:lead]) != sizes):
            return "its u holds a tensor without a time and a batch axis"
    fields = tuple(tuple(a.shape[1:]) for a in s)
    return Shapes(tuple(tuple(a.shape[lead:]) for a in leaves), structure, fields, type(s), dtype)


def _program(cell: Cell, shapes: Shapes) -> Program | str:
    """The program of `cell` for u and states of some shapes, or the reason why there is none."""
    key = signature(cell), shapes
    with _lock:
        found = _programs.get(key)
        if found is None:
            try:
                found = Program(cell, shapes)
            except Exception as error:  # whatever a user's step may raise: the reference shows it where it stands
                found = str(untraceable(error))
            _remember(_programs, key, found)
        else:
            _programs.move_to_end(key)
        return found


def _remember(table: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    table[key] = value
    while len(table) > _MOST:
        table.popitem(last=False)
