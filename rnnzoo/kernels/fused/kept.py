"""Traces and plans in the user's cache folder, beside the libraries made of them.

To trace a cell takes a second in a new process, most of it torch's own start. So what a trace came to is kept, under a
key of all that it depends on: the cell's signature, this package, torch, and the modules of the cell's classes and
whatever is imported there, by content. Where these are not all this package's own, what is found is also run once
beside the cell's ``step`` before it is used, and made anew where they differ.
"""

import hashlib
import pickle
import sys
import sysconfig
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from rnnzoo.cache import written_aside
from rnnzoo.cells.contract import Cell
from rnnzoo.kernels.fused.build import Source, checksum, kernel_folder, read_whole
from rnnzoo.kernels.fused.code import Code
from rnnzoo.kernels.fused.plan import Plan
from rnnzoo.kernels.fused.signature import Identity, signature
from rnnzoo.kernels.fused.trace import Shapes, check_agreement

_ROOT = Path(__file__).parents[2]  # of this package


@dataclass(frozen=True)
class Made:
    """What a trace came to: see ``Traced``; `source`: C."""

    names: tuple[str, ...]
    early: Code
    joint: Code
    batch: int
    emits_pairs: bool
    plan: Plan
    source: Source


class _Untold(Exception):
    """A part of a key that only this process knows."""


def made_once(cell: Cell, shapes: Shapes, make: Callable[[Cell, Shapes], Made]) -> Made:
    """What a cell's trace came to: what was kept of it, or what `make` returns, which is kept where that can be."""
    name = _file(cell, shapes)
    if name is None:
        return make(cell, shapes)
    path = kernel_folder(name) / name
    made = _load(path, cell, shapes)
    if made is None:
        made = make(cell, shapes)
        try:
            content = pickle.dumps(made)
            with written_aside(path) as aside:
                aside.write_bytes(content + checksum(content))
        except (pickle.PicklingError, TypeError, AttributeError, RecursionError, OSError):
            pass  # no pickle of it, or no room: the next process traces anew
    return made


def _load(path: Path, cell: Cell, shapes: Shapes) -> Made | None:
    """What was kept in a file, if it is whole and does what the cell does now."""
    content = read_whole(path)
    if content is None:
        return None
    try:
        made: Made = pickle.loads(content)
        if not _ours(cell):
            check_agreement(cell, shapes, made.names, made.early, made.joint, made.batch)
    except Exception:  # whatever another version may have left there: it is made anew
        return None
    return made


def _file(cell: Cell, shapes: Shapes) -> str | None:
    """The name that a trace is kept by; None for a cell that cannot be told from others in words."""
    try:
        parts = signature(cell), shapes.leaves, repr(shapes.structure), shapes.fields, shapes.state, shapes.dtype
        told = _sources(cell), _told(parts), shapes.complex_leaves, shapes.complex_fields, shapes.whole
    except (_Untold, TypeError, OSError):
        return None
    more = torch.__version__, torch.get_default_dtype(), sys.version, _own_source()
    return f"plan-{hashlib.sha256(repr((told, more)).encode()).hexdigest()[:24]}.pickle"


def _told(value: Any) -> str:
    """A signature in words that mean the same in every process."""
    if isinstance(value, Identity):
        raise _Untold
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, types.CodeType):
        return _told((value.co_name, value.co_code, value.co_consts, value.co_names, value.co_freevars))
    if isinstance(value, frozenset):
        return "{" + ", ".join(sorted(map(_told, value))) + "}"
    if isinstance(value, tuple) and not isinstance(value, torch.Size):
        return "(" + ", ".join(map(_told, value)) + ")"
    return repr(value)


def _ours(cell: Cell) -> bool:
    """Whether all that a cell is made of is this package's, as it was written."""
    classes = {c for module in cell.modules() for c in type(module).__mro__}
    own = [c for c in classes if c.__module__.partition(".")[0] == "rnnzoo"]
    functions = [f for c in own for f in vars(c).values() if isinstance(f, types.FunctionType)]
    places = str(_ROOT), "<string>"  # the latter of what dataclasses and named tuples write
    written = all(f.__code__.co_filename.startswith(places) for f in functions)
    return written and all(c in own or c.__module__.partition(".")[0] in ("torch", "builtins") for c in classes)


def _sources(cell: Cell) -> list[tuple[str, str]]:
    """The modules that a cell's functions come from or can reach, each with a digest of its text and of its constants;
    of a library that is installed, its version."""
    todo = [c.__module__ for module in cell.modules() for c in type(module).__mro__]
    found: dict[str, str] = {}
    while todo:
        name = todo.pop()
        top = name.partition(".")[0]
        if name in found or top in ("rnnzoo", "torch", *sys.stdlib_module_names - {"__main__"}):
            continue
        module = sys.modules.get(name)
        path = getattr(module, "__file__", None)
        if module is None or path is None:
            raise _Untold  # made by hand, or typed in
        if _installed(path):
            found[name] = str(getattr(sys.modules.get(top), "__version__", Path(path).stat().st_mtime_ns))
            continue
        constants = []
        for key, value in vars(module).items():
            if isinstance(value, types.ModuleType):
                todo.append(value.__name__)
            elif isinstance(value, type | types.FunctionType):
                todo.append(value.__module__)
            elif isinstance(value, bool | int | float | complex | str | tuple) and not key.startswith("__"):
                constants.append((key, repr(value)))
        found[name] = hashlib.sha256(Path(path).read_bytes() + repr(constants).encode()).hexdigest()
    return sorted(found.items())


def _installed(path: str) -> bool:
    """Whether a file is a library's."""
    return any(Path(path).is_relative_to(sysconfig.get_path(k)) for k in ("stdlib", "purelib", "platlib"))


@cache
def _own_source() -> str:
    """A digest of this package: what another version has made is not read."""
    found = hashlib.sha256()
    for path in sorted(p for p in _ROOT.rglob("*") if p.suffix in (".py", ".c", ".h")):
        found.update(f"{path.relative_to(_ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()
