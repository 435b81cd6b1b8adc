"""Many series in a frame, and forecasters that are trained on them in a moment."""

from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch import Trainer, seed_everything

from rnnzoo.data import SeriesData
from rnnzoo.tasks import Forecaster

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
}


DATA: dict[str, Any] = {
    "id_column": "shop",
    "time_column": "day",
    "target_column": "sold",
    "known": ["price"],
    "past": ["visits"],
    "static": ["region"],
    "calendar": ["weekday"],
    "horizon": 3,
    "context": 9,
    "season": 7,
    "batch_size": 16,
}


SMALL: dict[str, Any] = {"cell": "gru", "hidden_size": 6, "level": 4, "kernel": "reference", "learning_rate": 0.01}


def frame(length: int = 70, series: int = 3) -> pd.DataFrame:
    draw, parts = np.random.default_rng(0), []
    for k in range(series):
        price = draw.normal(5, 2, length)
        sold = 50 * (k + 1) - 3 * price + draw.normal(0, 1, length)
        days = pd.date_range("2024-01-01", periods=length)
        visits = draw.normal(0, 1, length)
        region = ["north", "south"][k % 2]
        columns = {"shop": f"s{k}", "day": days, "sold": sold, "price": price, "visits": visits, "region": region}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def trained(table: pd.DataFrame, steps: int = 5, data: type[SeriesData] = SeriesData, **options: Any):
    seed_everything(0, verbose=False)
    made = data(table, **DATA)
    model = Forecaster(made.description, **{**SMALL, **options})
    Trainer(max_steps=steps, **QUIET).fit(model, made)
    return model, made
