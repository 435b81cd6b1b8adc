"""Forecasts by neuralforecast or statsforecast, in their own environment: forecast_peers.py asks for them.

    python benchmarks/nixtla_forecasts.py REQUEST.json

The request names the series (a Parquet file of unique_id, ds and y), the model with its settings, the windows, and the
file for the forecasts: a row a step ahead, with unique_id, the places in the series of the last known value (cutoff)
and of the step (place), and a column for each quantile. What it took is printed as JSON, on the last line.
"""

import importlib.metadata
import json
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PACKAGES = ("neuralforecast", "statsforecast", "torch", "pytorch-lightning", "pandas", "numpy")


def neural(request: dict[str, Any], series: pd.DataFrame) -> tuple[pd.DataFrame, list[str], dict[str, Any]]:
    """The forecasts of an LSTM or a GRU, the columns with its quantiles, and what its training took."""
    from forecast_pace import Pace
    from neuralforecast import NeuralForecast
    from neuralforecast import models as known
    from neuralforecast.losses.pytorch import MQLoss

    pace, quantiles = Path(request["pace"]), request["quantiles"]
    loss = MQLoss(quantiles=quantiles)
    trainer = {"accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False}
    model = getattr(known, request["model"])(
        h=request["horizon"],
        loss=loss,
        random_seed=request["seed"],
        callbacks=[Pace(str(pace))],
        enable_model_summary=False,
        **request["settings"],
        **trainer,
    )
    made = NeuralForecast(models=[model], freq=request["frequency"]).cross_validation(
        series,
        n_windows=None,
        test_size=request["test_steps"],
        val_size=request["validation_steps"],
        step_size=request["step"],
        refit=False,
    )
    took = json.loads(pace.read_text())
    took["windows"] = took["steps"] * request["settings"]["windows_batch_size"]
    return made, [request["model"] + name for name in loss.output_names], took


def statistical(request: dict[str, Any], series: pd.DataFrame) -> tuple[pd.DataFrame, list[str], dict[str, Any]]:
    """The forecasts of a statistical model, fitted anew at each origin on all before it."""
    from statsforecast import StatsForecast
    from statsforecast import models as known

    settings = dict(request["settings"])
    name, logarithms = settings.pop("class", request["model"]), settings.pop("logarithms", False)
    if name == "MSTL":
        settings["trend_forecaster"] = known.AutoETS(model="ZZN")
    low, _, high = request["quantiles"]
    level = round(100 * (high - low))
    if logarithms:
        series = series.assign(y=np.log(series["y"]))
    begun = time.perf_counter()
    made = StatsForecast(models=[getattr(known, name)(**settings)], freq=request["frequency"]).cross_validation(
        h=request["horizon"],
        df=series,
        test_size=request["test_steps"],
        step_size=request["step"],
        level=[level],
    )
    took = {"seconds": time.perf_counter() - begun}
    columns = [f"{name}-lo-{level}", name, f"{name}-hi-{level}"]
    if logarithms:  # quantiles of the values are those of their logarithms, taken back
        made = made.assign(**{column: np.exp(made[column]) for column in columns})
    return made, columns, took


def main() -> None:
    """Answers a request."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    request = json.loads(Path(sys.argv[1]).read_text())
    series = pd.read_parquet(request["series"])[["unique_id", "ds", "y"]]
    made, columns, took = (neural if request["what"] == "neural" else statistical)(request, series)
    place = series.assign(place=series.groupby("unique_id").cumcount()).set_index(["unique_id", "ds"])["place"]
    out = {
        name: place.loc[list(zip(made["unique_id"], made[name], strict=True))].to_numpy() for name in ("cutoff", "ds")
    }
    long = pd.DataFrame({"unique_id": made["unique_id"].to_numpy(), "cutoff": out["cutoff"], "place": out["ds"]})
    for quantile, name in zip(request["quantiles"], columns, strict=True):
        long[f"q{quantile:g}"] = made[name].to_numpy(dtype="float64")
    long.to_parquet(request["forecasts"], index=False)
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    print(json.dumps({**took, "versions": versions}))


if __name__ == "__main__":
    main()
