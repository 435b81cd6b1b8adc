"""Which kernel runs: the one asked for, or the cheapest of those that can."""

import html
import importlib.util
from typing import NamedTuple

from rnnzoo.cells.registry import kind, name_of
from rnnzoo.errors import RnnZooError, did_you_mean
from rnnzoo.kernels.base import Kernel, Work
from rnnzoo.kernels.fused import Fused
from rnnzoo.kernels.linear_scan import LinearScan
from rnnzoo.kernels.native import Native
from rnnzoo.kernels.reference import Reference

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
        return next(k for k in sorted(KERNELS.values(), key=lambda k: k.cost(work)) if k.why_not(work) is None)
    kernel = KERNELS[pinned or name]
    reason = kernel.why_not(work)
    if reason is None:
        return kernel
    if pinned:
        cell = name_of(kind(work.layers[0][0]))
        raise RnnZooError(f"cell {cell!r} is pinned to kernel {pinned!r}, which cannot run this RNN: {reason}")
    other = choose("auto", work).name
    raise RnnZooError(f"kernel {name!r} cannot run this RNN: {reason}; kernel='auto' would use {other!r}")


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
        reason = kernel.why_not(work)
        can = () if reason else (kernel.cost(work), kernel.remark(work))
        rows.append(Row(kernel.name, reason, *can))
    return Explanation(choose(name, work).name, tuple(rows))
