"""Variables that are forecast from one another; anomalies and what is missing."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightning.pytorch import Trainer, seed_everything
from series_frames import DATA, QUIET, SMALL, frame, trained

from rnnzoo import RnnZooError
from rnnzoo.data import SeriesData
from rnnzoo.tasks import Forecaster


def wide(length: int = 90, kinds: int = 1) -> pd.DataFrame:
    draw, parts = np.random.default_rng(0), []
    for k in range(kinds):
        a = draw.normal(0, 1, length).cumsum() + 30
        b = np.roll(a, 1) * 2 + draw.normal(0, 0.01, length)  # follows a by a day
        days, price = pd.date_range("2024-01-01", periods=length), draw.normal(0, 1, length)
        parts.append(pd.DataFrame({"shop": f"s{k}", "day": days, "a": a, "b": b, "price": price}))
    return pd.concat(parts, ignore_index=True)


JOINT: dict[str, Any] = {
    "target_column": ["a", "b"],
    "joint": True,
    "time_column": "day",
    "known": ["price"],
    "horizon": 2,
    "context": 9,
    "season": 1,
    "batch_size": 16,
}


@pytest.mark.parametrize("ids", [None, "shop"])
def test_several_variables_are_forecast_each_from_the_past_of_all(ids):
    table = wide(kinds=1 if ids is None else 2)
    data = SeriesData(table, **JOINT, id_column=ids)
    batch = next(iter(data.test_dataloader()))
    names = ["a", "b"] if ids is None else ["s0/a", "s1/a", "s0/b", "s1/b"]
    assert list(data.panel.ids) == names
    about = data.description.more
    for k in range(len(batch.origin)):
        name = names[int(batch.series[k])]
        own = table if ids is None else table[table["shop"] == name[:2]]
        past = slice(int(batch.origin[k]) - 10, int(batch.origin[k]))
        assert batch.past[k].tolist() == own[name[-1]].iloc[past].tolist()
        for j, other in enumerate("ab"):  # behind the price
            mean, std = (about["covariates"][other][what] for what in ("mean", "std"))
            told = batch.covariates[k, :, 1 + j] * std + mean
            assert told.tolist() == pytest.approx(own[other].iloc[past].tolist(), rel=1e-4)
        assert batch.static[k].tolist() == [name[-1] == "a", name[-1] == "b"]
    seed_everything(0, verbose=False)
    model = Forecaster(data.description, **SMALL).eval()
    ahead = table.groupby("shop").tail(2).assign(day=lambda rows: rows["day"] + pd.Timedelta(days=2))
    future = ahead.drop(columns=["a", "b", *([] if ids else ["shop"])])
    told = model.predict(table, future=future)
    assert told["shop" if ids else "series"].tolist() == [name for name in names for _ in range(2)]
    nothing = SeriesData.alike(model.description, table, predict_split="future", future=future)
    (batch,) = nothing.predict_dataloader()
    if ids is None:
        assert batch.known[0].tolist() == batch.known[1].tolist()
    with pytest.raises(RnnZooError, match="joint is False, but the model was trained with True"):
        SeriesData.alike(model.description, table, joint=False)


def test_a_variable_that_follows_another_is_forecast_better_from_both():
    figures = []
    for joint in (False, True):
        seed_everything(0, verbose=False)
        data = SeriesData(wide(400), **{**JOINT, "joint": joint, "horizon": 1, "known": []})
        model = Forecaster(data.description, **{**SMALL, "level": 8, "hidden_size": 16})
        Trainer(max_epochs=25, **QUIET).fit(model, data)
        told = model.table_of(
            SeriesData.alike(data.description, wide(400), predict_split="backtest", backtest_windows=70)
        )
        own = told[told["series"] == "b"]
        figures.append((own["y"] - own["q0.5"]).abs().mean())
    assert figures[1] < 0.6 * figures[0]


def test_a_fault_that_is_planted_has_the_largest_score():
    table = frame(140)
    model, _ = trained(table, 60)
    faulty = table.copy()
    row = faulty.index[(faulty["shop"] == "s1") & (faulty["day"] == "2024-05-16")][0]
    faulty.loc[row, "sold"] += 40  # of a noise of 1
    told = model.anomalies(faulty)
    worst = told.loc[told["score"].idxmax()]
    assert (worst["shop"], worst["day"]) == ("s1", pd.Timestamp("2024-05-16"))
    assert worst["y"] == faulty.loc[row, "sold"]
    low, high = told["y"] < told["q0.1"], told["y"] > told["q0.9"]
    assert ((told["score"] > 1) == (low | high)).all()
    assert len(told) == 3 * (140 - 16)
    assert told["step"].eq(1).all()


def test_what_is_missing_is_imputed_from_what_lies_before_it():
    table = frame(140)
    seed_everything(0, verbose=False)
    data = SeriesData(table, **DATA, missing="mask")
    model = Forecaster(data.description, **SMALL)
    Trainer(max_steps=150, **QUIET).fit(model, data)
    holes = table.copy()
    gone = np.random.default_rng(2).choice(len(table), 60, replace=False)
    holes.loc[gone, "sold"] = np.nan
    told = model.impute(holes)
    late = gone[(gone % 140) >= 16]
    assert len(told) == len(late)
    beside = told.merge(table, on=["shop", "day"])
    assert len(beside) == len(late)
    error = (beside["q0.5"] - beside["sold"]).abs().mean()
    before = (holes.groupby("shop")["sold"].ffill() - table["sold"]).abs()[late].mean()
    assert error < 0.5 * before
    with pytest.raises(RnnZooError, match="needs missing=mask"):
        next(iter(SeriesData(table, **DATA, predict_split="imputation").predict_dataloader()))
