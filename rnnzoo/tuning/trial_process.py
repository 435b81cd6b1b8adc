"""One ``rnnzoo fit`` in a process of its own: its metric while it runs, how it is stopped, and what it used."""

import csv
import io
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rnnzoo.errors import RnnZooError, did_you_mean
from rnnzoo.training.run_files import METRICS

COMMAND = (sys.executable, "-m", "rnnzoo.tuning.guard")
_X = ("epoch", "step", "seconds", None)  # None: of a row with more values than names
PATIENCE = 120.0  # seconds that a process has to end after SIGTERM
_LAUNCHERS = re.compile(  # a trial is no rank of the job that its worker may be
    r"SLURM_.*|(LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|NODE_RANK|MASTER_(ADDR|PORT)|TORCHELASTIC_.*|PL_GLOBAL_SEED"
)


def leave_job() -> None:
    """Has this process forget that it is one task of a job: each of them is a worker of its own."""
    for name in [name for name in os.environ if _LAUNCHERS.fullmatch(name)]:
        del os.environ[name]


class TrialProcess:
    """A run that is trained by a process of its own.

    Args:
        arguments: of ``rnnzoo fit``.
        folder: of the run, which gets `metrics.csv`.
        log: the file that takes what the process prints.
        command: that runs ``rnnzoo``.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, log: Path, command: Sequence[str] = COMMAND):
        self.folder, self.log = folder, log
        self.status: int | None = None
        self.peak_memory: int | None = None
        self._seen = (0, 0)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [*command, "fit", *arguments],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C at the terminal is the worker's, which stops its trial
                env={name: os.environ[name] for name in os.environ if not _LAUNCHERS.fullmatch(name)},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> bool:
        """Whether it has ended; `status` and `peak_memory`, in bytes, are known from then on."""
        if self.status is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self._end(os.waitstatus_to_exitcode(status), usage)
        return self.status is not None

    def wait(self, seconds: float) -> bool:
        """Waits so long for its end; whether it came."""
        end = time.monotonic() + seconds
        while not self.poll() and time.monotonic() < end:
            time.sleep(min(0.1, seconds))
        return self.status is not None

    def stop(self) -> None:
        """Has it stop between two steps, and ends it where it does not."""
        if self.poll():
            return
        os.kill(self.pid, signal.SIGTERM)
        if not self.wait(PATIENCE):
            self.kill()

    def kill(self) -> None:
        """Ends it, and all that it has started, at once."""
        if not self.poll():
            os.killpg(self.pid, signal.SIGKILL)
            self.wait(PATIENCE)

    def _end(self, status: int, usage: resource.struct_rusage) -> None:
        self.status = status
        # ru_maxrss is in KiB on Linux and in bytes on macOS
        self.peak_memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        self._process.returncode = status
        if self._process.stdin:
            self._process.stdin.close()

    def changed(self) -> bool:
        """Whether `metrics.csv` is another one than at the last call."""
        try:
            found = (self.folder / METRICS).stat()
        except OSError:
            return False
        before, self._seen = self._seen, (found.st_mtime_ns, found.st_size)
        return before != self._seen

    def values(self, metric: str) -> list[float]:
        """The values of a metric so far, one an evaluation.

        Raises:
            RnnZooError: the run has ended, or has logged others of its kind, and not this one.
        """
        return values_in(self.folder / METRICS, metric, ended=self.status is not None)

    def complaint(self) -> str:
        """Why it failed, in one line: what the command said, or how it ended."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.is_file() else ""
        if found := re.findall(r"^rnnzoo: error: (.*)$", text, re.MULTILINE):
            return str(found[-1])
        if self.status is not None and self.status < 0:
            name = signal.Signals(-self.status).name
            of_memory = ": the system may have run out of memory" if -self.status == signal.SIGKILL else ""
            return f"ended by {name}{of_memory}"
        lines = [line for line in text.splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"ended with status {self.status}"


def values_in(path: Path, metric: str, ended: bool = True) -> list[float]:
    """The values of a metric in a `metrics.csv` that is being written; a line that has no end yet does not count.

    Args:
        path: of the file.
        metric: its name.
        ended: whether nothing more will be written.

    Raises:
        RnnZooError: the run has ended, or has logged others of its kind, and not this one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    rows = list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])))
    logged = list(dict.fromkeys(name for row in rows for name, value in row.items() if name not in _X and value))
    if metric in logged:
        return list(_numbers(row.get(metric) for row in rows))
    kind = metric.partition("_")[0] + "_"
    if logged and (ended or (kind in ("val_", "train_") and any(name.startswith(kind) for name in logged))):
        known = [name for name in logged if not name.startswith("test_")]
        raise RnnZooError(f"metric {metric!r} is not logged{did_you_mean(metric, known)} there are: {', '.join(known)}")
    return []


def _numbers(texts: Iterable[str | None]) -> Iterator[float]:
    for text in texts:
        if text:
            try:
                yield float(text)
            except ValueError:  # of a file that is being rewritten
                return
