"""The root cause behind checks that fail together: which operation, in which line, and what a kernel says of it."""

import os
import sys
import traceback
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rnnzoo.cells.contract import Cell
from rnnzoo.testing.case import Case, Inputs, cut, named, run

# what a step that reads values, or mixes the rows of a batch, fails as well
_VALUES = (
    "the step compiles whole",
    "the step exports",
    "it follows its device",
    "rows are independent",
    "lengths equal each sequence alone",
    "packed sequences equal lengths",
    "every kernel equals the reference",
)
_ROWS = _VALUES[4:]
_GRADIENTS = (
    "no parameter is dead",
    "gradients equal finite differences",
    "the step exports",
    "it runs under autocast with every kernel",
    "it follows its device",
)


class Cause(NamedTuple):
    """What is wrong with a step, and the checks that fail of it."""

    text: str
    follows: tuple[str, ...]


class _Watch(TorchDispatchMode):
    """Remembers where a number stops being finite, is drawn at random, or is read by Python."""

    def __init__(self, own_file: str | None):
        super().__init__()
        self.own_file = own_file
        self.breaks: list[str] = []
        self.draws: list[str] = []
        self.reads: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        whole = not self.breaks and _finite(args)
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if func is torch.ops.aten._local_scalar_dense.default:
            self.reads.append(self._place())
        elif torch.Tag.nondeterministic_seeded in func.tags:
            self.draws.append(f"{name}, {self._place()}")
        elif whole and name not in ("empty", "empty_like", "new_empty") and not _finite(out):
            self.breaks.append(f"{name} of finite numbers gives {_first_not_finite(out)}, {self._place()}")
        return out

    def _place(self) -> str:
        """The line of the cell that an operation belongs to."""
        frames = [f for f in traceback.extract_stack() if f.filename == self.own_file]
        return f"{_short(frames[-1].filename)}:{frames[-1].lineno}" if frames else "outside of the cell's own file"


def find_causes(cell: Cell, failed: Iterable[str], inputs: Inputs | None = None) -> list[Cause]:
    """Why the checks named in `failed` fail, where one reason explains several of them; the first comes first."""
    failed = tuple(failed)
    if not failed or "a step keeps the shapes and dtypes of the state" in failed:
        return []  # no step runs, and its own check says why
    with torch.random.fork_rng():
        torch.manual_seed(0)
        try:
            return _causes(Case(cell, inputs), failed)
        except Exception:  # a cell may fail in any way; each check says in which
            return []


def _causes(case: Case, failed: tuple[str, ...]) -> list[Cause]:
    start = case.cell.initial_state(case.B, case.cell.like(case.x))  # the case's own state is what steps have made
    with _Watch(getattr(sys.modules.get(type(case.given).__module__), "__file__", None)) as watch:
        y, last = run(case.cell, case.x, start, case.inputs)
    reason = fused_reason(case)
    if watch.draws:
        return [Cause(f"the step draws random numbers: {watch.draws[0]}{reason}", failed)]
    if not _finite([y, last]) and watch.breaks:
        return [Cause(watch.breaks[0], failed)]
    changed = _what_changes(case)
    if changed:
        return [Cause(f"{changed}{reason}", failed)]
    if watch.reads:
        text = f"the step reads the value of a tensor, by if, while, float() or .item(): {watch.reads[0]}{reason}"
        return [Cause(text, tuple(name for name in failed if name in _VALUES))]
    if not any(a.requires_grad for a in tree_leaves([y, last])) and any(True for _ in case.cell.parameters()):
        text = f"nothing that the step returns has a gradient, as after numpy, .detach() or torch.no_grad{reason}"
        return [Cause(text, tuple(name for name in failed if name in _GRADIENTS))]
    follows = tuple(name for name in failed if name in _ROWS)
    if "rows are independent" in failed and follows:
        text = f"one row of a batch has a part in another one: a mean, sum, norm or softmax over the batch axis{reason}"
        return [Cause(text, ("rows are independent", *follows))]
    return []


def _what_changes(case: Case) -> str:
    """What a step is besides a function of its arguments; nothing where it is one."""
    cell, s = case.cell, case.state
    u = cell.project(case.x[0], **cut(case.inputs, 0))
    before = {name: value for name, value in vars(cell).items() if not name.startswith("_")}
    old = {name: a.clone() for name, a in named(s, "state").items()}
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        results.append({name: a.clone() for name, a in named(cell.step(u, s), "state").items()})
    written = [name for name, a in named(s, "state").items() if not torch.equal(a, old[name])]
    if written:
        return f"the step changes its arguments in place: {written[0]}, as by mul_ or add_"
    names = [name for name, value in vars(cell).items() if not name.startswith("_") and before.get(name) is not value]
    if all(torch.equal(a, b) for a, b in zip(results[0].values(), results[1].values(), strict=True)):
        return ""
    if names:
        return f"the step changes the cell, so it is no function of its arguments: it sets self.{names[0]}"
    return "the same step from the same state gives another result each time: it is no function of its arguments"


def fused_reason(case: Case) -> str:
    """What ``explain`` says of the kernel that runs most cells, where none but the reference can run this one."""
    try:
        rows = {row.kernel: row.why_not for row in case.rnn_of(case.cell).explain(case.x, **case.inputs).rows}
    except Exception:
        return ""
    alone = all(reason for kernel, reason in rows.items() if kernel != "reference")
    return f" (explain: fused cannot: {rows['fused']})" if alone else ""


def _finite(tree: Any) -> bool:
    return all(bool(a.isfinite().all()) for a in _numbers(tree))


def _first_not_finite(tree: Any) -> str:
    return next(str(a[~a.isfinite()].flatten()[0].item()) for a in _numbers(tree) if not a.isfinite().all())


def _numbers(tree: Any) -> list[Tensor]:
    leaves = [a for a in tree_leaves(tree) if isinstance(a, Tensor)]
    return [a for a in leaves if a.is_floating_point() or a.is_complex()]


def _short(path: str) -> str:
    inside = os.path.relpath(path)
    return path if inside.startswith("..") else inside
