"""A comparison of cells as one page that needs no network, and as Markdown."""

import html
import io
import math
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnnzoo.cache import written_aside
from rnnzoo.training.run_files import sign
from rnnzoo.tuning.comparison import Contender
from rnnzoo.tuning.report import best_of, completed, importances
from rnnzoo.tuning.significance import mean_and_interval, verdicts
from rnnzoo.tuning.study import ERROR, RESULT, answered

Section = tuple[str, Any]  # its kind (heading, text, list, table, picture) and its content


@dataclass
class Row:
    """What the seeds of a cell reached.

    Args:
        cell: its name.
        hidden_size, parameters: of its model.
        settings: that its search found.
        values: the metric of validation, one a seed.
        held_out: the same of the test data, where it was logged.
        curves: steps and values of the metric, one a seed.
        steps_a_second: of training and validation together, the median of the seeds.
        peak_memory: of the process, in bytes, the median.
        failures: the error lines of seeds that failed.
    """

    cell: str
    hidden_size: int | None = None
    parameters: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    curves: list[tuple[list[int], list[float]]] = field(default_factory=list)
    steps_a_second: float | None = None
    peak_memory: int | None = None
    failures: list[str] = field(default_factory=list)


def row_of(contender: Contender, metric: str, trials: int) -> Row:
    """What the trials of a cell's seeds say."""
    done = completed(contender.seeds)
    results = [trial.user_attrs[RESULT] for trial in done]
    test = f"test_{metric.removeprefix('val_')}"
    rates = [r["steps"] / r["seconds"] for r in results if r.get("steps") and r.get("seconds")]
    memory = [r["peak_memory"] for r in results if r.get("peak_memory")]
    first: Mapping[str, Any] = results[0] if results else {}
    return Row(
        contender.cell,
        first.get("hidden_size") or contender.hidden_size,
        first.get("parameters"),
        dict(best_of(contender.search).params) if trials else {},
        [trial.value for trial in done if trial.value is not None],
        [r["last"][test] for r in results if test in r.get("last", {})],
        [(r["curve"][0], r["curve"][1]) for r in results if "curve" in r],
        statistics.median(rates) if rates else None,
        int(statistics.median(memory)) if memory else None,
        [trial.user_attrs[ERROR] for trial in answered(contender.seeds) if ERROR in trial.user_attrs],
    )


# ---- what is said


def sections(
    rows: Sequence[Row],
    contenders: Sequence[Contender],
    metric: str,
    about: Sequence[str],
    analysis: Mapping[str, float],
    pictures: Mapping[str, str],
) -> list[Section]:
    """The content of a report, in its order."""
    made: list[Section] = [("heading", "Cells compared"), ("list", list(about))]
    held_out = all(len(row.held_out) == len(row.values) for row in rows)
    final = {row.cell: row.held_out if held_out else row.values for row in rows}
    named = f"test_{metric.removeprefix('val_')}" if held_out else metric
    by = sign(metric)
    ranked = sorted((row for row in rows if row.values), key=lambda row: by * float(np.mean(final[row.cell])))
    made.append(("heading", f"Result: {named}, {'the lowest' if by == 1 else 'the highest'} is the best"))
    made.append(("table", _table(ranked, final, metric, named)))
    said = verdicts({row.cell: final[row.cell] for row in ranked}, by)
    made += [("text", "By Welch's t-test against the best, with Holm's correction:"), ("list", said)] if said else []
    made += [
        (
            "list",
            [
                f"{row.cell}: {len(row.failures)} of the seeds failed: {row.failures[-1]}"
                for row in rows
                if row.failures
            ],
        )
    ]
    made += [("picture", (title, svg)) for title, svg in pictures.items()]
    searched = [(row, contender) for row, contender in zip(rows, contenders, strict=True) if row.settings]
    if searched:
        names = list(dict.fromkeys(name for row, _ in searched for name in row.settings))
        lines = [
            [
                row.cell,
                *(_short(row.settings.get(name)) for name in names),
                str(len(completed(contender.search))),
                _shares(contender),
            ]
            for row, contender in searched
        ]
        made.append(("heading", "Searches"))
        made.append(("table", (["cell", *names, "trials that ended", "share of the variance (fANOVA)"], lines)))
    if analysis:
        made.append(("text", "Analysis of variance over the searches of all cells (fANOVA), share of each setting:"))
        made.append(("list", [f"{name}: {share:.1%}" for name, share in analysis.items()]))
    return [section for section in made if section[1] not in ([], "")]


