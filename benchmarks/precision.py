"""What training reaches by precision and cell on one task: a table of final losses.

    python benchmarks/precision.py [--cells lstm,mingru] [--precisions 32-true,bf16-mixed] [--steps 400] [--seeds 1,2]

Each is a run of `rnnzoo fit --config configs/char_lm.yaml`, of the same number of steps, seed and settings; the figure
is its held-out bits per character. What is done stands in `results/precision.json`, beside the machine and the day, and
is not run again while its settings stay the same: a benchmark that was stopped goes on where it was. The table is
printed, and written into `results/precision.md`. 16-mixed needs a GPU, and is left out where there is none.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import torch

from rnnzoo import list_cells
from rnnzoo.benchmark.machine import describe
from rnnzoo.cache import written_aside
from rnnzoo.training.progress import digits

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "precision.json"
PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "16-mixed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", help="names, with commas; all of them by default")
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--hidden_size", type=int, default=64)
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    cells = given.cells.split(",") if given.cells else list(list_cells())
    gpu = torch.accelerator.is_available()
    precisions = [p for p in given.precisions.split(",") if gpu or p != "16-mixed"]
    seeds = [int(seed) for seed in given.seeds.split(",")]
    done: dict[str, Any] = json.loads(given.results.read_text()) if given.results.is_file() else {}
    for seed in seeds:
        for cell in cells:
            for precision in precisions:
                name = key(cell, precision, seed, given.steps, given.hidden_size)
                if "bpc" in done.get(name, {}):
                    continue
                done[name] = {**trained(cell, precision, seed, given.steps, given.hidden_size), **machine()}
                keep(given.results, done)
                print(f"{name}: {done[name].get('bpc', done[name].get('error'))}", flush=True)
    lines = table(done, cells, precisions, seeds, given.steps, given.hidden_size)
    given.results.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def key(cell: str, precision: str, seed: int, steps: int, hidden_size: int) -> str:
    """What a run is of."""
    return f"{cell} {precision} seed {seed}, {steps} steps, {hidden_size} units"


def machine() -> dict[str, str]:
    """Where and when."""
    of = describe("cuda" if torch.cuda.is_available() else "cpu")
    return {"machine": of["gpu"] or of["processor"], "torch": of["torch"], "day": date.today().isoformat()}


def trained(cell: str, precision: str, seed: int, steps: int, hidden_size: int) -> dict[str, Any]:
    """The figure that a run reaches, "bpc", or the "error" that it ends in."""
    settings = {
        "config": ROOT / "configs" / "char_lm.yaml",
        "model.cell": cell,
        "model.hidden_size": hidden_size,
        "trainer.precision": precision,
        "trainer.max_steps": steps,
        "trainer.limit_val_batches": 0,
        "trainer.limit_test_batches": 20,
        "trainer.enable_progress_bar": "false",
        "seed_everything": seed,
    }
    with tempfile.TemporaryDirectory() as folder:
        ran = subprocess.run(
            [sys.executable, "-m", "rnnzoo", "fit", *(f"--{name}={value}" for name, value in settings.items())],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))},
            capture_output=True,
            text=True,
            check=False,
        )
    reached = re.search(r"held-out bits per character: ([\d.naif]+)", ran.stdout)
    if ran.returncode == 0 and reached:
        return {"bpc": float(reached[1])}
    return {"error": next((line for line in reversed(ran.stderr.splitlines()) if line.strip()), "no figure")[:300]}


def keep(path: Path, done: dict[str, Any]) -> None:
    """Writes what is done, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as made:
        made.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")


def table(
    done: dict[str, Any], cells: list[str], precisions: list[str], seeds: list[int], steps: int, hidden_size: int
) -> list[str]:
    """A row a cell: the mean over the seeds by precision, and what it is worse than that of the first one."""
    lines = [f"| cell | {' | '.join(precisions)} |", f"| --- |{' --- |' * len(precisions)}"]
    for cell in cells:
        runs = [[done[key(cell, p, seed, steps, hidden_size)] for seed in seeds] for p in precisions]
        figures = [statistics.mean(r["bpc"] for r in each) if all("bpc" in r for r in each) else None for each in runs]
        base, shown = figures[0], []
        for figure, each in zip(figures, runs, strict=True):
            if figure is None:
                shown.append(next(r["error"] for r in each if "error" in r)[:60])
            else:
                shown.append(digits(figure) + (f" ({figure - base:+.3f})" if base and figure is not base else ""))
        lines.append(f"| `{cell}` | {' | '.join(shown)} |")
    where = sorted({f"{r['machine']}, torch {r['torch']}, {r['day']}" for r in done.values()})
    return [*lines, "", f"Held-out bits per character after {steps} steps of {hidden_size} units; {'; '.join(where)}."]


if __name__ == "__main__":
    main()
