"""What lies in a run's folder, read without Lightning: `config.yaml`, `metrics.csv` and `run.json`."""

import csv
import json
import math
import os
import re
import socket
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from rnnzoo.errors import RnnZooError

CONFIG, METRICS, RECORD, CURVE = "config.yaml", "metrics.csv", "run.json", "curve.png"
TIMED = ("seconds", "tokens_per_second", "gemm_share", "data_wait")  # columns of METRICS that depend on the clock
_BASELINES = ("_constant", "_naive")  # ends of the names of what a constant and a seasonal-naive prediction reach
_OTHERS = ("mlruns", "wandb", "checkpoints")  # folders of other programs, and of a run's own
_HIGHER = re.compile(r"accuracy|acc$|f1|precision|recall|auroc|auc$|bleu|chrf|matthews|kappa|r2")
_X = ("epoch", "step", "seconds")


@dataclass
class Series:
    """A metric where it was logged: equally long lists, in the order of the steps.

    Args:
        steps: as metrics.csv has them: optimizer steps from 0.
        epochs: epochs done by then, with a fraction.
        seconds: since the training began; NaN in a run of a version that did not log them.
        values: of the metric.
    """

    steps: list[int] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def best(self, metric: str) -> int | None:
        """The index of the best value, the first of equal ones; None where no value is a number.

        Args:
            metric: its name, by which the highest or the lowest is the best.
        """
        known = [k for k, value in enumerate(self.values) if not math.isnan(value)]
        return min(known, key=lambda k: sign(metric) * self.values[k]) if known else None


def beside(metric: str) -> str:
    """The metric that a baseline stands beside: val_loss for val_loss_constant; any other metric's own name."""
    end = next((end for end in _BASELINES if metric.endswith(end)), "")
    return metric.removesuffix(end)


def sign(metric: str) -> int:
    """1 where the lowest value of a metric is its best, -1 where the highest is."""
    return -1 if _HIGHER.search(metric) else 1


def read_metrics(folder: Path) -> dict[str, Series]:
    """The metrics of a run by name.

    Raises:
        RnnZooError: the folder has no metrics.csv, or it cannot be read.
    """
    path = folder / METRICS
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get("step")]
        made: dict[str, Series] = {}
        ends = _ends_of_epochs(rows)
        for row in rows:
            step = int(float(row["step"]))
            for name, text in row.items():
                if name not in _X and text:
                    series = made.setdefault(name, Series())
                    series.steps.append(step)
                    series.epochs.append(_epoch(step, ends))
                    series.seconds.append(float(row.get("seconds") or "nan"))
                    series.values.append(float(text))
    except FileNotFoundError:
        raise RnnZooError(f"run {str(folder)!r} has no {METRICS}") from None
    except OSError as error:
        raise RnnZooError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, csv.Error) as error:
        raise RnnZooError(f"{str(path)!r} is not what a run writes: {' '.join(str(error).split())}") from error
    return made


def _ends_of_epochs(rows: list[dict[str, str]]) -> list[tuple[float, float]]:
    """Pairs of a step and the epochs done by then; the last step that an epoch logged counts as its end."""
    last: dict[int, int] = {}
    for row in rows:
        if row.get("epoch") and any(v for name, v in row.items() if name.startswith(("train", "val")) and v):
            last[int(float(row["epoch"]))] = int(float(row["step"])) + 1
    return [(0.0, 0.0), *((float(step), epoch + 1.0) for epoch, step in sorted(last.items()))]


def _epoch(step: int, ends: list[tuple[float, float]]) -> float:
    """The epochs done after `step`, between those that are known."""
    done = step + 1
    for (before, epoch), (after, later) in pairwise(ends):
        if done <= after:
            return epoch + (later - epoch) * (done - before) / max(after - before, 1)
    return ends[-1][1]


