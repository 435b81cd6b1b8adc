"""Programs by cell: traced once, remembered by the cell's fingerprint, and shared by all cells that do the same."""

import ctypes
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten

from rnnzoo.cells.contract import Cell
from rnnzoo.kernels.fingerprint import Fingerprint, by_steps_alone, fingerprint, refuse
from rnnzoo.kernels.fused.alone import alone
from rnnzoo.kernels.fused.batch_size import ReadsBatchSize
from rnnzoo.kernels.fused.complex_numbers import parts
from rnnzoo.kernels.fused.ops import PROGRAMS
from rnnzoo.kernels.fused.places import ReadsPlaces
from rnnzoo.kernels.fused.products import why_no_compiler
from rnnzoo.kernels.fused.program import Program
from rnnzoo.kernels.fused.purity import contents, put_back, unchanged
from rnnzoo.kernels.fused.trace import Calls, Shapes, real_values, untraceable
from rnnzoo.kernels.fused.unsupported import Unsupported

_MOST = 256  # programs that are remembered


class Prepared(NamedTuple):
    """A traced cell: its program's key in PROGRAMS, and whether ``project`` is part of it."""

    key: str
    whole: bool


class _More(NamedTuple):
    """In a program's place: what else there is one for each of, the number of `rows` or the contents of `buffers`."""

    rows: bool = False
    buffers: tuple[str, ...] = ()


ROWS_CHANGE = "its step reads the batch size, which is another at every step where sequences have different lengths"
PLACES_HIDDEN = (
    "its step reads places of an axis from a buffer, whose numbers torch.compile and torch.export do not see"
)

_programs: OrderedDict[Any, Program | str | _More] = OrderedDict()  # or the reason why there is none
_known: OrderedDict[Any, Prepared | str | _More] = OrderedDict()
lock = threading.RLock()
forked = False


def _after_fork() -> None:
    global forked, lock
    forked, lock = True, threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def prepared(
    cell: Cell, dtype: torch.dtype, dims: int, inputs: Mapping[str, Tensor], rows: int | None = None
) -> Prepared | str:
    """The program of `cell` for x of a dtype behind `dims` axes and further inputs, or why there is none; `rows`: of a
    step, None where they change from step to step."""
    about = told(inputs, dims)
    if torch.compiler.is_compiling():
        found = _prepared_in_a_trace(id(cell), dtype, dims, about, None)
        if found == ROWS_CHANGE and rows is not None:  # int: which torch.compile may have left open
            found = _prepared_in_a_trace(id(cell), dtype, dims, about, int(rows))
        return found
    return _compilable(known(cell, dtype, dims, about, rows))


def told(inputs: Mapping[str, Tensor], dims: int) -> tuple[Any, ...]:
    """What a trace depends on of further inputs, whose rows lie behind `dims` axes."""
    return tuple((n, tuple(a.shape[dims:]), a.dtype) for n, a in inputs.items())


def _prepared_in_a_trace(
    ident: int, dtype: torch.dtype, dims: int, about: tuple[Any, ...], rows: int | None
) -> Prepared | str:
    """The same while torch.compile or torch.export looks on, to which it is a constant.

    By the cell's id, for constants alone may be handed over; what is being compiled keeps the cell alive. What is
    compiled runs without the cell, so its program looks at the cell itself.
    """
    cell = ctypes.cast(ident, ctypes.py_object).value
    with _disable_current_modes(), torch._C.DisableTorchFunction():
        found = _compilable(known(cell, dtype, dims, about, rows))
        if isinstance(found, str) or torch.compiler.is_exporting():
            return found
        mark = fingerprint(cell)
        assert isinstance(mark, Fingerprint)
        return found._replace(key=_watched(cell, mark, found.key))


def _watched(cell: Cell, mark: Fingerprint, key: str) -> str:
    """The key of a program that looks at the cell; the same at every call, for a trace sees PROGRAMS as it was."""
    known = id(cell), mark.digest, key
    program = PROGRAMS.get(_watches.get(known, ""))
    if program is None or program.watched_cell() is not cell:
        program = PROGRAMS[key].watching(cell, mark)
        PROGRAMS[program.key] = program
        _watches[known] = program.key
    return program.key


_watches: dict[tuple[int, str, str], str] = {}

_prepared_in_a_trace._dynamo_marked_constant = True  # type: ignore[attr-defined]  # without importing torch._dynamo


def _compilable(found: Prepared | str) -> Prepared | str:
    return found if isinstance(found, str) else why_no_compiler() or found


