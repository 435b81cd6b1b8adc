"""Forecasters of many series: covariates, decoders, missing values, calibration, backtests, and no leak."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from rnnzoo import RnnZooError
from rnnzoo.data import SeriesData, windows
from rnnzoo.models.forecast_model import filled, since
from rnnzoo.tasks import Forecaster
from rnnzoo.tasks.calibration import Calibration

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


def test_logarithms_are_of_values_above_zero():
    table = frame()
    model, data = trained(table, transform="log")
    (figures,) = Trainer(**QUIET).test(model, data, verbose=False)
    assert figures["test_mase"] < 2
    table.loc[5, "sold"] = 0.0
    with pytest.raises(RnnZooError, match="transform='log' needs values above 0, not 0"):
        trained(table, 50, transform="log")


def test_an_autoregressive_decoder_goes_on_from_what_it_drew_and_looks_at_no_future():
    """Beside a loop of its own, over one path of one window."""
    model, data = trained(frame(), decoder="autoregressive", loss="normal", paths=40)
    model.eval()
    batch = next(iter(data.test_dataloader()))
    with torch.no_grad():
        said = model(batch)
        assert torch.equal(said, model(batch._replace(future=batch.future + 100)))
        assert torch.equal(said, model(batch.unanswered()))
        assert torch.equal(said[:1], model(batch_of_one(batch)))  # the same in any batch
        taught = model.model(batch)
        assert not torch.equal(taught.left, model.model(batch.unanswered()).left)  # in training what came is read

        def median(out: Any, k: int) -> Any:
            return model.loss.at(out, torch.full_like(out.base, 0.5)[..., None])[..., 0]

        path, _ = model.model.paths(batch, median, 1)
        for steps in range(1, 4):  # step by step, by what the model says where the path so far is what came
            came = torch.full_like(path, torch.nan)
            came[:, : steps - 1] = path[:, : steps - 1]
            out = model.model(batch._replace(future=came))
            own = out.base + out.scale * out.left[..., 0]
            torch.testing.assert_close(own[:, steps - 1], path[:, steps - 1])


def batch_of_one(batch: Any) -> Any:
    return batch._replace(**{name: field[:1] for name, field in vars(batch).items() if field is not None})


def test_paths_that_are_drawn_have_the_quantiles_of_their_distribution():
    """Of a first step that is what is known of the distribution itself."""
    model, data = trained(frame(), decoder="autoregressive", loss="student_t", paths=2000, calibrate=False)
    model.eval()
    batch = next(iter(data.test_dataloader()))
    with torch.no_grad():
        said, exact = model(batch)[:, 0], model.loss.quantiles(model.model(batch))[:, 0]
    torch.testing.assert_close(said, exact, rtol=1e-3, atol=0)


@pytest.mark.parametrize("decoder", ["direct", "autoregressive"])
@pytest.mark.parametrize("scaler", ["standard", "robust", "mean", "none", "seasonal"])
def test_units_of_series_are_those_of_numpy_and_the_forecast_is_in_the_series_own(scaler, decoder):
    table = frame()
    units = {
        "standard": lambda y: y.std(),
        "robust": lambda y: np.subtract(*np.percentile(y, [75, 25])),
        "mean": lambda y: np.abs(y).mean(),
        "none": lambda y: 1.0,
        "seasonal": lambda y: np.abs(y[7:] - y[:-7]).mean(),
    }
    data = SeriesData(table, **DATA, scaler=scaler)
    first, stop = data._ranges["train"] if data.panel else (0, 0)
    for k in range(3):
        y = table[table["shop"] == f"s{k}"]["sold"].to_numpy()[first[k] : stop[k]]
        assert data.units[k] == pytest.approx(units[scaler](y))
        assert data.scales[k] == pytest.approx(units["seasonal"](y))
    seed_everything(0, verbose=False)
    model = Forecaster(data.description, **SMALL, window_scaler=scaler, decoder=decoder, calibrate=False).eval()
    batch = next(iter(data.test_dataloader()))
    out = model.model(batch)
    for row, past in zip(out.scale[:, 0].tolist(), batch.past.numpy(), strict=True):
        assert row == pytest.approx(units[scaler](past))
    with torch.no_grad():
        own, tenfold = model(batch), model(batch._replace(past=10 * batch.past, unit=None, scale=None))
    if scaler != "none":
        torch.testing.assert_close(10 * own, tenfold, rtol=1e-4, atol=0)
    by_series = Forecaster(data.description, **SMALL)
    torch.testing.assert_close(by_series.model(batch).scale[:, 0], torch.from_numpy(data.units)[batch.series])


def test_units_of_a_series_are_kept_for_predictions():
    table = frame()
    data = SeriesData(table, **DATA, scaler="robust")
    seed_everything(0, verbose=False)
    model = Forecaster(data.description, **SMALL)
    other = SeriesData.alike(model.description, table[table["day"] >= "2024-02-01"], predict_split="backtest")
    assert other.scaler == "robust"
    assert other.units.tolist() == data.units.tolist()


@pytest.mark.parametrize(("settings", "name"), [({"scaler": "minmax"}, "scaler"), ({"joint": True}, "joint=true")])
def test_scalers_and_joint_variables_that_cannot_be_are_one_line(settings, name):
    with pytest.raises(RnnZooError, match=name):
        SeriesData(frame(), **DATA, **settings)


def test_a_window_scaler_that_there_is_not_is_one_line():
    with pytest.raises(RnnZooError, match="window_scaler='minmax' must be one of seasonal, standard"):
        Forecaster(SeriesData(frame(), **DATA).description, **SMALL, window_scaler="minmax")


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


def test_a_training_before_a_backtest_holds_nothing_back_but_its_validation_part():
    table = frame()
    for settings in ({}, {"validation_steps": 8, "test_steps": 9}):
        data = SeriesData(table, **DATA, **settings)
        data.hold_out_test = False
        assert data.parts["train"].stop == data.parts["validation"].start
        assert data.parts["validation"].stop == 70
        assert len(data.parts["validation"]) == settings.get("validation_steps", 8)


@pytest.mark.parametrize("decoder", ["direct", "recurrent", "autoregressive"])
def test_the_naive_forecasts_of_further_lags_are_read(decoder):
    """Beside numpy, step by step."""
    lags, season, level = [2, 14], 7, 4
    seed_everything(0, verbose=False)
    data = SeriesData(frame(), **{**DATA, "horizon": 3})
    model = Forecaster(data.description, **SMALL, decoder=decoder, lags=lags).eval()
    batch = next(iter(data.test_dataloader()))
    read: dict[str, torch.Tensor] = {}
    model.model.rnn.register_forward_pre_hook(lambda _, given: read.update(past=given[0]))
    if model.model.decoder is not None:
        model.model.decoder.register_forward_pre_hook(lambda _, given: read.update(ahead=given[0]))
    model.model(batch)
    for row in (0, 5):
        y, unit = batch.past[row].numpy(), batch.scale[row].item()
        shift = {
            lag: np.mean([y[k] - y[k - lag] for k in range(max(lag, len(y) - level), len(y))])
            for lag in (season, *lags)
        }
        steps = range(14, len(y))
        own = [[(y[k - lag] + shift[lag] - y[k - season] - shift[season]) / unit for lag in lags] for k in steps]
        assert read["past"].shape[1] == len(own) == 2
        np.testing.assert_allclose(read["past"][row, :, 1:3].tolist(), own, rtol=1e-4, atol=1e-5)
        if "ahead" in read:
            whole = np.concatenate([y, np.full(3, np.nan)])
            for step in range(3):
                far = len(y) + step
                back = {lag: lag * -(-(step + 1) // lag) for lag in (season, *lags)}
                base = whole[far - back[season]] + shift[season]
                told = [(whole[far - back[lag]] + shift[lag] - base) / unit for lag in lags]
                last = -1 if decoder == "autoregressive" else None
                assert read["ahead"][row, step, :last][-2:].tolist() == pytest.approx(told, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("lags", [[7], [0], [2, 2], [16]])
def test_lags_that_cannot_be_are_one_line(lags):
    with pytest.raises(RnnZooError, match="lags="):
        Forecaster(SeriesData(frame(), **DATA).description, **SMALL, lags=lags)
