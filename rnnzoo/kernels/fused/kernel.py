"""The kernel ``fused``: which cells it can run, and their compiled programs, shared by all that are alike."""

import ctypes
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

from rnnzoo.cells.contract import Cell
from rnnzoo.cells.registry import kind, name_of
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels.base import LayerKernel, Work, milliseconds, run_stack, weights
from rnnzoo.kernels.fused.build import BuildError, compiler
from rnnzoo.kernels.fused.complex_numbers import joined, parts
from rnnzoo.kernels.fused.ops import PROGRAMS, scan
from rnnzoo.kernels.fused.products import in_tiles, why_no_compiler
from rnnzoo.kernels.fused.program import Program
from rnnzoo.kernels.fused.signature import signature
from rnnzoo.kernels.fused.trace import Calls, Shapes, real_values, untraceable
from rnnzoo.kernels.layout import Layout, Packed
from rnnzoo.transforms.dilated import over_time

RATE, TILES, STEP = 180.0, 400.0, 0.003  # GFLOP/s, those in tiles of bfloat16, and ms of one step of one cell
LAID_OUT = 1e-6  # ms to lay out one number of a matrix, forward and backward
START = 1.0  # ms of a call: less, but a trace and a compiler's run are to be made up for
_MOST = 256  # programs that are remembered


class Fused(LayerKernel):
    """C derived from a cell's ``step``, forward and backward, for any cell of row-wise arithmetic, reductions over
    the row and products with parameters. Compiled at the first run; lengths and batches never compile again.

    Under autocast to bfloat16 what is multiplied is rounded to it where the processor has tiles for that (AMX); sums,
    states and results stay in float32, and elsewhere all is.
    """

    name = "fused"

    def why_not(self, work: Work) -> str | None:
        dtype = work.cells[0].like(work.x).dtype
        if work.x.device.type != "cpu":
            return f"it runs on a CPU, and x lies on {work.x.device}"
        if _autocast(work.x):
            if torch.get_autocast_dtype("cpu") == torch.float16:
                return "under autocast it stands in for bfloat16, not for float16"
            with torch.autocast("cpu", enabled=False):
                return self.why_not(_unnarrowed(work))
        if dtype not in (torch.float32, torch.float64):
            return f"it computes in float32 and float64, not in {dtype}"
        if torch.jit.is_tracing():
            return "torch.jit.trace cannot see into it"
        if not torch.compiler.is_compiling():
            if torch._C._functorch.peek_interpreter_stack() is not None:
                return "it runs in no transform of torch.func"
            if _forked and torch.get_num_threads() > 1:
                return "this process was forked, and its threads were not; torch.set_num_threads(1) would do"
        dims = work.x.dim() - 1
        for k, cell in enumerate(work.cells):
            first = k < len(work.layers[0])
            found = self._prepared(cell, work.x.dtype if first else cell.like(work.x).dtype, dims, work.given(k))
            if isinstance(found, str):
                return f"{name_of(kind(cell))}: {found}" if found != why_no_compiler() else found
        return None

    def likely_why_not(self, work: Work) -> str | None:
        if any(not type(cell).__module__.startswith("rnnzoo.") for cell in work.cells):
            return self.why_not(work)
        try:
            compiler()
        except BuildError as error:
            return str(error)
        return next((cell.not_fused for cell in work.cells if cell.not_fused), None)

    def cost(self, work: Work) -> float:
        if torch.compiler.is_exporting():
            return math.inf  # what others load has no need of rnnzoo then; by its name it is exported as one operation
        rate = TILES if self._narrows(work) else RATE
        loops = (START + STEP * work.layout.time) * len(work.cells)
        return milliseconds(work, rate) + loops + LAID_OUT * weights(work)

    def remark(self, work: Work) -> str:
        kept = []
        for k, cell in enumerate(work.cells):
            dtype = work.x.dtype if k < len(work.layers[0]) and not _autocast(work.x) else cell.like(work.x).dtype
            found = self._prepared(cell, dtype, work.x.dim() - 1, work.given(k))
            if not isinstance(found, str):
                kept.append(PROGRAMS[found.key].plan.floats_saved / cell.hidden_size)
        said = [f"keeps {sum(kept) / len(kept):.3g} numbers a step and unit for the backward"] if kept else []
        if self._narrows(work):
            said.append(f"multiplies in {str(torch.get_autocast_dtype(work.x.device.type)).removeprefix('torch.')}")
        return "; ".join(said)

    def run(self, work: Work) -> tuple[Tensor, Any]:
        if not _autocast(work.x):
            return super().run(work)
        device = work.x.device.type
        layer = partial(self.layer, narrow=torch.get_autocast_dtype(device) if self._narrows(work) else None)
        with torch.autocast(device, enabled=False):
            return run_stack(
                _unnarrowed(work), lambda cell, x, inputs, s: over_time(layer, cell, x, inputs, s, work.layout)
            )

    def _narrows(self, work: Work) -> bool:
        """Whether what is multiplied is rounded, as autocast asks for."""
        return work.x.device.type == "cpu" and _narrowable(work) and _tiles()

    def layer(
        self,
        cell: Cell,
        x: Tensor,
        inputs: Mapping[str, Tensor],
        s: Any,
        layout: Layout,
        narrow: torch.dtype | None = None,
    ) -> tuple[Tensor, Any]:
        found = self._prepared(cell, x.dtype, 1 if isinstance(layout, Packed) else 2, inputs)
        if not isinstance(found, str) and found.whole:
            return self._scan(cell, found, [x, *inputs.values()], s, layout, narrow)
        u = cell.project(x, **inputs)
        h, s = self.scan(cell, u, s, layout, narrow)
        return cell.readout(h, u, x), s

    def scan(self, cell: Cell, u: Any, s: Any, layout: Layout, narrow: torch.dtype | None = None) -> tuple[Tensor, Any]:
        lead = 1 if isinstance(layout, Packed) else 2
        shapes = _shapes(cell, u, s, lead)
        found = shapes if isinstance(shapes, str) else _program(cell, shapes)
        if isinstance(found, str):
            raise RnnZooError(f"kernel {self.name!r} cannot run {name_of(kind(cell))}: {found}; set kernel='reference'")
        return self._scan(cell, Prepared(found.key, False), tree_flatten(u)[0], s, layout, narrow)

    def _scan(
        self,
        cell: Cell,
        found: "Prepared",
        given: Sequence[Tensor],
        s: Any,
        layout: Layout,
        narrow: torch.dtype | None,
    ) -> tuple[Tensor, Any]:
        """`given`: the leaves of u, or where ``project`` is part of the program, x and what the cell takes besides."""
        program = PROGRAMS[found.key]
        packed = isinstance(layout, Packed)
        lead = 1 if packed else 2
        leaves = [a.reshape(-1, math.prod(a.shape[lead:])) for a in parts(given)]
        rows = leaves[0] if len(leaves) == 1 else torch.cat(leaves, -1)
        values = [_tensor(cell, n) for n in program.names]
        sizes = layout.packed.batch_sizes if isinstance(layout, Packed) else None
        h, *last = self._loops(program, rows, parts(s), values, sizes, narrow)
        ahead = h.shape[:1] if packed else (layout.time, layout.batch)
        h = h.view(*ahead, *program.plan.emitted_shape)
        y = torch.complex(*h.chunk(2, -1)) if program.emits_pairs else h
        return y, type(s)(*joined(last, program.complex_fields))

    def _prepared(self, cell: Cell, dtype: torch.dtype, dims: int, inputs: Mapping[str, Tensor]) -> "Prepared | str":
        return _prepared(cell, dtype, dims, inputs)

    def _loops(
        self,
        program: Program,
        u: Tensor,
        s: Sequence[Tensor],
        values: Sequence[Tensor],
        sizes: Tensor | None,
        narrow: torch.dtype | None,
    ) -> Sequence[Tensor]:
        """What is emitted (N, n) and the final states; `values`: of parameters and buffers."""
        return scan(program, u, s, program.early(*values), sizes, narrow is not None)