def known(cell: Cell, dtype: torch.dtype, dims: int, about: tuple[Any, ...], rows: int | None = None) -> Prepared | str:
    """The same whether or not it can be compiled; remembered."""
    mark = fingerprint(cell)
    if isinstance(mark, str):
        return mark
    batch: int | None = None
    chosen: tuple[tuple[str, bytes], ...] = ()
    while True:
        key = mark.digest, dtype, dims, about, batch, chosen
        found = _looked_up(_known, key)
        if found is None:
            held = contents(mark.containers)
            try:
                found = alone(partial(_prepare, cell, mark, dtype, dims, about, batch, chosen))
            except _ChangesInProject:
                by_steps_alone(cell)
                return known(cell, dtype, dims, about, rows)
            if not mark.holds(cell):
                reason = f"its step changes {mark.first_change(cell)}"
                put_back(held)
                refuse(cell, reason)
                return reason
            _remember(_known, key, found)
        if not isinstance(found, _More):
            return found
        more = _told_more(cell, found, rows)
        if isinstance(more, str):
            return more
        batch, chosen = (more, chosen) if found.rows else (batch, more)


def _told_more(cell: Cell, more: _More, rows: int | None) -> Any:
    """The number of rows, or the contents of buffers; or why they are not known."""
    if more.rows:
        return ROWS_CHANGE if rows is None else rows
    if torch.compiler.is_compiling():
        return PLACES_HIDDEN
    buffers = dict(cell.named_buffers()) | dict(cell.named_parameters())
    return tuple((name, buffers[name].detach().cpu().numpy().tobytes()) for name in more.buffers)


class _ChangesInProject(Exception):
    """A ``project`` that changes the cell: it is called as it stands, and is no part of a program."""


def _prepare(
    cell: Cell,
    mark: Fingerprint,
    dtype: torch.dtype,
    dims: int,
    about: tuple[Any, ...],
    batch: int | None,
    chosen: tuple[tuple[str, bytes], ...],
) -> Prepared | str | _More:
    """Traces a cell: with its ``project`` where that can be, otherwise from u on."""
    lead = (2,) if dims == 1 else (3, 2)
    with torch.random.fork_rng(devices=[]):
        x = torch.zeros(*lead, cell.input_size, dtype=dtype)
        if x.is_floating_point():  # whole numbers may count something: 0 is always there
            x.normal_()
        rows = {n: torch.ones(*lead, *shape, dtype=kind) for n, shape, kind in about}
        values = {f"cell.{n}": a for n, a in real_values(cell).items()}

        def call(method: str, *args: Any, **kwargs: Any) -> Any:
            return functional_call(Calls(cell), values, (method, *args), kwargs)

        with torch.no_grad():
            try:
                with unchanged(cell):
                    s = call("initial_state", lead[-1], torch.empty(0, dtype=cell.like(x).dtype))
                    u = call("project", x, **rows)
                changes = False
            except Unsupported:
                changes = True
            except Exception as error:
                return f"its project fails on two rows ({type(error).__name__}: {error})"
            if mark.of_project and (changes or not mark.holds(cell)):
                raise _ChangesInProject
            alike = mark.of_project and type(cell).readout is Cell.readout and _each_step_alone(call, u, x, rows)
    more: dict[str, Any] = {"batch": batch, "chosen": chosen}
    if alike:
        shapes = shapes_of(cell, (x, rows), s, dims, lead, whole=True)
        program = shapes if isinstance(shapes, str) else program_of(cell, mark, replace(shapes, **more))
        if not isinstance(program, str):
            return program if isinstance(program, _More) else Prepared(program.key, True)
    shapes = shapes_of(cell, u, s, dims, lead)
    program = shapes if isinstance(shapes, str) else program_of(cell, mark, replace(shapes, **more))
    return Prepared(program.key, False) if isinstance(program, Program) else program


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


def program_of(cell: Cell, mark: Fingerprint, shapes: Shapes) -> Program | str | _More:
    """The program of `cell` for u and states of some shapes, or the reason why there is none."""
    key = mark.digest, shapes
    found = _looked_up(_programs, key)
    if found is None:
        try:
            found = alone(lambda: Program(cell, mark, shapes))
            PROGRAMS[found.key] = found
        except ReadsBatchSize:
            found = _More(rows=True)
        except ReadsPlaces as error:
            found = _More(buffers=tuple(sorted(error.names)))
        except Exception as error:  # whatever a user's step may raise: the reference shows it where it stands
            found = str(untraceable(error))
        _remember(_programs, key, found)
    return found


def program_for(cell: Cell, shapes: Shapes, rows: int | None) -> Program | str:
    """The same for a number of rows."""
    mark = fingerprint(cell)
    if isinstance(mark, str):
        return mark
    while True:
        found = program_of(cell, mark, shapes)
        if not isinstance(found, _More):
            return found
        more = _told_more(cell, found, rows)
        if isinstance(more, str):
            return more
        shapes = replace(shapes, batch=more) if found.rows else replace(shapes, chosen=more)


def _looked_up(table: OrderedDict[Any, Any], key: Any) -> Any:
    with lock:
        found = table.get(key)
        if found is not None:
            table.move_to_end(key)
        return found


def _remember(table: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    with lock:
        table[key] = value
        while len(table) > _MOST:
            table.popitem(last=False)
