"""Traces and plans in the user's cache folder, beside the libraries made of them.

To trace a cell takes a second in a new process, most of it torch's own start. So what a trace came to is kept, under a
key of all that it depends on: the cell's fingerprint, this package, torch and Python. What is found is run once beside
the cell's ``step``, forward and backward, for two numbers of rows, and made anew where they differ.
"""

import hashlib
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from rnnzoo.cache import written_aside
from rnnzoo.cells.contract import Cell
from rnnzoo.kernels.fingerprint import Fingerprint
from rnnzoo.kernels.fused.build import Source, checksum, kernel_folder, read_whole
from rnnzoo.kernels.fused.code import Code
from rnnzoo.kernels.fused.plan import Plan
from rnnzoo.kernels.fused.trace import Shapes, check_agreement

_ROOT = Path(__file__).parents[2]  # of this package


@dataclass(frozen=True)
class Made:
    """What a trace came to: see ``Traced``; `source`: C."""

    names: tuple[str, ...]
    early: Code
    joint: Code
    emits_pairs: bool
    plan: Plan
    source: Source


def made_once(cell: Cell, mark: Fingerprint, shapes: Shapes, make: Callable[[Cell, Shapes], Made]) -> Made:
    """What a cell's trace came to: what was kept of it, or what `make` returns, which is kept where that can be."""
    if not mark.portable:
        return make(cell, shapes)
    name = _file(mark, shapes)
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
        check_agreement(cell, shapes, made.names, made.early, made.joint)
    except Exception:  # whatever another version may have left there: it is made anew
        return None
    return made


def _file(mark: Fingerprint, shapes: Shapes) -> str:
    """The name that a trace is kept by."""
    state = f"{shapes.state.__module__}.{shapes.state.__qualname__}"
    parts = shapes.leaves, repr(shapes.structure), shapes.fields, state, shapes.dtype
    more = shapes.complex_leaves, shapes.complex_fields, shapes.whole, shapes.batch, shapes.chosen
    machine = torch.__version__, torch.get_default_dtype(), sys.version, _own_source()
    return f"plan-{hashlib.sha256(repr((mark.digest, parts, more, machine)).encode()).hexdigest()[:24]}.pickle"


@cache
def _own_source() -> str:
    """A digest of this package: what another version has made is not read."""
    found = hashlib.sha256()
    for path in sorted(p for p in _ROOT.rglob("*") if p.suffix in (".py", ".c", ".h")):
        found.update(f"{path.relative_to(_ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()