class Prepared(NamedTuple):
    """A traced cell: its program's key in PROGRAMS, and whether ``project`` is part of it."""

    key: str
    whole: bool


def _autocast(x: Tensor) -> bool:
    return torch.is_autocast_enabled(x.device.type)


def _narrowable(work: Work) -> bool:
    """Whether autocast asks for narrow products: of float64 it never does."""
    return _autocast(work.x) and work.cells[0].like(work.x).dtype == torch.float32


def _tiles() -> bool:
    return in_tiles()


# in_tiles reads files and compiles, which torch.compile cannot look into; marked without importing torch._dynamo
_tiles._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _tensor(module: nn.Module, name: str) -> Tensor:
    """A parameter or a buffer by its name, as named_parameters gives it."""
    *path, last = name.split(".")
    for part in path:
        module = getattr(module, part)
    found: Tensor = getattr(module, last)
    return found


def _unnarrowed(work: Work) -> Work:
    """`work` as it would be without autocast: x, inputs and states as wide as the weights."""
    dtype = work.cells[0].like(work.x).dtype

    def wide(a: Any) -> Any:
        return a.to(dtype) if isinstance(a, Tensor) and a.is_floating_point() else a

    def all_wide(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: wide(a) for n, a in inputs.items()}

    own = [all_wide(inputs) for inputs in work.own]
    return replace(work, x=wide(work.x), hx=tree_map(wide, work.hx), inputs=all_wide(work.inputs), own=own)


_programs: OrderedDict[Any, Program | str] = OrderedDict()  # or the reason why there is none
_known: OrderedDict[Any, Prepared | str] = OrderedDict()
_lock = threading.RLock()
_forked = False


