"""Forecasts as a table: a row for each step ahead, under the names that the data have."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnzoo.data.series import ONE_STEP
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError
from rnnzoo.training.predictions import OF_THE_ORDER


def forecast_columns(
    columns: dict[str, Any], data: Any, description: Description, quantiles: Sequence[float]
) -> dict[str, Any]:
    """The columns of a table of predictions: the id and the time by the names that the data have for them.

    Without times, "origin" is the place in the series of the window's first step ahead, and "step" counts from 1. Of a
    backtest "y" is what came, and "cutoff" the last time before. Of anomalies "score" is how far y lies from the
    median, beside the outer quantile on its side, which is at 1; of an imputation there are those steps alone whose
    values are missing.

    Args:
        columns: as `Forecaster.predict_step` gives them.
        data: that they are of; None for numbers without names.
        description: of the data of the training.
        quantiles: of the forecasts.

    Raises:
        RnnZooError: scores of a model that has no band.
    """
    part = None if data is None else data.predict_split
    if part in ONE_STEP:
        unknown = np.isnan(np.asarray(columns["y"]))
        keep = unknown if part == "imputation" else ~unknown
        columns = {name: np.asarray(column)[keep] for name, column in columns.items()}
    series, origin = columns[f"series{OF_THE_ORDER}"], columns[f"origin{OF_THE_ORDER}"]
    made = {f"series{OF_THE_ORDER}": series, f"origin{OF_THE_ORDER}": origin}
    panel = getattr(data, "panel", None)
    if panel is not None and len(panel.ids):
        made[description.more.get("id_column", "series")] = [panel.ids[k] for k in series]
    if "time" in columns:
        assert panel is not None
        made[description.more.get("time_column", "time")] = panel.as_times(columns["time"])
        made |= {"cutoff": panel.as_times(columns["cutoff"])} if part == "backtest" else {}
    else:
        made["origin"] = origin
    made["step"] = columns["step"]
    made |= {"y": columns["y"]} if part in ("backtest", "anomaly") else {}
    made |= {name: column for name, column in columns.items() if name.startswith("q")}
    return made | ({"score": _scores(columns, quantiles)} if part == "anomaly" else {})


def _scores(columns: dict[str, Any], quantiles: Sequence[float]) -> np.ndarray:
    if len(quantiles) < 2:
        raise RnnZooError("an anomaly's score needs a band: the model has the median alone, quantiles=[0.5]")
    low, median, high, y = (
        np.asarray(columns[name], dtype=np.float64)
        for name in (f"q{quantiles[0]:g}", "q0.5", f"q{quantiles[-1]:g}", "y")
    )
    width = np.where(y > median, high - median, median - low)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(y == median, 0.0, np.abs(y - median) / width)
