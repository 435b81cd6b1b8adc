"""The kernel ``fused``: which cells it can run, and their compiled programs, shared by all that are alike."""

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from rnnzoo.cells.contract import Cell, LinearCell
from rnnzoo.cells.registry import name_of
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels.base import LayerKernel, Work, milliseconds
from rnnzoo.kernels.fused.products import why_no_compiler
from rnnzoo.kernels.fused.program import Program
from rnnzoo.kernels.fused.signature import signature
from rnnzoo.kernels.fused.steps import steps_of
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
        for k, cell in enumerate(work.cells):
            reason = _why_not_cell(cell, work, first=k < len(work.layers[0]))
            if reason:
                return f"{name_of(type(cell))}: {reason}"
        return why_no_compiler()

    def cost(self, work: Work) -> float:
        steps = (LINEAR if isinstance(cell, LinearCell) else STEP for cell in work.cells)
        return milliseconds(work) + sum(START + ms * work.layout.time for ms in steps)

    def layer(self, cell: Cell, x: Tensor, inputs: Mapping[str, Tensor], s: Any, layout: Layout) -> tuple[Tensor, Any]:
        dims = 1 if isinstance(layout, Packed) else 2
        shapes = _sampled(cell, x, dims, inputs)
        if isinstance(shapes, str) or not shapes.whole:
            return super().layer(cell, x, inputs, s, layout)
        return self._scan(cell, (x, dict(inputs)), s, layout, _shapes(cell, (x, dict(inputs)), s, dims, whole=True))

    def scan(self, cell: Cell, u: Any, s: Any, layout: Layout) -> tuple[Tensor, Any]:
        return self._scan(cell, u, s, layout, _shapes(cell, u, s, 1 if isinstance(layout, Packed) else 2))

    def _scan(self, cell: Cell, u: Any, s: Any, layout: Layout, shapes: Shapes | str) -> tuple[Tensor, Any]:
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
_sampled_shapes: OrderedDict[Any, Shapes | str] = OrderedDict()
_lock = threading.RLock()
_forked = False


def _after_fork() -> None:
    global _forked, _lock
    _forked, _lock = True, threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _why_not_cell(cell: Cell, work: Work, first: bool) -> str | None:
    """The reason why `cell` cannot be compiled; remembered."""
    x = work.x
    if not first:
        x = torch.empty(0, dtype=cell.like(x).dtype, device=x.device).expand(*x.shape[:-1], 0)
    shapes = _sampled(cell, x, work.x.dim() - 1, work.inputs)
    if isinstance(shapes, str):
        return shapes
    program = _program(cell, shapes)
    return program if isinstance(program, str) else None


def _sampled(cell: Cell, x: Tensor, dims: int, inputs: Mapping[str, Tensor]) -> Shapes | str:
    """The shapes that `cell` is compiled for: of x and further inputs where ``project`` can be traced with the step,
    otherwise of u, from a row or two. Remembered."""
    told = tuple((n, a.shape[dims:], a.dtype) for n, a in inputs.items())
    key = signature(cell), x.dtype, dims, told
    with _lock:
        found = _sampled_shapes.get(key)
        if found is None:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                found = _sample(cell, x, dims, inputs)
            _remember(_sampled_shapes, key, found)
    return found


def _sample(cell: Cell, like: Tensor, dims: int, inputs: Mapping[str, Tensor]) -> Shapes | str:
    lead = (2,) if dims == 1 else (3, 2)
    x = torch.randn(*lead, cell.input_size, dtype=like.dtype).to(like.device)  # a GPU's generator stays as it is
    rows = {n: a[(0,) * dims].expand(*lead, *a.shape[dims:]) for n, a in inputs.items()}
    s = cell.initial_state(lead[-1], cell.like(x))
    try:
        u = cell.project(x, **rows)
    except Exception as error:
        return f"its project fails on two rows ({type(error).__name__}: {error})"
    if type(cell).readout is Cell.readout and _each_step_alone(cell, u, x, rows):
        shapes = _shapes(cell, (x, rows), s, dims, lead, whole=True)
        if isinstance(shapes, Shapes) and not isinstance(_program(cell, shapes), str):
            return shapes
    return _shapes(cell, u, s, dims, lead)


def _each_step_alone(cell: Cell, u: Any, x: Tensor, inputs: Mapping[str, Tensor]) -> bool:
    """Whether ``project`` does to a step what it does to all steps, and draws no random numbers."""
    try:
        last = cell.project(x[-1:], **{n: a[-1:] for n, a in inputs.items()})
    except Exception:
        return False
    pairs = zip(tree_flatten(last)[0], tree_flatten(u)[0], strict=True)
    return all(
        isinstance(a, Tensor)
        and isinstance(b, Tensor)
        and a.shape == b[-1:].shape
        and torch.allclose(a, b[-1:], rtol=1e-4, atol=1e-5)
        for a, b in pairs
    )


def _shapes(
    cell: Cell, u: Any, s: Any, lead: int, sizes: tuple[int, ...] | None = None, *, whole: bool = False
) -> Shapes | str:
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
    return Shapes(tuple(tuple(a.shape[lead:]) for a in leaves), structure, fields, type(s), dtype, whole)


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
