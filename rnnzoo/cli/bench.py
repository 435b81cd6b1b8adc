"""``rnnzoo bench``: kernels and peers on the same work."""

import argparse
import contextlib
import dataclasses
import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import torch

from rnnzoo.benchmark import report
from rnnzoo.benchmark.machine import describe, gemm_peak
from rnnzoo.benchmark.measure import CELL_STEP, Job, Results, geometric_means, measure, prepared, set_shares
from rnnzoo.benchmark.peers import PEERS, check_peer
from rnnzoo.benchmark.rounds import WARM
from rnnzoo.benchmark.setting import PRECISIONS, SIZES, WHAT, Setting
from rnnzoo.cells.contract import at_least_one
from rnnzoo.cells.registry import create, list_cells
from rnnzoo.cli.commands import CellArgs
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels import KERNELS, check_kernel

Group = list[Job]


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    peers = ", ".join(name for name, peer in PEERS.items() if peer.by_default)
    several: dict[str, Any] = {"action": "extend", "nargs": "+"}
    add = parser.add_argument
    add("--cell", **several, help="registered names or import paths such as my_lab.cells.Leaky (default: lstm gru)")
    add("--cell-args", action=CellArgs, default={}, help="the cells' own arguments: '{\"beta\": 0.5}'")
    add("--all", action="store_true", help="every registered cell by `auto` on one size, beside lstm")
    add("--sizes", **several, metavar="B,T,I,H", help=f"batch, time, input, hidden (default: {_plain(SIZES)})")
    add("--what", nargs="+", choices=list(WHAT), default=["backward"], help="; ".join(map(": ".join, WHAT.items())))
    add("--kernels", nargs="*", metavar="KERNEL", help="(default: auto, and every one that can run the cell)")
    add("--peers", nargs="*", metavar="PEER", help=f"of {', '.join(PEERS)} (default: {peers}; where installed)")
    add("--against", metavar="NAME", help="the kernel or peer that ratios are to (default: the first peer)")
    add("--precision", choices=list(PRECISIONS), default="float32", help="bf16 is autocast; default: float32")
    add("--tf32", choices=["on", "off"], help="on CUDA, for cuDNN and products alike (default: as torch has it)")
    add("--layers", type=int, default=1)
    add("--bidirectional", action="store_true")
    add("--lengths", action="store_true", help="random lengths from T/4 to T, as a PackedSequence")
    add("--no-input-grad", action="store_true", help="x needs no gradient; behind an embedding it does")
    add("--device", default="cpu")
    add("--threads", type=int, default=torch.get_num_threads(), help="default: torch's")
    add("--rounds", type=int, default=9, help=f"that count, behind {WARM} that do not (default: 9)")
    add("--memory", action="store_true", help="peak memory on a CPU too, by a process for each; on CUDA always")
    add("--cold", action="store_true", help="compile anew, in an empty cache folder, for the column `first`")
    add("--json", metavar="FILE", help="or a folder: then named by the processor and the day; kept up while running")


def run(given: argparse.Namespace) -> int:
    """Checks everything, and then times it."""
    groups = groups_of(given)
    machine: dict[str, Any] = describe(given.device)
    path = None
    if given.json:
        path = report.json_path(given.json, machine["gpu"] or machine["processor"], machine["when"][:10])
    with contextlib.ExitStack() as stack:
        stack.enter_context(prepared(given.threads, given.tf32))
        if given.cold:
            stack.enter_context(empty_caches())
        # of the faster kind where either may use it: a share is never of less than the vendor could reach
        tf32 = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
        machine |= {"threads": given.threads, "tf32": tf32 if machine["gpu"] else None}
        print(
            f"{machine['gpu'] or machine['processor']}, {given.threads} threads, torch {machine['torch']},"
            f" {given.rounds} rounds\n",
            flush=True,
        )
        results, peak = Results(), 0.0
        with progress(groups, given.rounds) as (tick, say):
            for group in groups:
                # the best so far: on a machine that others use too, one moment's may be half of it
                with prepared(given.threads, "on" if tf32 else "off"):
                    peak = max(peak, gemm_peak(given.device, PRECISIONS[given.precision]))
                machine["gemm_peak_gflops"] = peak
                moved = functools.partial(tick, weight_of(group))
                found = measure(group, given.rounds, given.against, given.memory, moved)
                results.rows += found.rows
                results.left_out += found.left_out
                set_shares(results.rows, peak)
                cells = " ".join(dict.fromkeys(job.setting.cell for job in group))
                say(report.title(group[0].setting, "all cells" if given.all else cells))
                say(report.table(found.rows, given.all) + "\n" if found.rows else "  nothing could be timed\n")
                if path:
                    options = {k: v for k, v in vars(given).items() if k != "json"}  # where it lies is the reader's
                    report.write(path, report.document(results, machine, options))
    means = [] if given.all else geometric_means(results.rows)
    print(f"GEMM peak: {peak:,.0f} GFLOP/s")
    for text in (report.closing(means), report.absent(results, given.peers is not None)):
        if text:
            print(text)
    if path:
        print(f"results: {path}")
    return 0 if results.rows else 1