def _after_fork() -> None:
    global _forked, _lock
    _forked, _lock = True, threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _prepared(cell: Cell, dtype: torch.dtype, dims: int, inputs: Mapping[str, Tensor]) -> Prepared | str:
    """The program of `cell` for x of a dtype behind `dims` axes and further inputs, or why there is none."""
    told = _told(inputs, dims)
    if torch.compiler.is_compiling():
        return _prepared_in_a_trace(id(cell), dtype, dims, told)
    return _compilable(_found(cell, dtype, dims, told))


def _told(inputs: Mapping[str, Tensor], dims: int) -> tuple[Any, ...]:
    """What a trace depends on of further inputs, whose rows lie behind `dims` axes."""
    return tuple((n, tuple(a.shape[dims:]), a.dtype) for n, a in inputs.items())


def _prepared_in_a_trace(ident: int, dtype: torch.dtype, dims: int, told: tuple[Any, ...]) -> Prepared | str:
    """The same while torch.compile or torch.export looks on, to which it is a constant.

    By the cell's id, for constants alone may be handed over; what is being compiled keeps the cell alive.
    """
    cell = ctypes.cast(ident, ctypes.py_object).value
    with _disable_current_modes(), torch._C.DisableTorchFunction():
        return _compilable(_found(cell, dtype, dims, told))


_prepared_in_a_trace._dynamo_marked_constant = True  # type: ignore[attr-defined]  # without importing torch._dynamo


def _compilable(found: Prepared | str) -> Prepared | str:
    return found if isinstance(found, str) else why_no_compiler() or found


def _found(cell: Cell, dtype: torch.dtype, dims: int, told: tuple[Any, ...]) -> Prepared | str:
    """The same whether or not it can be compiled; remembered."""
    key = signature(cell), dtype, dims, told
    with _lock:
        found = _known.get(key)
        if found is None:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                found = _prepare(cell, dtype, dims, told)
            _remember(_known, key, found)
    return found


def _prepare(cell: Cell, dtype: torch.dtype, dims: int, told: tuple[Any, ...]) -> Prepared | str:
    """Traces a cell: with its ``project`` where that can be, otherwise from u on."""
    lead = (2,) if dims == 1 else (3, 2)
    x = torch.zeros(*lead, cell.input_size, dtype=dtype)
    if x.is_floating_point():  # whole numbers may count something: 0 is always there
        x.normal_()
    rows = {n: torch.ones(*lead, *shape, dtype=kind) for n, shape, kind in told}
    values = {f"cell.{n}": a for n, a in real_values(cell).items()}

    def call(method: str, *args: Any, **kwargs: Any) -> Any:
        return functional_call(Calls(cell), values, (method, *args), kwargs)

    try:
        s = call("initial_state", lead[-1], torch.empty(0, dtype=cell.like(x).dtype))
        u = call("project", x, **rows)
    except Exception as error:
        return f"its project fails on two rows ({type(error).__name__}: {error})"
    if type(cell).readout is Cell.readout and _each_step_alone(call, u, x, rows):
        shapes = _shapes(cell, (x, rows), s, dims, lead, whole=True)
        program = shapes if isinstance(shapes, str) else _program(cell, shapes)
        if not isinstance(program, str):
            return Prepared(program.key, True)
    shapes = _shapes(cell, u, s, dims, lead)
    program = shapes if isinstance(shapes, str) else _program(cell, shapes)
    return program if isinstance(program, str) else Prepared(program.key, False)


def _each_step_alone(call: Callable[..., Any], u: Any, x: Tensor, inputs: Mapping[str, Tensor]) -> bool:
    """Whether ``project`` does to a step what it does to all steps, and draws no random numbers."""
    try:
        last = call("project", x[-1:], **{n: a[-1:] for n, a in inputs.items()})
    except Exception:
        return False
    pairs = list(zip(tree_flatten(last)[0], tree_flatten(u)[0], strict=False))
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
    dtype = s[0].dtype.to_real()
    for field, a in zip(s._fields, s, strict=True):
        if dtype not in (torch.float32, torch.float64) or a.dtype.to_real() != dtype:
            return f"its state has {field} in {a.dtype}"
    if not leaves:
        return "its u is empty"
    for a in leaves:
        if not isinstance(a, Tensor) or a.dtype.to_real() != dtype:
            return f"its u holds {a.dtype if isinstance(a, Tensor) else type(a).__name__}, not {dtype} alone"
        if a.dim() < lead or (sizes is not None and tuple(a.shape[:lead]) != sizes):
            return "its u holds a tensor without a time and a batch axis"
    fields = tuple(tuple(a.shape[1:]) for a in parts(s))
    behind = tuple(tuple(a.shape[lead:]) for a in parts(leaves))
    kinds = tuple(a.is_complex() for a in leaves), tuple(a.is_complex() for a in s)
    return Shapes(behind, structure, fields, type(s), dtype, *kinds, whole)


def _program(cell: Cell, shapes: Shapes) -> Program | str:
    """The program of `cell` for u and states of some shapes, or the reason why there is none."""
    key = signature(cell), shapes
    with _lock:
        found = _programs.get(key)
        if found is None:
            try:
                found = Program(cell, shapes)
                PROGRAMS[found.key] = found
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
