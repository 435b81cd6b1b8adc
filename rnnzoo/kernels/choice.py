"""Which kernel runs: the one asked for, or the cheapest of those that can."""

import html
import importlib.util
import warnings
from collections.abc import Callable, Hashable
from typing import NamedTuple, TypeVar

import torch

from rnnzoo.cells.registry import kind, name_of
from rnnzoo.errors import RnnZooError, did_you_mean
from rnnzoo.kernels.base import Kernel, Work
from rnnzoo.kernels.fused import Fused
from rnnzoo.kernels.linear_scan import LinearScan
from rnnzoo.kernels.native import Native
from rnnzoo.kernels.reference import Reference
from rnnzoo.kernels.vendor import said

R = TypeVar("R")
KERNELS: dict[str, Kernel] = {kernel.name: kernel for kernel in (Fused(), Native(), LinearScan(), Reference())}

if importlib.util.find_spec("triton") is not None:  # found, not imported: that takes a second
    from rnnzoo.kernels.triton import Triton

    KERNELS["triton"] = Triton()


def check_kernel(name: str) -> str:
    """`name`, or an error for a kernel that does not exist."""
    if name != "auto" and name not in KERNELS:
        known = ", ".join(["auto", *KERNELS])
        raise RnnZooError(f"unknown kernel {name!r}{did_you_mean(str(name), ['auto', *KERNELS])} there are: {known}")
    return name


def choose(name: str, work: Work) -> Kernel:
    """The kernel that runs `work`: `name`, or with "auto" the cell's pinned one, or the cheapest that can.

    Raises:
        RnnZooError: the kernel asked for cannot run `work`; it says why, and what "auto" would use.
    """
    pinned = work.layers[0][0].pinned if name == "auto" else None
    if name == "auto" and pinned is None:
        # the cheapest is asked first: an answer can take a trace of the cell
        return next(k for k in _by_cost(work) if why_not(k, work) is None)
    kernel = KERNELS[pinned or name]
    reason = why_not(kernel, work)
    if reason is None:
        return kernel
    if pinned:
        cell = name_of(kind(work.layers[0][0]))
        raise RnnZooError(f"cell {cell!r} is pinned to kernel {pinned!r}, which cannot run this RNN: {reason}")
    other = choose("auto", work).name
    raise RnnZooError(f"kernel {name!r} cannot run this RNN: {reason}; kernel='auto' would use {other!r}")


def _by_cost(work: Work) -> list[Kernel]:
    """The kernels, the cheapest first."""
    if not torch.compiler.is_compiling():
        return sorted(KERNELS.values(), key=lambda k: k.cost(work))
    # sizes may be symbols, which a comparison of costs would tie to one side of it. A graph has one operation where
    # `fused` runs, and every step of torch's loops; who loads what was exported may have no rnnzoo
    names = ("native", "linear_scan") if torch.compiler.is_exporting() else ("fused", "linear_scan", "native")
    return [KERNELS[name] for name in (*names, "reference")]


def why_not(kernel: Kernel, work: Work) -> str | None:
    """The reason why a kernel cannot run `work`: what it says, or what it failed with when it tried."""
    reason = kernel.why_not(work)
    return reason if reason or not _SET_ASIDE else _SET_ASIDE.get((kernel.name, _alike(work)))


def run(name: str, work: Work, how: Callable[[Kernel, Work], R]) -> R:
    """``how(kernel, work)`` by the kernel that `name` means. One that fails with its compiler's or its vendor's own
    error is set aside for calls like this one, with a warning, and the next one runs.

    Raises:
        RnnZooError: as ``choose``, also for a kernel that was asked for and fails so.
    """
    kernel = choose(name, work)
    if torch.compiler.is_compiling():
        return how(kernel, work)
    try:
        return how(kernel, work)
    except Exception as error:
        if not kernel.cannot_after_all(error):
            raise
        _SET_ASIDE[kernel.name, _alike(work)] = reason = f"it failed: {said(error)}"
    other = choose(name, work).name  # an error where the kernel was asked for by its name
    warnings.warn(f"kernel {kernel.name!r} is set aside, and {other!r} runs in its place: {reason}", stacklevel=3)
    return run(name, work, how)


_SET_ASIDE: dict[tuple[str, Hashable], str] = {}  # with the reason


def _alike(work: Work) -> Hashable:
    """What calls have in common of which a kernel can run all or none."""
    device = work.x.device.type
    narrow = torch.get_autocast_dtype(device) if device != "meta" and torch.is_autocast_enabled(device) else None
    cells = tuple((kind(cell), cell.input_size, cell.hidden_size, cell.like(work.x).dtype) for cell in work.cells)
    return device, work.x.dtype, narrow, torch.is_grad_enabled(), type(work.layout), cells


def likely(work: Work) -> str:
    """The name of the kernel that "auto" takes, found without a trace: for a table of many cells."""
    able = (k for k in sorted(KERNELS.values(), key=lambda k: k.cost(work)) if k.likely_why_not(work) is None)
    return work.layers[0][0].pinned or next(able).name


class Row(NamedTuple):
    """One kernel's answer."""

    kernel: str
    why_not: str | None
    milliseconds: float | None = None
    remark: str = ""


class Explanation(NamedTuple):
    """Which kernel runs, and what each of them answers; prints as a table."""

    chosen: str
    rows: tuple[Row, ...]

    def __str__(self) -> str:
        lines = [f"runs by {self.chosen!r} (estimates of forward and backward; only their order matters)"]
        for kernel, why_not, ms, remark in self.rows:
            said = f"cannot: {why_not}" if why_not else "; ".join(filter(None, (f"can, about {ms:.3g} ms", remark)))
            lines.append(f"{'->' if kernel == self.chosen else '  '} {kernel:12} {said}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The table, in a notebook."""
        rows = []
        for kernel, why_not, ms, remark in self.rows:
            said = f"cannot: {why_not}" if why_not else "; ".join(filter(None, ("can", remark)))
            cells = (kernel, "" if ms is None else f"{ms:.3g} ms", said)
            tag = "th" if kernel == self.chosen else "td"  # bold
            rows.append("".join(f"<{tag} style='text-align: left'>{html.escape(cell)}</{tag}>" for cell in cells))
        head = "<th>kernel</th><th>forward and backward, about</th><th>answer</th>"
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><caption>runs by {self.chosen}</caption><tr>{head}</tr>{body}</table>"

    def why_reference(self, other: str) -> str:
        """Why the loop in Python runs and not the kernel `other`, in a sentence; empty where another kernel runs."""
        if self.chosen != "reference":
            return ""
        reason = next((row.why_not for row in self.rows if row.kernel == other), f"there is no {other} here")
        why = f"{other} cannot: {reason}" if reason else f"{other} can, but is estimated to be slower at this size"
        return f"kernel 'reference' is a loop in Python; {why}"


def explain(name: str, work: Work) -> Explanation:
    """What every kernel answers to `work`, and the one that runs it."""
    rows = []
    for kernel in KERNELS.values():
        reason = why_not(kernel, work)
        can = () if reason else (kernel.cost(work), kernel.remark(work))
        rows.append(Row(kernel.name, reason, *can))
    return Explanation(choose(name, work).name, tuple(rows))
