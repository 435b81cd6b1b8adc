"""The fingerprint of a cell: taken by a walk, remembered on the cell, and checked at every call."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch

from rnnzoo.cells.contract import CLASS_CHANGES, Cell
from rnnzoo.cells.registry import kind, name_of
from rnnzoo.kernels.fingerprint.objects import MEMORY
from rnnzoo.kernels.fingerprint.walk import ROOTS, TooMuch, Walk

C = TypeVar("C", bound=Cell)
_KEPT = 4  # fingerprints a cell, so that what changes to and fro, as a mode does, costs no walk
_MANY = 50  # fingerprints after which a cell's user is told
_ROUNDS = 40  # of a walk: each but the last finds a name


class Fingerprint(NamedTuple):
    """What a cell's step can depend on, the numbers of parameters and buffers aside.

    `digest` is the same for cells that do the same, in every process where it is `portable`; `holds(cell)` says
    whether it still is that cell's, and `first_change(cell)` what has changed where it is not.
    """

    digest: str
    portable: bool
    holds: Callable[[Cell], bool]
    first_change: Callable[[Cell], str | None]
    containers: tuple[Any, ...]
    of_project: bool  # whether it is of ``project`` too


class Memory:
    """A cell's fingerprints; a copy of the cell begins without."""

    def __init__(self) -> None:
        self.recent: list[Fingerprint] = []
        self.count = 0
        self.roots = ROOTS
        self.around: dict[type, Memory] = {}  # of cells around this one that live for one call
        self.refusal: tuple[int, str] | None = None  # of what was seen at a time of CLASS_CHANGES

    def __deepcopy__(self, memo: Any) -> "Memory":
        return Memory()

    def __reduce__(self) -> tuple[Any, ...]:
        return Memory, ()


def fingerprint(cell: Cell) -> Fingerprint | str:
    """The fingerprint of `cell` as it is now, or why it has none."""
    memory = remember_on(cell)
    if memory.refusal is not None and memory.refusal[0] == CLASS_CHANGES[0]:
        return memory.refusal[1]
    recent = memory.recent
    for k, found in enumerate(recent):
        if found.holds(cell):
            if k:
                recent.insert(0, recent.pop(k))
            return found
    try:
        found = _taken(cell, memory.roots)
    except TooMuch as error:
        refuse(cell, str(error))
        return str(error)
    if all(found.digest != old.digest for old in recent):
        memory.count += 1
        if memory.count == _MANY:
            warnings.warn(
                f"{name_of(kind(cell))} was traced for {_MANY} values of {recent[0].first_change(cell)}, and each takes"
                " a trace and a run of the compiler: what changes from call to call is better a buffer, or an input of"
                " project",
                stacklevel=2,
            )
    recent.insert(0, found)
    del recent[_KEPT:]
    return found


def remember_on(cell: Cell) -> Memory:
    """The memory of a cell, which a copy of its attributes shares."""
    memory: Memory | None = vars(cell).get(MEMORY)
    if memory is None:
        vars(cell)[MEMORY] = memory = Memory()
    return memory


def for_one_call(outer: C, inner: Cell) -> C:
    """`outer`, a cell around `inner` that is made anew for every call: its fingerprints are kept with `inner`."""
    if not torch.compiler.is_compiling():
        vars(outer)[MEMORY] = remember_on(inner).around.setdefault(type(outer), Memory())
    return outer


def refuse(cell: Cell, reason: str) -> None:
    """Has `cell` answer with a reason in place of a fingerprint, until a class changes."""
    memory: Memory = vars(cell)[MEMORY]
    memory.refusal = CLASS_CHANGES[0], reason


def by_steps_alone(cell: Cell) -> None:
    """Leaves out of the cell's fingerprints what ``project`` reads, which changes the cell at every call."""
    memory: Memory = vars(cell)[MEMORY]
    memory.roots = ROOTS - {"project", "readout"}
    memory.recent.clear()


_live: dict[tuple[type, frozenset[str]], frozenset[str] | None] = {}  # what was live in a cell of the same class


def _taken(cell: Cell, roots: frozenset[str]) -> Fingerprint:
    """Walks until the names that are looked at are those that reachable code loads."""
    live = _live.get((type(cell), roots), roots)
    for _ in range(_ROUNDS):
        walk = Walk(live, roots)
        walk.cell(cell)
        if walk.reached == live:
            break
        live = walk.reached
    else:
        walk = Walk(None, roots)
        walk.cell(cell)
    _live[type(cell), roots] = walk.live
    checks = walk.checks
    return Fingerprint(
        *(walk.digest, walk.portable, checks.compiled(), checks.first_change),
        *(tuple(walk.containers), "project" in roots),
    )