def _table(
    rows: Sequence[Row], final: Mapping[str, Sequence[float]], metric: str, named: str
) -> tuple[list[str], list[list[str]]]:
    heads = [
        "cell",
        f"{named}, mean ± 95 % interval",
        "seeds",
        f"best {metric}",
        "units",
        "parameters",
        "steps/s",
        "peak memory",
    ]
    lines = []
    for row in rows:
        mean, half = mean_and_interval(final[row.cell])
        interval = f"{mean:.4g}" if math.isnan(half) else f"{mean:.4g} ± {half:.2g}"
        lines.append(
            [
                row.cell,
                interval,
                str(len(final[row.cell])),
                f"{float(np.mean(row.values)):.4g}",
                _short(row.hidden_size),
                f"{row.parameters:,}" if row.parameters else "-",
                f"{row.steps_a_second:.3g}" if row.steps_a_second else "-",
                f"{row.peak_memory / 2**20:,.0f} MiB" if row.peak_memory else "-",
            ]
        )
    return heads, lines


def _shares(contender: Contender) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in importances(contender.search).items()) or "-"


def _short(value: Any) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


# ---- pictures


def draw_pictures(rows: Sequence[Row], metric: str) -> dict[str, str]:
    """The learning curves, and what each seed reached, as SVG by their titles."""
    rows = [row for row in rows if row.values]
    made = {}
    if any(row.curves for row in rows):
        made[f"{metric}: mean of the seeds, and the band from the lowest to the highest"] = _svg(
            lambda axes: _curves(axes, rows, metric)
        )
    made["Every seed, with the mean and its 95 % interval"] = _svg(lambda axes: _seeds(axes, rows, metric))
    return made


def _curves(axes: Any, rows: Sequence[Row], metric: str) -> None:
    for row in rows:
        if not row.curves:
            continue
        length = min(len(values) for _, values in row.curves)
        steps = np.array(row.curves[0][0][:length]) + 1
        values = np.array([values[:length] for _, values in row.curves])
        (line,) = axes.plot(steps, values.mean(0), label=row.cell, marker="." if length < 20 else None)
        axes.fill_between(steps, values.min(0), values.max(0), color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set_xlabel("training step")
    axes.set_ylabel(metric)
    axes.legend()


def _seeds(axes: Any, rows: Sequence[Row], metric: str) -> None:
    for k, row in enumerate(rows):
        values = row.held_out if len(row.held_out) == len(row.values) else row.values
        mean, half = mean_and_interval(values)
        axes.plot([k] * len(values), values, "o", color="0.6", markersize=4)
        axes.errorbar(
            [k], [mean], yerr=None if math.isnan(half) else [half], fmt="_", color="C0", capsize=6, markersize=14
        )
    axes.set_xticks(range(len(rows)), [row.cell.rpartition(".")[2] for row in rows], rotation=30, ha="right")
    axes.set_ylabel(metric.removeprefix("val_"))


def _svg(draw: Callable[[Any], None]) -> str:
    """A picture as an SVG element that stands in a page."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draw(figure.subplots())
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


# ---- pages


def write_report(made: Sequence[Section], folder: Path) -> list[Path]:
    """Writes `report.html`, and `report.md` with its pictures beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [content for kind, content in made if kind == "picture"]
    for k, (_, svg) in enumerate(pictures, 1):
        _write(folder / f"report_{k}.svg", f'<?xml version="1.0" encoding="utf-8"?>\n{svg}')
    _write(folder / "report.html", as_html(made))
    _write(folder / "report.md", as_markdown(made))
    return [folder / "report.html", folder / "report.md"]


def _write(path: Path, text: str) -> None:
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0}"
    "td,th{padding:.25rem .7rem;border-bottom:1px solid #ccc;text-align:left}"
    "figure{margin:1.5rem 0}svg{max-width:100%;height:auto}"
)


def as_html(made: Sequence[Section]) -> str:
    """The report as one page: no script, and nothing from elsewhere."""
    body = []
    for kind, content in made:
        match kind:
            case "heading":
                body.append(f"<h2>{html.escape(content)}</h2>")
            case "text":
                body.append(f"<p>{html.escape(content)}</p>")
            case "list":
                body.append("<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in content) + "</ul>")
            case "table":
                heads, lines = content
                rows = [("th", heads), *(("td", line) for line in lines)]
                cells = ("".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in line) for tag, line in rows)
                body.append("<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>")
            case "picture":
                title, svg = content
                body.append(f"<figure>{svg}<figcaption>{html.escape(title)}</figcaption></figure>")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Cells compared</title>'
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def as_markdown(made: Sequence[Section]) -> str:
    """The report as Markdown, with its pictures as files beside it."""
    body, pictures = [], 0
    for kind, content in made:
        match kind:
            case "heading":
                body.append(f"## {content}")
            case "text":
                body.append(content)
            case "list":
                body.append("\n".join(f"- {line}" for line in content))
            case "table":
                heads, lines = content
                rows = [heads, ["---"] * len(heads), *lines]
                body.append(
                    "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
                )
            case "picture":
                pictures += 1
                body.append(f"![{content[0]}](report_{pictures}.svg)")
    return "\n\n".join(body) + "\n"
