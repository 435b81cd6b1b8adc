"""Backtests: forecasts from rolling origins beside what came, judged by their cutoffs."""

import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from rnnzoo.data.series import SeriesData
from rnnzoo.tasks.forecasting import Forecaster
from rnnzoo.training.progress import digits


def refitted(
    model: Forecaster, data: SeriesData, settings: Mapping[str, Any], epochs: int, **trainer: Any
) -> pd.DataFrame:
    """The backtest of `data`, with a model for each origin that was trained on all that was known by then.

    Each training keeps the newest steps for validation, which choose its epoch and calibrate it, and none for a test.

    Args:
        model: whose settings the models have.
        data: with predict_split "backtest".
        settings: of `data`.
        epochs: of each training.
        trainer: further settings of Lightning's Trainer.

    Returns:
        As `Forecaster.backtest`.
    """
    step, frames = data.backtest_step or data.horizon, []
    own = {name: value for name, value in model.hparams.items() if name not in ("description", "scaling")}
    # without the checkpoint: its scales and means are of a training part that may reach behind a cutoff
    settings = {name: value for name, value in settings.items() if name not in ("dataset", "checkpoint")}
    for window in range(data.backtest_windows):
        later = step * (data.backtest_windows - 1 - window)
        before = {"predict_split": "test", "leave_out": later + data.horizon}
        known = SeriesData(data.dataset, **{**settings, **before})
        known.hold_out_test = False
        fresh = type(model)(known.description, **own)
        with tempfile.TemporaryDirectory() as folder:
            best = ModelCheckpoint(folder, monitor="val_loss", save_weights_only=True)
            Trainer(max_epochs=epochs, logger=False, callbacks=[best], enable_model_summary=False, **trainer).fit(
                fresh, known
            )
            if best.best_model_path:
                fresh.load_state_dict(torch.load(best.best_model_path, weights_only=True)["state_dict"])
        there = {"predict_split": "backtest", "backtest_windows": 1, "leave_out": later}
        frames.append(fresh.table_of(SeriesData.alike(known.description, data.dataset, **{**settings, **there})))
    return pd.concat(frames, ignore_index=True)


def figures_by_cutoff(table: pd.DataFrame, data: SeriesData, quantiles: list[float]) -> pd.DataFrame:
    """MASE, CRPS and the coverage and width of the outer band of a backtest, a row a cutoff and one for "all".

    Args:
        table: of the backtest.
        data: that it is of, for the scales of its series.
        quantiles: of the forecasts.
    """
    known = table[table["y"].notna()]
    id_column = data.id_column or "series"
    if id_column in known and len(data.panel.ids):
        place = {name: k for k, name in enumerate(data.panel.ids)}
        scale = data.scales[known[id_column].map(place).to_numpy()]
    else:
        scale = np.full(len(known), data.scales[0])
    y = known["y"].to_numpy()
    forecasts = known[[f"q{q:g}" for q in quantiles]].to_numpy()
    errors, q = y[:, None] - forecasts, np.asarray(quantiles)
    figures = pd.DataFrame(
        {
            "cutoff": known["cutoff" if "cutoff" in known else "origin"].astype(str),
            "MASE": np.abs(errors[:, quantiles.index(0.5)]) / scale,
            "CRPS": 2 * np.maximum(q * errors, (q - 1) * errors).mean(1) / scale,
            "coverage": ((y >= forecasts[:, 0]) & (y <= forecasts[:, -1])).astype(float),
            "width": (forecasts[:, -1] - forecasts[:, 0]) / scale,
        }
    )
    of_each = figures.groupby("cutoff", sort=False).mean()
    of_each.loc["all"] = figures.drop(columns="cutoff").mean()
    return of_each


def lines_of(figures: pd.DataFrame, quantiles: list[float]) -> list[str]:
    """The figures as a table of text."""
    band = f"{quantiles[-1] - quantiles[0]:.0%} band"
    rows = [["cutoff", "MASE", "CRPS", f"{band} covers", "width"]]
    rows += [
        [str(name), *(digits(float(value)) for value in row)]
        for name, row in zip(figures.index, figures.to_numpy(), strict=True)
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if not k else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
