"""What forecasts are judged by, whoever made them, and the table of it: for forecast_peers.py.

Forecasts are a frame in long form, a row a step ahead: unique_id, the places in the series of the last known value
(cutoff) and of the step (place), and a column for each quantile, "q0.1". The series are a frame of unique_id, ds and y.
"""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

FIGURES = ("MASE", "CRPS", "coverage", "width")
CELLS = {"gru": "GRU", "lstm": "LSTM"}  # ours, and neuralforecast's


def scales(series: pd.DataFrame, season: int, held_out: int) -> pd.Series:
    """The mean of |y_t - y_{t - season}| of each series before its last `held_out` steps.

    Raises:
        ValueError: it is no number above 0.
    """
    units = {}
    for name, own in series.groupby("unique_id", sort=False)["y"]:
        y = own.to_numpy(dtype=np.float64)[: len(own) - held_out]
        units[name] = float(np.abs(y[season:] - y[:-season]).mean())
    scale = pd.Series(units)
    if not (scale > 0).all():
        raise ValueError(f"series {scale.index[~(scale > 0)][0]!r} has no scale: {scale[~(scale > 0)].iloc[0]}")
    return scale


def figures(
    forecasts: pd.DataFrame, series: pd.DataFrame, scale: pd.Series, quantiles: Sequence[float]
) -> dict[str, float]:
    """Means over all steps ahead of all windows.

    MASE, of the median; CRPS, twice the mean pinball loss over the quantiles; coverage of the band between the outer
    quantiles, and its width. All but the coverage are in units of `scale`.

    Raises:
        ValueError: a step that the series have not, or a forecast that is missing.
    """
    places = series.assign(place=series.groupby("unique_id").cumcount())[["unique_id", "place", "y"]]
    names = [f"q{q:g}" for q in quantiles]
    steps = forecasts.merge(places, how="left", on=["unique_id", "place"], validate="many_to_one")
    if (wrong := steps[["y", *names]].isna().any(axis=1)).any():
        raise ValueError(f"no value or no forecast at {steps[wrong].iloc[0].to_dict()}")
    y, made = steps["y"].to_numpy(dtype=np.float64), steps[names].to_numpy(dtype=np.float64)
    unit = steps["unique_id"].map(scale).to_numpy(dtype=np.float64)
    q, errors = np.asarray(quantiles), y[:, None] - made
    each = {
        "MASE": np.abs(errors[:, list(quantiles).index(0.5)]) / unit,
        "CRPS": 2 * np.maximum(q * errors, (q - 1) * errors).mean(1) / unit,
        "coverage": (made[:, 0] <= y) & (y <= made[:, -1]),
        "width": (made[:, -1] - made[:, 0]) / unit,
    }
    return {name: float(values.mean()) for name, values in each.items()}


def check_windows(
    forecasts: pd.DataFrame, series: pd.DataFrame, held_out: int, horizon: int, step: int, what: str
) -> int:
    """How many windows there are, where they are the ones asked for: every `step` steps of each series' last ones.

    Raises:
        ValueError: they are others.
    """
    lengths = series.groupby("unique_id").size()
    steps_asked = {
        (name, start - 1, start + ahead)
        for name, length in lengths.items()
        for start in range(length - held_out, length - horizon + 1, step)
        for ahead in range(horizon)
    }
    forecast_steps = list(zip(forecasts["unique_id"], forecasts["cutoff"], forecasts["place"], strict=True))
    if len(forecast_steps) != len(steps_asked) or set(forecast_steps) != steps_asked:
        some = sorted(steps_asked.symmetric_difference(forecast_steps))[:3]
        raise ValueError(
            f"{what} has {len(forecast_steps):,} steps ahead where {len(steps_asked):,} are asked for; not in both:"
            f" {some}"
        )
    return len(steps_asked) // horizon


def table(content: dict[str, Any]) -> str:
    """What forecast_peers.py found, as Markdown."""
    parts = []
    for name, about in content["data"].items():
        runs = [run for run in content["runs"].values() if run["data"] == name]
        parts.append("\n".join([_title(name, about, runs), "", *_rows(runs), ""]))
    about = content["about"]
    versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
    return "\n".join(parts) + f"\n{about['processor']}, one thread, {about['day']}: {versions}.\n"


def _title(name: str, about: dict[str, Any], runs: list[dict[str, Any]]) -> str:
    windows = max(run["windows_judged"] for run in runs)
    return (
        f"`{name}`: horizon {about['horizon']}, {windows:,} windows of the last {about['test_steps']} steps of"
        f" {about['series']} series; {about['steps']:,} steps of {about['batch_size']} windows, of which a model sees"
        f" {about['context'] + about['season']} values; {about['validation_steps']} steps before them held out for"
        " validation:"
    )


def _rows(runs: list[dict[str, Any]]) -> list[str]:
    outer = "80 % band covers"
    lines = [
        f"| | MASE | CRPS | {outer} | its width | s per 1,000 windows | no worse than its peer; time |",
        "| --- " * 7 + "|",
    ]
    for cell, peer in CELLS.items():
        ours, theirs = _of(runs, f"rnnzoo {cell}"), _of(runs, f"neuralforecast {peer}")
        if ours and theirs:
            lines += [_row(f"rnnzoo `{cell}`", ours, _beside(ours, theirs)), _row(f"neuralforecast {peer}", theirs, "")]
        for longer in dict.fromkeys(r["model"] for r in runs if r["model"].startswith(f"neuralforecast {peer},")):
            own = _of(runs, longer)
            lines.append(_row(longer + (f", {len(own)} seed" if len(own) == 1 else ""), own, ""))
    for model in dict.fromkeys(run["model"] for run in runs if run["model"].startswith("statsforecast")):
        own = _of(runs, model)
        few = f", every {own[0]['every']}th window" if own[0]["every"] > 1 else ""
        lines.append(_row(model + few, own, ""))
    return lines


def _of(runs: list[dict[str, Any]], model: str) -> list[dict[str, Any]]:
    return sorted((run for run in runs if run["model"] == model), key=lambda run: run["seed"])


def pace(run: dict[str, Any]) -> float:
    """Seconds of training for a thousand windows, validation left out."""
    return 1000 * (run["seconds"] - run["validation_seconds"]) / run["windows"]


def _row(name: str, runs: list[dict[str, Any]], beside: str) -> str:
    cells = [name]
    for figure in FIGURES:
        values = [100 * run[figure] if figure == "coverage" else run[figure] for run in runs]
        digits = 1 if figure == "coverage" else 3
        spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.{digits}f}{spread}")
    trained = [run for run in runs if "windows" in run]
    cells.append(f"{statistics.median(map(pace, trained)):.2f}" if trained else "")
    return f"| {' | '.join([*cells, beside])} |"


def _beside(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str:
    """Whether ours are at most the mean of theirs and one standard deviation, and the ratio of the times."""
    words = []
    for figure in ("MASE", "CRPS"):
        its = [run[figure] for run in theirs]
        most = statistics.mean(its) + (statistics.stdev(its) if len(its) > 1 else 0.0)
        words.append(f"{figure} {'yes' if statistics.mean(run[figure] for run in ours) <= most else 'NO'}")
    ratios = [pace(a) / pace(b) for a, b in zip(ours, theirs, strict=True)]
    return f"{', '.join(words)}; {statistics.median(ratios):.2f}x ({min(ratios):.2f}x to {max(ratios):.2f}x)"