def read_record(folder: Path) -> dict[str, Any]:
    """What `run.json` says; nothing where there is none, as in runs of earlier versions.

    Raises:
        RnnZooError: it cannot be read.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RnnZooError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(record, dict):
        raise RnnZooError(f"{str(path)!r} is not what a run writes")
    return record


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of a run's config by their names on the command line: "model.cell", "trainer.max_epochs".

    Raises:
        RnnZooError: there is no config, or it cannot be read.
    """
    path = folder / CONFIG
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError:
        raise RnnZooError(f"run {str(folder)!r} has no {CONFIG}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RnnZooError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise RnnZooError(f"{str(path)!r} is not what a run writes")
    return flat(config)


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in config.items():
        name = prefix.removesuffix(".") if key in ("class_path", "init_args") and prefix else f"{prefix}{key}"
        if isinstance(value, dict) and value:
            made |= flat(value, f"{name}.")
        else:
            made[name] = value
    return made


def size(facts: dict[str, Any]) -> str:
    """Layers and units, as "2 x 64", or "64, 32" where the layers differ; "" where they are not known.

    Args:
        facts: "hidden_size" and "num_layers" of a run.
    """
    units = facts.get("hidden_size")
    if isinstance(units, list):
        return ", ".join(map(str, units))
    return f"{facts.get('num_layers') or 1} x {units}" if units else ""


def facts(record: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The task, cell, sizes and parameters of a run, by its record, or by its settings where that lacks them."""
    made = {name: record.get(name) for name in ("task", "cell", "hidden_size", "num_layers", "parameters")}
    for name in ("cell", "hidden_size", "num_layers"):
        if made[name] is None:
            made[name] = settings.get(f"model.{name}")
    made["task"] = made["task"] or settings.get("model")
    return made


# ---- which folders are runs


def is_run(folder: Path) -> bool:
    """Whether a folder has a file that a run writes, or a run's name: an empty one broke off before its first step."""
    named = re.fullmatch(r"version_\d+", folder.name) is not None
    return folder.is_dir() and (named or any((folder / name).is_file() for name in (METRICS, RECORD, CONFIG)))


def find_runs(folder: Path, depth: int = 4) -> list[Path]:
    """The runs in a folder and in the folders within it, in the order of their names and numbers.

    Args:
        folder: a run, or what holds runs; a config alone may be a project's, which holds runs.
        depth: of folders to look into.
    """
    if (folder / METRICS).is_file() or (folder / RECORD).is_file():
        return [folder]
    nested = [run for f in folders_in(folder) for run in find_runs(f, depth - 1)] if depth else []
    return nested or [folder] * is_run(folder)


def folders_in(folder: Path) -> list[Path]:
    """The folders in one, but for those of other programs, in the order of their names and numbers."""
    try:
        inside = [f for f in folder.iterdir() if f.is_dir() and f.name not in _OTHERS and not f.name.startswith(".")]
    except OSError:
        return []
    return sorted(inside, key=_natural)


def _natural(path: Path) -> tuple[str, int]:
    """version_10 behind version_9."""
    name = path.name.rstrip("0123456789")
    return name, int(path.name[len(name) :] or 0)


# ---- whether a run goes on


def this_process() -> dict[str, Any]:
    """What tells this process from every other: the machine, the id, and when the system started it."""
    return {"host": socket.gethostname(), "id": os.getpid(), "started": _start_of(os.getpid())}


def _start_of(pid: int) -> str | None:
    """When the system started a process, in its own ticks, or None where that is not known."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def state_of(record: dict[str, Any]) -> str:
    """How a run stands: finished, stopped, failed, running, or killed; "" where that cannot be known.

    A run that was killed could write nothing: its record says "running", and its process is gone. Of a process on
    another machine nothing is known.
    """
    state = str(record.get("state") or "")
    process = record.get("process") or {}
    if state != "running":
        return state
    if process.get("host") != socket.gethostname():
        return ""
    try:
        os.kill(int(process["id"]), 0)
    except PermissionError:
        pass  # somebody else's, which is there
    except (OSError, KeyError, TypeError, ValueError):
        return "killed"
    return "running" if _start_of(int(process["id"])) == process.get("started") else "killed"
