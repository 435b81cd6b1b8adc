"""How much memory a forecaster's training takes on a panel of very many rows, beside the size of its columns.

    python benchmarks/panel_memory.py [ROWS ...]     # by default 10,000,000
    python benchmarks/panel_memory.py --by-time --steps 1,000 10,000,000 100,000,000

Writes a Parquet file of so many rows, in series of so many steps: an id that is text, a time every minute, a value, and
a covariate known ahead. A process of its own reads it by `SeriesData`, and trains a `Forecaster` by Lightning's
Trainer.
With ``--by-time`` rows are in the order of time, all series beside each other, so that they have to be sorted.

Prints the size of the columns in Arrow's memory, and the memory that the process had beyond that of its imports: after
reading, at most in reading, and at most in training. What counts is anonymous memory, its own (RssAnon, looked at every
10 ms from outside), and not pages of the data set's file that are mapped into it, which the system takes back when it
is short of memory. `of columns` is the most of all beside the columns.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

AT_ONCE = 1_000_000  # rows of a group in the file
TRAIN = """
import sys
import warnings

import lightning.pytorch as pl
import torch

from rnnzoo.data import SeriesData
from rnnzoo.tasks import Forecaster

warnings.simplefilter("ignore")


def data(path):
    columns = {"id_column": "id", "time_column": "time", "target_column": "value", "known": ["price"]}
    return SeriesData(path, **columns, horizon=24, context=48, season=24, batch_size=64)


def train(panel, steps):
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=steps, limit_val_batches=2, num_sanity_val_steps=0, val_check_interval=steps,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )
    trainer.fit(Forecaster(panel.description, cell="gru", hidden_size=16), panel)
    assert trainer.global_step == steps


small, large, rows, steps = sys.argv[1:]
train(data(small), 2)  # imports what reading and training import
print("imported", flush=True)
panel = data(large)
panel.setup()
assert len(panel.panel.values) == int(rows), len(panel.panel.values)
print("read", flush=True)
input()
train(panel, int(steps))
print("trained", flush=True)
"""


def write(path: Path, rows: int, steps: int, by_time: bool) -> int:
    """Writes a panel; returns the bytes of its columns."""
    series, draw = max(rows // steps, 1), np.random.default_rng(0)
    names = pa.array([f"s{k:06}" for k in range(series)])
    bytes_of_all, writer = 0, None
    for first in range(0, series * steps, AT_ONCE):
        at = np.arange(first, min(first + AT_ONCE, series * steps))
        which, step = (at % series, at // series) if by_time else (at // steps, at % steps)
        noise = draw.normal(size=(2, len(at)))
        table = pa.table(
            {
                "id": names.take(pa.array(which)),
                "time": np.datetime64("2000-01-01", "ms") + step * np.timedelta64(1, "m"),
                "value": 10 + np.sin(step * (2 * np.pi / 24)) + 0.1 * noise[0],
                "price": noise[1],
            }
        )
        if writer is None:
            writer = pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
        bytes_of_all += table.nbytes
    assert writer is not None
    writer.close()
    return bytes_of_all


class Memory:
    """The anonymous memory of a process in bytes: now, and the most since `reset`."""

    def __init__(self, pid: int) -> None:
        self.status = Path(f"/proc/{pid}/status")
        self.most = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def now(self) -> int:
        for line in self.status.read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
        return 0

    def _watch(self) -> None:
        while True:
            try:
                self.most = max(self.most, self.now())
            except OSError:  # it has ended
                return
            time.sleep(0.01)


def measure(folder: Path, rows: int, steps: int, by_time: bool, fit_steps: int) -> Iterator[float]:
    """The size of the columns, what imports take, and beyond these: after reading, at most in reading, in training; in
    MiB. Then the seconds of reading and of training."""
    write(folder / "small.parquet", 2000, 500, by_time)
    columns = write(folder / "large.parquet", rows, steps, by_time)
    own = {"RNNZOO_CACHE": str(folder / "cache"), "HF_DATASETS_CACHE": str(folder / "hf"), "HF_HUB_OFFLINE": "1"}
    given = [str(folder / "small.parquet"), str(folder / "large.parquet"), str(rows // steps * steps), str(fit_steps)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", TRAIN, *given], env={**os.environ, **own}, cwd=folder, **pipes) as run:
        assert run.stdin is not None
        memory = Memory(run.pid)

        def wait(word: str) -> float:
            for line in run.stdout or ():
                if line.strip() == word:
                    return time.monotonic()
            sys.exit(f"no {word!r}: the process ended with {run.wait()}")

        begun = wait("imported")
        base = memory.most = memory.now()
        read = wait("read")
        after, most_reading = memory.now(), memory.most
        memory.most = after
        run.stdin.write("\n")
        run.stdin.flush()
        trained = wait("trained")
        sizes = columns, base, after - base, most_reading - base, memory.most - base
        yield from (size / 2**20 for size in sizes)
        yield from (read - begun, trained - read)


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", type=_number, default=[10_000_000])
    parser.add_argument("--steps", type=_number, default=10_000)
    parser.add_argument("--fit-steps", type=_number, default=20)
    parser.add_argument("--by-time", action="store_true")
    asked = parser.parse_args()
    names = ("columns", "imports", "after", "reading", "training")
    print(f"{'rows':>12}", *(f"{name:>9}" for name in names), "of columns  s reading  s training")
    for rows in asked.rows:
        with tempfile.TemporaryDirectory() as made:
            *sizes, read, train = measure(Path(made), rows, asked.steps, asked.by_time, asked.fit_steps)
        ratio = max(sizes[3:]) / sizes[0]
        row = " ".join(f"{size:>5.0f} MiB" for size in sizes)
        print(f"{rows:>12,} {row} {ratio:>10.2f} {read:>10.1f} {train:>11.1f}", flush=True)


if __name__ == "__main__":
    main()
