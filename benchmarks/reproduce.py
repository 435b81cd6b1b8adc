"""Trains to the figures of RESULTS.md, row by row, and writes that table.

    python benchmarks/reproduce.py [--list] [--again] [ROW ...]

The rows stand in `reproduce.yaml`: commands of rnnzoo, each a process of its own, in a folder of their own. A seed of a
row that is done is not run again while its commands stay the same; so a run that was stopped goes on with the next
seed. What was reached is kept in `results/reproduce.json` with the machine, the day and the version of the code, and
the table is made of that.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
ROWS, RESULTS, TABLE = (
    ROOT / "benchmarks/reproduce.yaml",
    ROOT / "benchmarks/results/reproduce.json",
    ROOT / "RESULTS.md",
)
HEAD = """# What training reaches

Each row is one line of `benchmarks/reproduce.yaml`, run by `make reproduce` (or `python benchmarks/reproduce.py ROW`),
which writes this table. "Ours" is the mean over the seeds, with each of them; "beside" is the simple method that the
same command scores on the same split. Seconds are those of one seed, with all that its commands do.

"""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Args:
        name: by which it is asked for.
        task: in words.
        commands: of rnnzoo, without its name.
        metric: as the last of them says it: "held-out METRIC: 0.95".
        baseline: what stands before the figure of the simple method; None where there is none.
        target: in words.
        also: other figures that the last command says, in the same form.
        says: how it says them, where it is no `fit`.
        seeds: each is a run.
        threads: of each run.
    """

    name: str
    task: str
    commands: list[str]
    metric: str
    baseline: str | None = None
    target: str = ""
    also: list[str] = field(default_factory=list)
    says: str = "held-out {}: "
    seeds: list[int] = field(default_factory=lambda: [1])
    threads: int = 2


def read_rows(path: Path) -> list[Row]:
    """The rows in their order."""
    return [Row(**row) for row in yaml.safe_load(path.read_text(encoding="utf-8"))]


def run(row: Row, seed: int, folder: Path) -> dict[str, Any]:
    """Runs the commands of a row with one seed, and returns what they reached.

    A command without {seed} is the same for every seed, and is run once. One that has ended well is not run again.

    Raises:
        SystemExit: one fails, or says no figure.
    """
    checkpoints: list[str] = []
    seconds, out = 0.0, ""
    for k, command in enumerate(row.commands):
        own = folder if "{seed}" in command else folder.parent / "every seed"
        line = command.format(*map(shlex.quote, checkpoints), seed=seed, folder=own, config=ROOT / "configs")
        print(f"{row.name}, seed {seed}: rnnzoo {line}", flush=True)
        log = own / f"{k}.log"
        done = log.with_suffix(".json")  # written once the command has ended well
        before = json.loads(done.read_text(encoding="utf-8")) if done.is_file() else {}
        if before.get("line") != line:
            before = {"line": line, "seconds": execute(row, line, log)}
            write(done, json.dumps(before))
        out, seconds = log.read_text(encoding="utf-8"), seconds + before["seconds"]
        found = re.findall(r"^checkpoint: (.+)$", out, re.MULTILINE)
        checkpoints.append(str(own / found[-1]) if found else "")
    return {
        "ours": figure(out, row.says.format(row.metric), row.name),
        "beside": figure(out, f"{row.baseline}: ", row.name) if row.baseline else None,
        "also": {name: figure(out, row.says.format(name), row.name) for name in row.also},
        "seconds": round(seconds),
    }


def execute(row: Row, line: str, log: Path) -> float:
    """Runs a command in the folder of its log, and returns the seconds that it took.

    Raises:
        SystemExit: it fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": str(row.threads), "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "rnnzoo", *shlex.split(line)]
    start = time.perf_counter()
    with log.open("w", encoding="utf-8") as file:
        ended = subprocess.run(words, cwd=log.parent, env=environment, stdout=file, stderr=subprocess.STDOUT)
    if ended.returncode:
        out = log.read_text(encoding="utf-8")
        raise SystemExit(f"{row.name}: the command failed with status {ended.returncode}:\n{out[-2000:]}")
    return time.perf_counter() - start


def figure(out: str, before: str, name: str) -> float:
    """The number behind `before` at the beginning of a line of what a command printed."""
    found = re.findall(rf"^{re.escape(before)}([-+.\d]+)", out, re.MULTILINE)
    if not found:
        raise SystemExit(f"{name}: the last command printed no line {before!r}:\n{out[-2000:]}")
    return float(found[-1])


def version() -> str:
    """The commit of the code, with a mark where it has been changed since."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=*", "--abbrev=8"]
    return subprocess.run(words, capture_output=True, text=True).stdout.strip() or "unknown"


