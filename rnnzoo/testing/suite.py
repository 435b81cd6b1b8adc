"""The suite: running the checks, and saying what failed and where to look."""

import contextlib
import io
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from rnnzoo.cells.contract import Cell
from rnnzoo.errors import RnnZooError, did_you_mean
from rnnzoo.testing.case import Case, Inputs
from rnnzoo.testing.causes import Cause, find_causes
from rnnzoo.testing.checks import CHECKS, Check, Skip


class Result(NamedTuple):
    """What one check answered."""

    name: str
    passed: bool
    message: str = ""  # what was expected, what came, and where to look; or why the check was skipped
    skipped: bool = False  # it does not apply, and counts as passed


def check_cell(cell: Cell, *, inputs: Inputs | None = None, slow: bool = True) -> None:
    """Runs every check on copies of `cell`, in float64, with a time and a batch axis of sizes that differ from its own.

    A cell with a limit says so on its class, and why: ``limits = {"the step exports": "it calls numpy"}``.

    >>> from rnnzoo.cells import create
    >>> check_cell(create("gru", 3, 5), slow=False)

    Args:
        cell: an instance whose sizes differ, so that no swapped axis can hide: ``MyCell(3, 5)``.
        inputs: how to make what the cell takes besides x, ``{"dt": lambda T, B: torch.rand(T, B)}``; what is not
            given is made as positive numbers of shape (T, B, 1).
        slow: whether to compile and to export the step as well, some tenths of a second.

    Raises:
        AssertionError: checks that failed, each with what was expected, what came, and where to look.
        RnnZooError: `cell` is not an instance of Cell, or `inputs` names what it does not take.
    """
    results = run_checks(cell, inputs=inputs, slow=slow)
    failed = [r for r in results if not r.passed]
    if failed:
        causes = find_causes(cell, [r.name for r in failed], inputs)
        raise AssertionError(
            "\n".join([f"{cell} fails {len(failed)} of {len(results)} checks:", *report(failed, causes)])
        )


def report(failed: list[Result], causes: list[Cause], mark: str = "- ") -> list[str]:
    """A line for each root cause, with the checks that fail of it, and one for each check that fails by itself."""
    lines = [f"{mark}{cause.text}; of that {_which_fail(cause.follows)}" for cause in causes]
    explained = {name for cause in causes for name in cause.follows}
    return lines + [f"{mark}{r.name}: {r.message}" for r in failed if r.name not in explained]


def run_checks(cell: Cell, *, inputs: Inputs | None = None, slow: bool = True) -> list[Result]:
    """What every check answers; arguments as in ``check_cell``."""
    if not isinstance(cell, Cell):
        given = f"the class {cell.__name__}" if isinstance(cell, type) else f"a {type(cell).__name__}"
        raise RnnZooError(f"check_cell takes an instance such as MyCell(3, 5), not {given}")
    unknown = set(inputs or {}) - set(cell.inputs)
    if unknown:
        takes = ", ".join(cell.inputs) or "nothing"
        raise RnnZooError(f"inputs names {sorted(unknown)}, but {type(cell).__name__} takes {takes} besides x")
    for name in cell.limits:
        if name not in CHECKS:
            near = did_you_mean(name, CHECKS)
            raise RnnZooError(f"{type(cell).__name__}.limits has no check {name!r}{near} `rnnzoo check` lists them")
    results: list[Result] = []
    with torch.random.fork_rng():
        for name, check in CHECKS.items():
            if results and not results[0].passed:
                results.append(Result(name, True, "no step runs: see the first check", skipped=True))
            elif slow or not check.slow:
                results.append(_answer(name, check, cell, inputs))
    return results


def checks() -> dict[str, Callable[[Case], None]]:
    """Every check by name: a function of a case that raises AssertionError with what was expected and what came."""
    return {name: check.run for name, check in CHECKS.items()}


def _answer(name: str, check: Check, cell: Cell, inputs: Inputs | None) -> Result:
    if name in cell.limits:
        return Result(name, True, cell.limits[name], skipped=True)
    torch.manual_seed(0)
    try:
        with _quiet() if check.slow else contextlib.nullcontext():
            check.run(Case(cell, inputs))
    except Skip as reason:
        return Result(name, True, str(reason), skipped=True)
    except AssertionError as error:
        return Result(name, False, f"{error}; look {check.look}")
    except Exception as error:  # the cell's own, or one of torch that it caused
        text = str(error).strip().split("\n")[0]
        return Result(name, False, f"it raised {type(error).__name__}: {text} ({_place(error, cell)})")
    return Result(name, True)


def _which_fail(names: tuple[str, ...]) -> str:
    few = len(names) <= 5
    return f"{'fails' if len(names) == 1 else 'fail'}: {', '.join(names)}" if few else f"fail {len(names)} checks"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the graphs that torch prints of a step that it cannot compile: what it raises says enough."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _place(error: Exception, cell: Cell) -> str:
    """Where `error` came from, in the cell's own file if it passed there."""
    frames = traceback.extract_tb(error.__traceback__)
    own_file = getattr(sys.modules.get(type(cell).__module__), "__file__", None)
    own = [f for f in frames if f.filename == own_file]
    frame = (own or frames)[-1]
    return f"{frame.filename}:{frame.lineno}"
