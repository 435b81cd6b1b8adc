"""``rnnzoo runs`` and ``rnnzoo plot``: the runs in a folder as a table, and several of them in one picture."""

import argparse
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rnnzoo.errors import RnnZooError, did_you_mean
from rnnzoo.training.curve import AXES, draw_runs, positions
from rnnzoo.training.run_files import (
    CONFIG,
    Series,
    beside,
    facts,
    find_runs,
    folders_in,
    is_run,
    read_metrics,
    read_record,
    read_settings,
    sign,
    size,
    state_of,
)

_KINDS = (".png", ".svg", ".pdf")
_FIRST = ("cell", "cell_args", "hidden_size", "num_layers", "dropout", "learning_rate")  # in a label
_NO_LABEL = re.compile(
    r"trainer\.(?:logger|callbacks|default_root_dir|enable_|log_every).*|ckpt_path|.*vocabulary|logger"
)
_MOST_NAMED = 4  # settings in a label


# ---- runs


@dataclass
class RunRow:
    """What is known of one run; `missing` names what should lie in its folder and does not, or cannot be read."""

    run: str
    known: dict[str, Any] = field(default_factory=dict)
    steps: int | None = None
    epochs: float | None = None
    best: dict[str, float] = field(default_factory=dict)  # of validation, where val_loss is lowest
    test: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    state: str = ""
    date: str = ""
    missing: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The row as plain values; null for what is not known."""
        return {
            "run": self.run,
            **self.known,
            **{name: getattr(self, name) for name in ("steps", "epochs", "best", "test", "seconds")},
            "state": self.state or None,
            "date": self.date or None,
            "missing": self.missing,
        }

    def value(self, metric: str) -> float | None:
        """A metric of validation or of the test."""
        return {**self.best, **self.test}.get(metric)


def add_runs_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``rnnzoo runs``."""
    parser.add_argument("folder", nargs="?", default="runs", help="where runs lie (default: runs)")
    parser.add_argument(
        "--sort", metavar="METRIC", help="the best first, by val_loss, test_bpc, ...; the newest last else"
    )
    parser.add_argument("--json", action="store_true", help="print everything that is known, as JSON")


def list_runs(given: argparse.Namespace) -> int:
    """Prints the runs in a folder.

    Raises:
        RnnZooError: there is no such folder, or no run in it has logged the metric to sort by.
    """
    folder = Path(given.folder)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise RnnZooError(
            f"folder {given.folder!r} {what}; `rnnzoo runs FOLDER` lists the runs in one, those of fit in 'runs'"
        )
    rows = sorted((read_run(run, folder) for run in _listed(folder)), key=lambda row: row.date)
    if given.sort:
        rows = _sorted_by(rows, given.sort)
    if given.json:
        print(json.dumps(_plain([row.as_json() for row in rows]), indent=2))
    elif rows:
        print(_table([_cells(row, given.sort) for row in rows]))
    else:
        print(f"no runs in {given.folder!r}; `rnnzoo fit` makes them")
    return 0


def _listed(folder: Path) -> list[Path]:
    """The runs in a folder, and the folders in it that hold none: they are not passed over in silence."""
    runs = find_runs(folder)
    return runs if runs == [folder] else [*runs, *(f for f in folders_in(folder) if not find_runs(f))]


def read_run(run: Path, folder: Path) -> RunRow:
    """What is known of a run, whatever is missing of it.

    Args:
        run: its folder.
        folder: in which it was looked for.
    """
    row = RunRow(str(run.relative_to(folder)) if run != folder else run.resolve().name)
    settings, record, metrics = (_read(row, read, run) for read in (read_settings, read_record, read_metrics))
    row.known = facts(record, settings)
    row.state = state_of(record)
    row.steps, row.epochs, row.seconds = (record.get(name) for name in ("steps", "epochs", "seconds"))
    row.date = _date(record, run)
    _take_metrics(row, metrics, ended=row.seconds is not None)
    return row


