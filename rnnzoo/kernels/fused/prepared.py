"""Programs by cell: traced once, remembered, and shared by all cells that are alike."""

import ctypes
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten

from rnnzoo.cells.contract import Cell
from rnnzoo.kernels.fused.complex_numbers import parts
from rnnzoo.kernels.fused.ops import PROGRAMS
from rnnzoo.kernels.fused.products import why_no_compiler
from rnnzoo.kernels.fused.program import Program
from rnnzoo.kernels.fused.signature import signature
from rnnzoo.kernels.fused.trace import Calls, Shapes, real_values, untraceable

_MOST = 256  # programs that are remembered


class Prepared(NamedTuple):
    """A traced cell: its program's key in PROGRAMS, and whether ``project`` is part of it."""

    key: str
    whole: bool


_programs: OrderedDict[Any, Program | str] = OrderedDict()  # or the reason why there is none
_known: OrderedDict[Any, Prepared | str] = OrderedDict()
lock = threading.RLock()
forked = False


def _after_fork() -> None:
    global forked, lock
    forked, lock = True, threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def prepared(cell: Cell, dtype: torch.dtype, dims: int, inputs: Mapping[str, Tensor]) -> Prepared | str:
    """The program of `cell` for x of a dtype behind `dims` axes and further inputs, or why there is none."""
    about = told(inputs, dims)
    if torch.compiler.is_compiling():
        return _prepared_in_a_trace(id(cell), dtype, dims, about)
    return _compilable(known(cell, dtype, dims, about))


def told(inputs: Mapping[str, Tensor], dims: int) -> tuple[Any, ...]:
    """What a trace depends on of further inputs, whose rows lie behind `dims` axes."""
    return tuple((n, tuple(a.shape[dims:]), a.dtype) for n, a in inputs.items())


def _prepared_in_a_trace(ident: int, dtype: torch.dtype, dims: int, about: tuple[Any, ...]) -> Prepared | str:
    """The same while torch.compile or torch.export looks on, to which it is a constant.

    By the cell's id, for constants alone may be handed over; what is being compiled keeps the cell alive.
    """
    cell = ctypes.cast(ident, ctypes.py_object).value
    with _disable_current_modes(), torch._C.DisableTorchFunction():
        return _compilable(known(cell, dtype, dims, about))


_prepared_in_a_trace._dynamo_marked_constant = True  # type: ignore[attr-defined]  # without importing torch._dynamo


def _compilable(found: Prepared | str) -> Prepared | str:
    return found if isinstance(found, str) else why_no_compiler() or found


def known(cell: Cell, dtype: torch.dtype, dims: int, about: tuple[Any, ...]) -> Prepared | str:
    """The same whether or not it can be compiled; remembered."""
    key = signature(cell), dtype, dims, about
    with lock:
        found = _known.get(key)
        if found is None:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                found = _prepare(cell, dtype, dims, about)
            _remember(_known, key, found)
    return found


def _prepare(cell: Cell, dtype: torch.dtype, dims: int, about: tuple[Any, ...]) -> Prepared | str:
    """Traces a cell: with its ``project`` where that can be, otherwise from u on."""
    lead = (2,) if dims == 1 else (3, 2)
    x = torch.zeros(*lead, cell.input_size, dtype=dtype)
    if x.is_floating_point():  # whole numbers may count something: 0 is always there
        x.normal_()
    rows = {n: torch.ones(*lead, *shape, dtype=kind) for n, shape, kind in about}
    values = {f"cell.{n}": a for n, a in real_values(cell).items()}

    def call(method: str, *args: Any, **kwargs: Any) -> Any:
        return functional_call(Calls(cell), values, (method, *args), kwargs)

    try:
        s = call("initial_state", lead[-1], torch.empty(0, dtype=cell.like(x).dtype))
        u = call("project", x, **rows)
    except Exception as error:
        return f"its project fails on two rows ({type(error).__name__}: {error})"
    if type(cell).readout is Cell.readout and _each_step_alone(call, u, x, rows):
        shapes = shapes_of(cell, (x, rows), s, dims, lead, whole=True)
        program = shapes if isinstance(shapes, str) else program_of(cell, shapes)
        if not isinstance(program, str):
            return Prepared(program.key, True)
    shapes = shapes_of(cell, u, s, dims, lead)
    program = shapes if isinstance(shapes, str) else program_of(cell, shapes)
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


def shapes_of(
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


def program_of(cell: Cell, shapes: Shapes) -> Program | str:
    """The program of `cell` for u and states of some shapes, or the reason why there is none."""
    key = signature(cell), shapes
    with lock:
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
