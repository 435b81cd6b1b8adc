"""Forecasters of many series: covariates, losses, missing values, calibration, backtests, and no leak."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from series_frames import DATA, QUIET, SMALL, frame, trained

from rnnzoo import RnnZooError
from rnnzoo.data import SeriesData, windows
from rnnzoo.models.forecast_model import filled, since
from rnnzoo.tasks import Forecaster
from rnnzoo.tasks.calibration import Calibration


def test_a_leak_from_the_future_would_be_seen_and_there_is_none():
    """Whatever comes behind the first origin of the test part, but for what is known ahead, changes nothing there."""
    table = frame()
    day = pd.Timestamp("2024-01-01") + pd.Timedelta(days=57)  # of 70, 0.81 are before the test part
    later = table["day"] >= day

    def forecast(table: pd.DataFrame, data: type[SeriesData] = SeriesData) -> list[float]:
        model, made = trained(table, data=data)
        batch = next(iter(made.test_dataloader()))
        first = (batch.origin == 57).nonzero().flatten()
        with torch.no_grad():
            return model.eval()(batch)[first].flatten().tolist()

    before = forecast(table)
    draw = np.random.default_rng(1)
    for column in ("sold", "visits"):
        changed = table.copy()
        changed.loc[later, column] = draw.normal(500, 100, int(later.sum()))
        assert forecast(changed) == before, column
    changed = table.copy()
    changed.loc[later, "price"] += draw.normal(0, 1, int(later.sum()))
    assert forecast(changed) != before  # the price is known ahead

    class ScaledByAll(SeriesData):  # a leak in scaling
        def _scaled(self) -> Any:
            made = super()._scaled()
            made.first, made.stop = 0 * made.first, self.panel.lengths
            return made

    class KnowsVisits(SeriesData):  # a past covariate that is taken for known ahead
        def __init__(self, dataset: Any, **settings: Any) -> None:
            super().__init__(dataset, **{**settings, "known": ["price", "visits"], "past": []})

    class StandardisedByAll(SeriesData):  # a leak in the means of covariates
        def _standardise(self, rows: Any, first: Any, stop: Any, learned: Any) -> Any:
            return super()._standardise(rows, 0 * first, rows.panel.lengths, learned)

    for leaky, column in ((ScaledByAll, "sold"), (KnowsVisits, "visits"), (StandardisedByAll, "visits")):
        changed = table.copy()
        changed.loc[later, column] = draw.normal(500, 100, int(later.sum()))
        assert forecast(changed, leaky) != forecast(table, leaky), leaky


def test_a_calendar_that_knows_the_future_would_be_seen(monkeypatch):
    table = frame()
    later = (table["day"] >= pd.Timestamp("2024-01-01") + pd.Timedelta(days=57)).to_numpy()
    changed = table.copy()
    changed.loc[later, "sold"] = np.random.default_rng(1).normal(500, 100, int(later.sum()))

    def forecast(table: pd.DataFrame) -> list[float]:
        model, made = trained(table)
        batch = next(iter(made.test_dataloader()))
        first = (batch.origin == 57).nonzero().flatten()
        with torch.no_grad():
            return model.eval()(batch)[first].flatten().tolist()

    assert forecast(changed) == forecast(table)
    honest, own = windows.calendar_features, {}

    def leaky(times: np.ndarray, names: list[str], zone: str | None) -> np.ndarray:
        made = honest(times, names, zone)
        days = pd.DatetimeIndex(times.ravel().astype("datetime64[ns]"))
        made[..., 0] = own["sold"].reindex(days).fillna(0).to_numpy().reshape(times.shape)
        return made

    monkeypatch.setattr(windows, "calendar_features", leaky)
    said = []
    for one in (table, changed):
        own["sold"] = one[one["shop"] == "s0"].set_index("day")["sold"]
        said.append(forecast(one))
    assert said[0] != said[1]


def test_early_stopping_that_knows_the_test_part_would_be_seen(tmp_path):
    table = frame()
    later = table["day"] >= pd.Timestamp("2024-01-01") + pd.Timedelta(days=57)
    changed = table.copy()
    changed.loc[later, "sold"] = np.random.default_rng(1).normal(500, 100, int(later.sum()))

    class ValidatesOnTheTest(SeriesData):
        def val_dataloader(self) -> Any:
            return self.test_dataloader()

    def stopped(table: pd.DataFrame, data: type[SeriesData]) -> tuple[float | None, list[float]]:
        seed_everything(0, verbose=False)
        made = data(table, **DATA)
        model = Forecaster(made.description, **SMALL)
        stop = EarlyStopping("val_loss", patience=2)
        quiet = {**QUIET, "enable_checkpointing": True, "default_root_dir": tmp_path}
        best = ModelCheckpoint(tmp_path / "best", monitor="val_loss")
        Trainer(max_epochs=5, callbacks=[stop, best], **quiet).fit(model, made)
        return float(stop.best_score), model.calibration.flatten().tolist()

    assert stopped(table, SeriesData) == stopped(changed, SeriesData)
    score, offsets = stopped(table, ValidatesOnTheTest)
    other_score, other_offsets = stopped(changed, ValidatesOnTheTest)
    assert score != other_score
    assert offsets != other_offsets


@pytest.mark.parametrize("decoder", ["direct", "recurrent", "autoregressive"])
@pytest.mark.parametrize("loss", ["quantile", "mse", "normal", "student_t", "normal_mixture"])
def test_every_loss_trains_with_every_decoder_and_calibrates_its_bands(decoder, loss):
    table = frame(140)
    model, data = trained(table, 40, decoder=decoder, loss=loss, quantiles=[0.1, 0.5, 0.9])
    assert model.calibration.abs().sum() > 0
    (figures,) = Trainer(**QUIET).test(model, data, verbose=False)
    assert 0.5 < figures["test_coverage"] <= 1
    assert figures["test_width"] > 0
    assert np.isfinite(list(figures.values())).all()


def test_the_offsets_of_a_calibration_are_the_errors_in_their_order():
    errors = torch.randn(200, 4, 3)
    calibration = Calibration([0.1, 0.5, 0.9])
    for part in errors.split(30):
        calibration.update(part)
    offsets = calibration.compute()
    for k in range(4):
        low, high = errors[:, k, 0].sort().values, errors[:, k, 2].sort().values
        assert offsets[k].tolist() == [low[19], 0.0, high[180]]  # of 200, the 20th and, ceil(201 * 0.9), the 181st
    inside = (errors[..., 0] >= offsets[:, 0]) & (errors[..., 2] <= offsets[:, 2])
    assert inside.float().mean() >= 0.8


def test_of_few_windows_all_steps_ahead_are_calibrated_together():
    errors = torch.randn(10, 4, 2)
    errors[3, 2:] = torch.nan
    calibration = Calibration([0.5, 0.9])
    calibration.update(errors)
    own = errors[..., 1].flatten()
    own = own[~own.isnan()].sort().values
    assert calibration.compute().tolist() == [[0.0, own[36 - 1].item()]] * 4  # of 38 the 36th, ceil(39 * 0.9)


def test_a_longer_horizon_goes_on_from_the_medians():
    model, _ = trained(frame())
    model.eval()
    long = SeriesData(frame(), **{**DATA, "horizon": 8})
    batch = next(iter(long.test_dataloader()))
    with torch.no_grad():
        found = model(batch)
    assert found.shape[1] == 8
    table = frame()
    for k in range(len(batch.origin)):
        origin, shop = int(batch.origin[k]), f"s{int(batch.series[k])}"
        own = table[table["shop"] == shop].reset_index(drop=True)
        known, done = own[:origin].copy(), []
        for block in range(3):
            ahead = own[len(known) : min(len(known) + 3, origin + 8)]
            last = known["visits"].iloc[origin - 1]  # what is not known stays as it was
            said = model.predict(known, future=ahead[["shop", "day", "price"]])
            done += said["q0.5"].tolist()
            more = ahead.assign(sold=said["q0.5"].to_numpy()[: len(ahead)], visits=last)
            known = pd.concat([known, more], ignore_index=True)
            if block == 0 and k == 0:
                assert list(said) == ["shop", "day", "step", "q0.1", "q0.5", "q0.9"]
        assert found[k, :, model.median].tolist() == pytest.approx(done[:8], rel=1e-4)


def test_a_backtest_is_what_would_have_been_said_at_each_origin():
    model, _ = trained(frame())
    model.eval()
    table = frame()
    told = model.backtest(table, windows=3, step=2)
    assert list(told) == ["shop", "day", "cutoff", "step", "y", "q0.1", "q0.5", "q0.9"]
    assert len(told) == 3 * 3 * 3
    for (shop, cutoff), rows in told.groupby(["shop", "cutoff"]):
        own = table[(table["shop"] == shop)]
        past, ahead = own[own["day"] <= cutoff], own[own["day"] > cutoff][:3]
        assert rows["y"].tolist() == ahead["sold"].tolist()
        assert rows["day"].tolist() == ahead["day"].tolist()
        said = model.predict(past, future=ahead[["shop", "day", "price"]])
        assert rows["q0.5"].tolist() == pytest.approx(said["q0.5"].tolist(), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"day": -2}, r"overlaps the past: series 's0' has values up to 2024-03-10.*begins at 2024-03-09"),
        ({"day": 1}, r"must go on in steps of 1 day where series 's0' ends, .*: 2024-03-11.* is due, and 2024-03-12"),
        ({"shop": "s9"}, "has the series 's9', which the data have not"),
        ({"price": np.nan}, r"known of .* has a covariate that is missing in step 0"),
    ],
)
def test_a_future_that_does_not_fit_is_one_line(change, message):
    model, _ = trained(frame())
    ahead = frame(73)
    ahead = ahead[ahead["day"] > frame()["day"].max()][["shop", "day", "price"]]
    assert len(model.predict(frame(), future=ahead)) == 9
    if "shop" in change:
        ahead = ahead[ahead["shop"] == "s0"]
    for column, value in change.items():
        ahead[column] = ahead[column] + pd.Timedelta(days=value) if column == "day" else value
    with pytest.raises(RnnZooError, match=message):
        model.predict(frame(), future=ahead)


def test_covariates_known_ahead_must_be_given_for_the_future():
    model, _ = trained(frame())
    with pytest.raises(RnnZooError, match=r"known=price must be known of the steps to be forecast: give --data.future"):
        model.predict(frame())


@pytest.mark.parametrize("cell", ["gru", "gru_d", "cfc"])
def test_missing_values_are_no_numbers_to_a_model_and_train_it(cell):
    table = frame(140)
    holes = table.drop(index=np.random.default_rng(0).choice(len(table), 120, replace=False))
    settings = {**DATA, "missing": "mask", "past": [], "known": [], "calendar": []}
    data = SeriesData(holes, **settings)
    model = Forecaster(data.description, **{**SMALL, "cell": cell})
    Trainer(max_steps=5, **QUIET).fit(model, data)
    (figures,) = Trainer(**QUIET).test(model, data, verbose=False)
    assert np.isfinite(list(figures.values())).all()
    batch = next(iter(data.test_dataloader()))
    assert batch.past.isnan().any()
    with torch.no_grad():
        assert model.eval()(batch).isfinite().all()


def test_what_is_missing_is_filled_by_the_season_before_and_else_by_the_last():
    nan = float("nan")
    past = torch.tensor([[1.0, nan, 3.0, 4.0, 5.0, nan, nan, 8.0], [nan, nan, 2.0, nan, nan, nan, nan, nan]])
    assert filled(past, 3).tolist() == [[1, 1, 3, 4, 5, 3, 4, 8], [2, 2, 2, 2, 2, 2, 2, 2]]
    there = ~past.isnan()[..., None]
    assert since(there)[..., 0].tolist() == [[1, 1, 2, 1, 1, 1, 2, 3], [1, 2, 3, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize(("value", "shown"), [(-3.0, "-3"), (2.5, "2.5")])
def test_what_is_no_count_is_named_where_no_window_forecasts_it_too(value, shown):
    table = frame()
    table["sold"] = table["sold"].abs().round()
    trained(table, loss="poisson")
    table.loc[72, "sold"] = value  # in the past of the first window of the second series
    with pytest.raises(RnnZooError, match=rf"but step 2 of series 's1' \(the first is step 0\) is {shown}$"):
        trained(table, loss="poisson")


def test_logarithms_are_of_values_above_zero():
    table = frame()
    model, data = trained(table, transform="log")
    (figures,) = Trainer(**QUIET).test(model, data, verbose=False)
    assert figures["test_mase"] < 2
    table.loc[5, "sold"] = 0.0
    with pytest.raises(RnnZooError, match="transform='log' needs values above 0, not 0"):
        trained(table, 50, transform="log")


def test_a_training_before_a_backtest_holds_nothing_back_but_its_validation_part():
    table = frame()
    for settings in ({}, {"validation_steps": 8, "test_steps": 9}):
        data = SeriesData(table, **DATA, **settings)
        data.hold_out_test = False
        assert data.parts["train"].stop == data.parts["validation"].start
        assert data.parts["validation"].stop == 70
        assert len(data.parts["validation"]) == settings.get("validation_steps", 8)
