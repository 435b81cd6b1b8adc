"""What forecasters read and how they go on: paths that are drawn, further lags, units of series and windows."""

from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import seed_everything
from series_frames import DATA, SMALL, frame, trained

from rnnzoo import RnnZooError
from rnnzoo.data import SeriesData
from rnnzoo.tasks import Forecaster


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
