"""The curves of runs as pictures: one run's losses and metrics, and several runs in one."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnzoo.cache import written_aside
from rnnzoo.errors import RnnZooError
from rnnzoo.training.run_files import CURVE, Series, beside, facts, read_metrics, read_record, read_settings, size

if TYPE_CHECKING:  # matplotlib takes half a second to load: it is imported where something is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES = {"step": "steps", "epoch": "epochs", "time": "seconds"}
_LOSS = re.compile(r"(?:(train|val)_)?loss(?:_step|_epoch)?")
_PANEL = (4.2, 3.2)  # inches
_DOTS = 150  # an inch
_MOST_PANELS = 9


@dataclass
class Panel:
    """What one pair of axes shows: series by the name they were logged under."""

    title: str
    series: dict[str, Series]


def panels(metrics: Mapping[str, Series]) -> list[Panel]:
    """The losses in the first panel, then one for each other metric of validation, with training's beside it.

    What a constant or a seasonal-naive prediction reaches, `val_NAME_constant`, stands in the panel of NAME.
    """
    losses = {name: metrics[name] for name in sorted(metrics) if _LOSS.fullmatch(beside(name))}
    made = [Panel("loss", losses)] if losses else []
    for name in sorted(metrics):
        alone = beside(name) == name or beside(name) not in metrics
        if name.startswith("val_") and name not in losses and alone:
            named = [name.replace("val_", "train_", 1), name, *(n for n in metrics if n != beside(n) == name)]
            made.append(Panel(name.removeprefix("val_"), {n: metrics[n] for n in named if n in metrics}))
    return made[:_MOST_PANELS]


def positions(series: Series, axis: str) -> Sequence[float]:
    """Where the values of a series stand on an axis: "step", "epoch" or "time", in seconds."""
    found: Sequence[float] = getattr(series, AXES[axis])
    return found


def best_step(metrics: Mapping[str, Series], record: Mapping[str, Any]) -> int | None:
    """The step of best.ckpt, where this run wrote it: one that goes on may have it from the run before."""
    series, best = metrics.get("val_loss"), record.get("best")
    k = series.best("val_loss") if series else None
    if series is None or k is None or not isinstance(best, int | float):
        return None
    return series.steps[k] if math.isclose(series.values[k], best, rel_tol=1e-5) else None


# ---- one run


def draw_run(folder: Path) -> Path | None:
    """Draws `curve.png` of a run into its folder; None where it has logged nothing of training or validation.

    Raises:
        RnnZooError: its files cannot be read.
        OSError: the picture cannot be written.
    """
    try:
        metrics = read_metrics(folder)
    except RnnZooError:
        if (folder / "metrics.csv").exists():
            raise
        return None  # stopped before anything was logged
    shown = panels(metrics)
    if not shown:
        return None
    record = read_record(folder)
    figure, axes = new_figure(len(shown))
    best = best_step(metrics, record)
    for panel, ax in zip(shown, axes, strict=True):
        for name, series in panel.series.items():
            if beside(name) != name:
                ax.plot(series.steps, series.values, label=name, color="0.5", linestyle="--")
                continue
            train = name.startswith("train_")
            _line(ax, series.steps, series.values, name, "tab:blue" if train else "tab:orange", thin=train)
        if best is not None:
            ax.axvline(best, color="0.35", linestyle=":", linewidth=1.5, label=f"best.ckpt, step {best:,}")
        _label(ax, panel.title, "step", [s.values for s in panel.series.values()])
    figure.suptitle(_title(folder, record), fontsize=11)
    path = folder / CURVE
    save(figure, path)
    return path


def _title(folder: Path, record: Mapping[str, Any]) -> str:
    """Cell and size of a run, and where it lies."""
    try:
        settings = read_settings(folder)
    except RnnZooError:
        settings = {}
    known = facts(dict(record), settings)
    units = f"{size(known)} units" if size(known) else ""
    count = f"{known['parameters']:,} parameters" if known["parameters"] is not None else ""
    place = "/".join(folder.absolute().parts[-2:])
    cell = ", ".join(map(str, known["cell"])) if isinstance(known["cell"], list) else known["cell"]
    return f"{', '.join(filter(None, [cell, units, count]))}\n{place}".strip()


# ---- several runs


def draw_runs(runs: Mapping[str, Series], metric: str, axis: str, path: Path) -> None:
    """Draws one metric of several runs into one picture, a colour each, with a dot at its best value.

    Args:
        runs: series by the label of the run.
        metric: its name.
        axis: "step", "epoch" or "time".
        path: of the picture, whose end says its kind: .png, .svg, .pdf.

    Raises:
        OSError: the picture cannot be written.
    """
    from matplotlib import colormaps

    figure, (ax,) = new_figure(1, (7.0, 4.5))
    colours = colormaps["tab10" if len(runs) <= 10 else "turbo"]
    for k, (label, series) in enumerate(runs.items()):
        colour = colours(k) if len(runs) <= 10 else colours(k / (len(runs) - 1))
        x = positions(series, axis)
        _line(ax, x, series.values, label, colour)
        if (best := series.best(metric)) is not None:
            ax.plot(x[best], series.values[best], marker="o", markersize=7, color=colour)
    _label(ax, metric, AXES[axis], [series.values for series in runs.values()])
    save(figure, path)


# ---- matplotlib, by its objects alone: pyplot's global state belongs to the user


def new_figure(count: int, panel: tuple[float, float] = _PANEL) -> "tuple[Figure, list[Axes]]":
    """A figure of so many panels, at most three in a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(count, 3)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(panel[0] * columns, panel[1] * rows + 0.5), dpi=_DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(rows, columns, k + 1) for k in range(count)]
    return figure, axes


def _line(ax: "Axes", x: Sequence[float], y: Sequence[float], label: str, colour: Any, thin: bool = False) -> None:
    few = len(y) <= 30  # a line through one point is nothing
    ax.plot(x, y, label=label, color=colour, linewidth=1 if thin else 2, marker="o" if few else None, markersize=3)


def _label(ax: "Axes", title: str, axis: str, values: Sequence[Sequence[float]]) -> None:
    ax.set_title(title, fontsize=11)
    ax.set_xlabel(axis)
    known = [v for series in values for v in series if math.isfinite(v)]
    if known and min(known) > 0 and max(known) > 100 * min(known):
        ax.set_yscale("log")
    ax.grid(True, color="0.9")
    ax.legend(fontsize=9)


def save(figure: "Figure", path: Path) -> None:
    """Writes a picture aside and renames it: two processes may write one, and each is whole.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as made:
        figure.savefig(made)