def is_current(row: Row, run: dict[str, Any] | None) -> bool:
    """Whether a run was one of the row as it stands now, and has all its figures."""
    return run is not None and run["commands"] == row.commands and set(row.also) <= set(run.get("also", ()))


def table(rows: list[Row], results: dict[str, Any]) -> str:
    """What RESULTS.md holds."""
    lines = ["| task | metric | beside | ours | target | s | machine, day, version |", "| --- " * 7 + "|"]
    commands = []
    for row in rows:
        keys = [f"{row.name}/{seed}" for seed in row.seeds]
        runs = [results[key] for key in keys if is_current(row, results.get(key))]
        if not runs:
            continue
        ours = [run["ours"] for run in runs]
        mean = f"**{statistics.mean(ours):.4g}**" + (
            f" ({', '.join(f'{v:.4g}' for v in ours)})" if len(ours) > 1 else ""
        )
        for name in row.also:
            mean += f"; {name} {statistics.mean(run['also'][name] for run in runs):.4g}"
        if len(runs) < len(row.seeds):
            mean += f"; {len(runs)} of {len(row.seeds)} seeds"
        beside = [run["beside"] for run in runs if run["beside"] is not None]
        simple = f"{row.baseline.partition(':')[0]} {statistics.mean(beside):.4g}" if beside and row.baseline else ""
        about, threads = runs[-1], f"{row.threads} thread{'s' * (row.threads > 1)}"
        lines.append(
            f"| {row.name}: {row.task} | {row.metric} | {simple} | {mean} | {row.target} |"
            f" {statistics.median(run['seconds'] for run in runs):.0f} |"
            f" {about['machine']}, {threads}, {about['day']}, {about['version']} |"
        )
        shown = [
            c.format(*(f"CHECKPOINT_{k}" for k in range(9)), seed=row.seeds[0], folder=".", config="configs")
            for c in row.commands
        ]
        commands += [f"# {row.name}", *(f"rnnzoo {command}" for command in shown)]
    return HEAD + "\n".join(lines) + "\n\n```sh\n" + "\n".join(commands) + "\n```\n"


def main() -> None:
    """Runs what is to be run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="by their names; all by default")
    parser.add_argument("--list", action="store_true", help="say which there are, and what is done")
    parser.add_argument("--again", action="store_true", help="run also what is done")
    parser.add_argument("--rows", dest="file", type=Path, default=ROWS, help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, default=RESULTS, help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path, default=TABLE, help=argparse.SUPPRESS)
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/reproduce"), help="for the runs (default: %(default)s)"
    )
    given = parser.parse_args()
    rows = read_rows(given.file)
    if unknown := [name for name in given.rows if name not in [row.name for row in rows]]:
        parser.error(f"there is no row {unknown[0]!r}: there are {', '.join(row.name for row in rows)}")
    results = json.loads(given.results.read_text(encoding="utf-8")) if given.results.is_file() else {}
    for row in rows:
        for seed in row.seeds:
            key = f"{row.name}/{seed}"
            is_done = is_current(row, results.get(key))
            if given.list:
                print(f"{key}: {results[key]['ours'] if is_done else 'to be run'}")
            elif (given.again or not is_done) and (not given.rows or row.name in given.rows):
                from rnnzoo.benchmark.machine import describe

                about = {"commands": row.commands, "machine": describe("cpu")["processor"], "version": version()}
                folder = (given.folder / row.name / str(seed)).absolute()
                if given.again:
                    shutil.rmtree(folder, ignore_errors=True)
                made = run(row, seed, folder)
                results[key] = {**made, **about, "day": date.today().isoformat()}
                print(f"{key}: {row.metric} {made['ours']}, {made['seconds']} s", flush=True)
                write(given.results, json.dumps(results, indent=1) + "\n")
                write(given.table, table(rows, results))
    if not given.list:
        write(given.table, table(rows, results))


def write(path: Path, text: str) -> None:
    """Writes a file aside and renames it, so that a run that is stopped leaves the one before."""
    aside = path.with_name(f"{path.name}.new")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


if __name__ == "__main__":
    main()