def _read(row: RunRow, read: Any, run: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = read(run)
    except RnnZooError as error:
        missing = re.sub(r"^run '.*' has no ", "no ", str(error))
        row.missing.append(re.sub(rf"'{re.escape(str(run))}/(.*?)'", r"\1", missing))
        return {}
    return found


def _date(record: Mapping[str, Any], run: Path) -> str:
    """When a run started, in ISO 8601; by its config's date where it has no record of it."""
    try:
        return datetime.fromisoformat(str(record["started"])).astimezone().isoformat(timespec="seconds")
    except (KeyError, ValueError):
        path = run / CONFIG if (run / CONFIG).is_file() else run
        return datetime.fromtimestamp(path.stat().st_mtime).astimezone().isoformat(timespec="seconds")


def _take_metrics(row: RunRow, metrics: Mapping[str, Series], ended: bool) -> None:
    """The figures of a run; how far it has come too, where its record does not say so."""
    trained = {name: series for name, series in metrics.items() if not name.startswith("test_")}
    if trained and not ended:
        row.steps = max(series.steps[-1] for series in trained.values()) + 1
        row.epochs = round(max(series.epochs[-1] for series in trained.values()), 2)
        seconds = max(series.seconds[-1] for series in trained.values())
        row.seconds = None if math.isnan(seconds) else seconds
    row.test = {name: series.values[-1] for name, series in metrics.items() if name.startswith("test_")}
    loss = metrics.get("val_loss")
    lowest = loss.best("val_loss") if loss else None
    for name, series in metrics.items():
        if not name.startswith("val_"):
            continue
        if loss is not None and lowest is not None and loss.steps[lowest] in series.steps:
            row.best[name] = series.values[series.steps.index(loss.steps[lowest])]
        else:
            k = series.best(name)
            row.best[name] = math.nan if k is None else series.values[k]


def _sorted_by(rows: list[RunRow], metric: str) -> list[RunRow]:
    """The runs from the best to the worst, those without the metric last."""
    logged = sorted({name for row in rows for name in (*row.best, *row.test)})
    if metric not in logged:
        near = did_you_mean(metric, logged)
        raise RnnZooError(f"--sort {metric}: no run has logged it{near} there are: {', '.join(logged) or 'none'}")

    def place(row: RunRow) -> float:
        value = row.value(metric)
        return math.inf if value is None or math.isnan(value) else sign(metric) * value

    return sorted(rows, key=place)


def _cells(row: RunRow, metric: str | None) -> dict[str, str]:
    """A line of the table."""
    named = [name for name in sorted(row.best) if name != "val_loss" and beside(name) == name]
    shown = metric if metric in row.best else next(iter(named), "val_loss")
    tested = metric if metric in row.test else f"test_{shown.removeprefix('val_')}"
    known = row.known
    return {
        "run": row.run,
        "task": str(known["task"] or "-").rpartition(".")[2],
        "cell": _text(known["cell"]),
        "size": size(known) or "-",
        "parameters": f"{known['parameters']:,}" if isinstance(known["parameters"], int) else "-",
        "epochs": f"{row.epochs:g}" if row.epochs is not None else "-",
        "steps": f"{row.steps:,}" if row.steps is not None else "-",
        "validation": _figure(row.best, shown),
        "test": _figure(row.test, tested),
        "time": _duration(row.seconds),
        "state": row.state or "-",
        "date": row.date[:16].replace("T", " "),
        "missing": "; ".join(what.partition(": ")[0] for what in row.missing),
    }


def _text(cell: Any) -> str:
    return ", ".join(map(str, cell)) if isinstance(cell, list) else str(cell or "-")


def _figure(figures: Mapping[str, float], name: str) -> str:
    return f"{name} {figures[name]:.4g}" if name in figures else "-"


def _duration(seconds: float | None) -> str:
    """As 0.7 s, 12 min 03 s, 2 h 05 min."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def _table(rows: list[dict[str, str]]) -> str:
    """Rows under their names; a column that no row fills is left out."""
    heads = [h for h in rows[0] if any(row[h] for row in rows)]
    widths = {h: max(len(h), *(len(row[h]) for row in rows)) for h in heads}
    right = {"parameters", "epochs", "steps", "time"}

    def line(row: Mapping[str, str]) -> str:
        return "  ".join(row[h].rjust(widths[h]) if h in right else row[h].ljust(widths[h]) for h in heads).rstrip()

    return "\n".join([line({h: h for h in heads}), "  ".join("-" * widths[h] for h in heads), *map(line, rows)])


def _plain(value: Any) -> Any:
    """`value` without NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---- plot


def add_plot_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``rnnzoo plot``."""
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's folder, a folder of runs, or a checkpoint in one"
    )
    parser.add_argument("--output", default="curves.png", help="the picture: .png, .svg or .pdf (default: curves.png)")
    parser.add_argument("--metric", default="val_loss", help="what to draw (default: val_loss)")
    parser.add_argument("--x", choices=list(AXES), default="step", help="over what; time is in seconds (default: step)")


def plot_runs(given: argparse.Namespace) -> int:
    """Draws a metric of several runs into one picture.

    Raises:
        RnnZooError: a run that there is not, a metric that no run has logged, or a picture that cannot be written.
    """
    path = Path(given.output)
    if path.suffix.lower() not in _KINDS:
        raise RnnZooError(f"--output {given.output!r} must end in one of {', '.join(_KINDS)}")
    runs = list(dict.fromkeys(run for word in given.runs for run in runs_at(word)))
    series, logged = {}, set()
    for run in runs:
        metrics = read_metrics(run)
        logged |= set(metrics)
        if given.metric in metrics:
            series[run] = metrics[given.metric]
    if not series:
        near = did_you_mean(given.metric, logged)
        raise RnnZooError(
            f"--metric {given.metric!r} was not logged{near} there are: {', '.join(sorted(logged)) or 'none'}"
        )
    for run in runs:
        if run in series and not any(math.isfinite(x) for x in positions(series[run], given.x)):
            raise RnnZooError(f"run {str(run)!r} has no times: it is of an earlier version; --x step or epoch shows it")
        if run not in series:
            print(f"{run} has no {given.metric}: left out")
    named = labels(list(series))
    try:
        draw_runs({named[run]: series[run] for run in series}, given.metric, given.x, path)
    except OSError as error:
        raise RnnZooError(f"--output {given.output!r} cannot be written: {error.strerror}") from error
    print(f"{len(series)} {'run' if len(series) == 1 else 'runs'} in {path}")
    return 0


def runs_at(word: str) -> list[Path]:
    """The runs that a word of the command line names.

    Raises:
        RnnZooError: there are none.
    """
    path = Path(word)
    if not path.exists():
        raise RnnZooError(f"run {word!r} does not exist; `rnnzoo runs` lists those there are")
    if path.is_file():
        owner = path.parent.parent if path.parent.name == "checkpoints" else path.parent
        if not is_run(owner):
            raise RnnZooError(f"{word!r} does not lie in a run's folder: {str(owner)!r} has no metrics.csv")
        return [owner]
    found = find_runs(path)
    if not found:
        raise RnnZooError(f"{word!r} holds no run: no folder in it has a metrics.csv")
    return found if found == [path] else [run for run in found if (run / "metrics.csv").is_file()] or found


def labels(runs: Sequence[Path]) -> dict[Path, str]:
    """What differs among the configs of runs, or else their folders; no two are alike."""
    settings: dict[Path, dict[str, Any]] = {}
    for run in runs:
        try:
            settings[run] = {
                k: v for k, v in read_settings(run).items() if not _NO_LABEL.fullmatch(k) and v not in ({}, [])
            }
        except RnnZooError:
            settings[run] = {}
    keys = list(dict.fromkeys(key for found in settings.values() for key in found))
    differ = [key for key in keys if len({repr(found.get(key)) for found in settings.values()}) > 1]
    differ.sort(key=lambda key: _FIRST.index(n) if (n := key.rpartition(".")[2]) in _FIRST else len(_FIRST))
    made = {run: _label(settings[run], differ[:_MOST_NAMED]) for run in runs}
    folders = _folders(runs)
    often = list(made.values())
    return {
        run: folders[run] if not text else f"{text} ({folders[run]})" if often.count(text) > 1 else text
        for run, text in made.items()
    }


def _label(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    """As ``gru, hidden_size 64``; a config that lacks all of them has no label."""
    parts = []
    for key in keys:
        name, value = key.rpartition(".")[2], settings.get(key)
        if value is not None:
            short = str(value) if len(str(value)) <= 30 else f"{str(value)[:29]}…"
            parts.append(short if name == "cell" else f"{name} {short}")
    return ", ".join(parts)


def _folders(runs: Sequence[Path]) -> dict[Path, str]:
    """The folders of runs, from where they part: version_0, or char_lm/version_0."""
    parts = {run: run.absolute().parts for run in runs}
    common = 0
    while len(runs) > 1 and len({p[: common + 1] for p in parts.values()}) == 1:
        common += 1
    return {run: "/".join(p[min(common, len(p) - 1) :] if len(runs) > 1 else p[-2:]) for run, p in parts.items()}
