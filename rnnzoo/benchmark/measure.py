"""Jobs, a kernel or a peer on one setting each, timed together; what cannot run is kept with its reason."""

import contextlib
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from rnnzoo.benchmark.memory import peak_in_a_process
from rnnzoo.benchmark.peers import PEERS
from rnnzoo.benchmark.rounds import Contender, Local, interleaved, spread
from rnnzoo.benchmark.setting import Data, Model, Setting, call_of
from rnnzoo.errors import RnnZooError

CELL_STEP = "RNN.step"  # what a step is without a kernel


class Job(NamedTuple):
    """One thing to time: a kernel, "auto", `CELL_STEP` or a peer, on a setting."""

    setting: Setting
    name: str


@dataclass
class Row:
    """One result. Times in ms; spread is half the distance between the quartiles; first is the first call's time less
    the median; memory in MiB; flops are its products', and share their part of the GEMM peak; speedup is the median of
    `against` divided by the own."""

    setting: Setting
    name: str
    runs: str  # the kernel that "auto" took
    samples: list[float]
    median: float
    spread: float
    first: float
    memory: float | None = None
    flops: int | None = None
    share: float | None = None
    against: str = ""
    speedup: float = math.nan


@dataclass
class Results:
    """Rows, and what was not timed: (job, reason)."""

    rows: list[Row] = field(default_factory=list)
    left_out: list[tuple[Job, str]] = field(default_factory=list)


def contender_of(job: Job) -> Contender:
    """A job made ready, layer and data; it was not called yet.

    Raises:
        RnnZooError: it cannot run, with the reason.
    """
    setting, name = job
    data = Data(setting)
    if name in PEERS:
        reason = PEERS[name].why_not(setting)
        if reason:
            raise RnnZooError(reason)
        return PEERS[name].contender(setting, setting.rnn(), data)
    rnn = setting.rnn("auto" if name == CELL_STEP else name)
    inputs = data.inputs
    whole = Model(lambda x: rnn(x, **inputs)[0], lambda x, s: rnn(x, s, **inputs)[1], list(rnn.parameters()))
    if name == CELL_STEP:
        firsts: dict[str, Any] = {n: a[0] for n, a in inputs.items()}
        step = Model(whole.run, lambda x, s: rnn.step(x[0], s, **firsts)[1], whole.parameters)
        return Local(lambda: call_of(step, data, setting), setting.device)

    def chosen() -> str:
        with setting.autocast():
            return rnn.explain(data.x, **inputs).chosen

    make = lambda: call_of(whole, data, setting)  # noqa: E731
    return Local(make, setting.device, chosen) if name == "auto" else Local(make, setting.device)


def reason_of(job: Job, error: Exception) -> str:
    """Why a job was not timed: what the kernel answers, or else what went wrong, in one line."""
    setting, name = job
    with contextlib.suppress(Exception), setting.autocast(), torch.inference_mode(setting.what != "backward"):
        data = Data(setting)
        # asked of the reference: a cell that is pinned to a kernel which cannot run has no explanation
        rows = setting.rnn().explain(data.x, **data.inputs).rows
        if found := next((row.why_not for row in rows if row.kernel == name), None):
            return found
    short = str(error).strip().split("\n")[0]
    return short if isinstance(error, RnnZooError) else f"failed: {type(error).__name__}: {short}"


def measure(jobs: Iterable[Job], rounds: int, against: str | None, memory: bool, tick: Callable[[], Any]) -> Results:
    """Times jobs in turns, on the threads of the first one's setting."""
    results, able = Results(), []
    with contextlib.ExitStack() as stack:
        for job in jobs:
            try:
                contender = contender_of(job)
                stack.callback(contender.close)
                contender.start()
            except Exception as error:  # other people's code, and a user's cell: the others are timed all the same
                results.left_out.append((job, reason_of(job, error)))
                continue
            able.append((job, contender))
        taken = interleaved([contender for _, contender in able], rounds, tick) if able else []
        for (job, contender), samples in zip(able, taken, strict=True):
            median = statistics.median(samples)
            row = Row(job.setting, job.name, contender.runs(), samples, median, spread(samples), 0.0)
            row.first = max(0.0, 1e3 * contender.first - median)
            row.memory = contender.peak_memory()
            row.flops = flops_of(job.setting)
            results.rows.append(row)
    if memory:
        for row in results.rows:
            if row.memory is None and row.name != "flax":
                row.memory = peak_in_a_process(row.setting, row.runs or row.name)
    compare(results.rows, against)
    return results


def flops_of(setting: Setting) -> int | None:
    """The operations of a call's products."""
    return setting.flops([cell for cells in setting.rnn()._cells for cell in cells], Data(setting).rows)


def set_shares(rows: Iterable[Row], peak: float) -> None:
    """The part of the GEMM peak, in GFLOP/s, that every row's products reach."""
    for row in rows:
        row.share = row.flops / (row.median * 1e6) / peak if row.flops else None


def compare(rows: Sequence[Row], against: str | None) -> None:
    """Sets every row's speedup: against the row named, else the first peer, the reference, or the first row."""
    if not rows:
        return
    order = [against, *PEERS, "reference", rows[0].name]
    names = [row.name for row in rows]
    base = rows[names.index(next(name for name in order if name in names))]
    for row in rows:
        row.against, row.speedup = base.name, base.median / row.median


class Mean(NamedTuple):
    """A name's geometric mean of speedups over sizes."""

    cell: str
    what: str
    name: str
    against: str
    speedup: float
    sizes: int


def geometric_means(rows: Iterable[Row]) -> list[Mean]:
    """One for every cell, measure, name, and what it is held against."""
    found: dict[tuple[str, str, str, str], list[float]] = {}
    for row in rows:
        found.setdefault((row.setting.cell, row.setting.what, row.name, row.against), []).append(row.speedup)
    return [Mean(*key, statistics.geometric_mean(values), len(values)) for key, values in found.items()]


@contextlib.contextmanager
def prepared(threads: int, tf32: str | None) -> Iterator[None]:
    """Threads and TF32 as they are asked for; as they were, afterwards."""
    before = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.set_num_threads(threads)
    if tf32:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32 == "on"
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before[1:]
