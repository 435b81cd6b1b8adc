"""Trains for an hour with reloads, and says whether memory and open files stay flat.

``python benchmarks/soak.py --minutes 60``: in one process, again and again, fit (every epoch reloads its data), fit on
from the checkpoint, test, predict. After each round it notes the resident memory and the open files. It prints the
slope of each over time with its standard error, and writes benchmarks/results/soak.json.
"""

import argparse
import contextlib
import gc
import io
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from rnnzoo.cli.main import main as rnnzoo

ROOT = Path(__file__).parents[1]
SHARE_LEFT_OUT = 0.2  # of the time, at the beginning: what is imported and kept once


def resident() -> float:
    """Memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def give(*args: str) -> None:
    """Runs a command, whose output is of no interest unless it fails."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = rnnzoo(list(args))
    if status:
        raise SystemExit(f"rnnzoo {' '.join(args)} ends with {status}:\n{said.getvalue()}")


def a_round() -> None:
    """Trains two epochs, goes on for two more, tests, predicts."""
    config = str(ROOT / "configs/char_lm.yaml")
    small = ["--model.hidden_size=32", "--data.batch_size=8", "--data.sequence_length=32", "--data.dataset=text.txt"]
    often = ["--trainer.reload_dataloaders_every_n_epochs=1", "--trainer.limit_train_batches=20"]
    quiet = "--trainer.enable_progress_bar=false"
    give("fit", "--config", config, *small, *often, "--trainer.max_epochs=2", quiet)
    run = Path("runs/char_lm/version_0/checkpoints")
    give("fit", f"--ckpt_path={run / 'last.ckpt'}", "--trainer.max_epochs=4", quiet)
    for command in ("test", "predict"):
        give(command, f"--ckpt_path={run / 'best.ckpt'}", quiet)
    shutil.rmtree("runs")
    gc.collect()


def slope(hours: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Of a line by least squares, an hour, and its standard error; neighbouring samples count as independent."""
    centred = hours - hours.mean()
    spread = (centred**2).sum()
    steep = float((centred * values).sum() / spread)
    left = values - values.mean() - steep * centred
    return steep, float(np.sqrt((left**2).sum() / max(len(hours) - 2, 1) / spread))


def judge(samples: list[tuple[float, float, int]]) -> dict[str, dict[str, object]]:
    """Whether each of the figures is flat: a slope within two of its standard errors, or below zero."""
    late = np.array([s for s in samples if s[0] >= SHARE_LEFT_OUT * samples[-1][0]])
    found = {}
    for column, name in ((1, "resident_mib"), (2, "open_files")):
        steep, error = slope(late[:, 0] / 3600, late[:, column])
        flat = bool(steep <= 2 * error + 1e-9)
        found[name] = {"slope_an_hour": steep, "standard_error": error, "flat": flat}
        found[name] |= {"first": float(late[0, column]), "last": float(late[-1, column])}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/soak.json")
    given = parser.parse_args()
    output = (given.output or ROOT / "benchmarks/results/soak.json").absolute()
    torch.set_num_threads(1)
    samples: list[tuple[float, float, int]] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ["RNNZOO_CACHE"] = f"{folder}/cache"
        draw = np.random.default_rng(0)
        words = draw.choice(["the", "cat", "sat", "on", "a", "mat", "and", "dog", "ran", "far", "away"], 20_000)
        Path("text.txt").write_text("\n".join(map(" ".join, words.reshape(-1, 8))) + "\n")
        begin = time.monotonic()
        while not samples or samples[-1][0] < 60 * given.minutes:
            a_round()
            samples.append((time.monotonic() - begin, resident(), open_files()))
            passed, memory, files = samples[-1]
            line = f"round {len(samples)}, {passed / 60:.1f} of {given.minutes:g} min: {memory:.1f} MiB, {files} files"
            print(line, end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)
    if len(samples) < 5:
        raise SystemExit(f"{len(samples)} rounds in {given.minutes:g} minutes: too few for a slope")
    verdict = judge(samples)
    for name, said in verdict.items():
        word = "flat, within noise" if said["flat"] else "RISES"
        print(f"{name}: {said['slope_an_hour']:+.2f} ± {said['standard_error']:.2f} an hour: {word}")
    command = f"python benchmarks/soak.py --minutes {given.minutes:g}"
    content = {"command": command, "torch": torch.__version__, "rounds": len(samples), **verdict, "samples": samples}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(content, indent=1) + "\n")
    return int(not all(said["flat"] for said in verdict.values()))


if __name__ == "__main__":
    raise SystemExit(main())