def groups_of(given: argparse.Namespace) -> list[Group]:
    """The jobs that take turns with each other, a group a table.

    Raises:
        RnnZooError: an option that cannot be.
    """
    for name in ("layers", "threads"):
        at_least_one(f"--{name}", getattr(given, name))
    if given.rounds < 2:
        raise RnnZooError(f"--rounds must be a whole number of at least 2, for a spread, not {given.rounds}")
    if given.bidirectional and "step" in given.what:
        raise RnnZooError("--what step needs one direction: a backward one starts at a sequence's end")
    check_device(given.device)
    kernels = [*map(check_kernel, given.kernels if given.kernels is not None else [*KERNELS, "auto"])]
    default = [name for name, peer in PEERS.items() if peer.by_default]
    peers = [*map(check_peer, given.peers if given.peers is not None else default)]
    # peers first: what torch loads in its first call is not a kernel's time to compile
    names = list(dict.fromkeys([*peers, *kernels]))
    if not names:
        raise RnnZooError("--kernels and --peers are both empty: there is nothing to time")
    if given.against and given.against not in names:
        raise RnnZooError(f"--against {given.against!r} is not among what is timed: {', '.join(names)}")
    if given.all and given.cell:
        raise RnnZooError(f"--all times every registered cell, and --cell {' '.join(given.cell)} some: give one")
    sizes = [size_of(text) for text in given.sizes] if given.sizes else SIZES[1:2] if given.all else SIZES
    if given.all and len(sizes) > 1:
        raise RnnZooError(f"--all takes one of --sizes, not {len(sizes)}")
    B, T, I, H = sizes[0]
    shared = Setting(
        "lstm",
        *(B, T, I, H),
        layers=given.layers,
        bidirectional=given.bidirectional,
        precision=given.precision,
        lengths=given.lengths,
        device=given.device,
        threads=given.threads,
        input_grad=not given.no_input_grad,
        cell_args=given.cell_args,
    )
    if given.all:
        cells = ["lstm", *(cell for cell in list_cells() if cell != "lstm")]
        return [[Job(dataclasses.replace(shared, cell=c, what=what), "auto") for c in cells] for what in given.what]
    cells = list(dict.fromkeys(given.cell or ["lstm", "gru"]))
    for cell in cells:
        create(cell, I, H, **given.cell_args)
    groups = []
    for cell in cells:
        for what in dict.fromkeys(given.what):
            for B, T, I, H in sizes:
                setting = dataclasses.replace(shared, cell=cell, what=what, B=B, T=T, I=I, H=H)
                own = [CELL_STEP] if what == "step" and kernels else []
                groups.append([Job(setting, name) for name in (*names, *own)])
    return groups


def size_of(text: str) -> tuple[int, int, int, int]:
    """B, T, I, H."""
    try:
        B, T, I, H = (int(part) for part in text.split(","))
    except ValueError:
        B = T = I = H = 0
    if min(B, T, I, H) < 1:
        raise RnnZooError(
            f"--sizes takes B,T,I,H, four whole numbers of at least 1 such as 32,128,256,256, not {text!r}"
        )
    return B, T, I, H


def check_device(name: str) -> None:
    """Raises RnnZooError for a device that torch does not have here."""
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        said = str(error).strip().split("\n")[0]
        raise RnnZooError(f"--device {name!r} cannot be used: {said}") from None


@contextlib.contextmanager
def empty_caches() -> Iterator[None]:
    """Nothing that was compiled before is found: by fused, by Triton, by inductor."""
    names = ("RNNZOO_CACHE", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
    before = {name: os.environ.get(name) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update({name: os.path.join(folder, name) for name in names})
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def weight_of(group: Group) -> float:
    """How long a round of a group takes, in no unit: products, and a step's fixed time."""
    s = group[0].setting
    T = 1 if s.what == "step" else s.T
    return len(group) * T * s.layers * (s.B * s.H * (s.I + s.H) + 1e6) * (3 if s.what == "backward" else 1)


@contextlib.contextmanager
def progress(groups: list[Group], rounds: int) -> Iterator[tuple[Callable[[float], Any], Callable[[str], Any]]]:
    """A bar on standard error, where that is a terminal; how to move it, and how to print beside it."""
    if not sys.stderr.isatty():
        yield lambda weight: None, lambda text: print(text, flush=True)
        return
    from tqdm import tqdm

    total = sum(map(weight_of, groups)) * (rounds + WARM)
    form = "{percentage:3.0f}% |{bar:30}| {elapsed}, {remaining} to go"
    with tqdm(total=total, bar_format=form, leave=False) as bar:
        yield bar.update, lambda text: tqdm.write(text, file=sys.stdout)


def _plain(sizes: list[tuple[int, int, int, int]]) -> str:
    return " ".join(",".join(map(str, size)) for size in sizes)
