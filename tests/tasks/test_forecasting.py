"""The forecaster in Python: what it forecasts without having learnt, its loss and its errors."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from rnnzoo import RnnZooError
from rnnzoo.data import CharTextData, SeriesData, Window
from rnnzoo.models.forecast_model import Outlook
from rnnzoo.tasks import Forecaster
from rnnzoo.tasks.means import ExactMean
from rnnzoo.training.predictions import table_columns

SCALING = {"mean": 0.0, "std": 1.0, "seasonal_error": 2.5}
SMALL = {"hidden_size": 6, "horizon": 5, "season": 7, "level": 3}


def loss_of(model: Forecaster, forecast, future):
    """That of forecasts (B, K, Q) in the unit of the series."""
    base, scale = torch.zeros_like(future), torch.full_like(future[:, :1], model.scale)
    return model._loss(Outlook(forecast / model.scale, base, scale), future)


def window(past, horizon=5) -> Window:
    return Window(past, torch.full((len(past), horizon), torch.nan), torch.arange(len(past)))


def forecaster(**options) -> Forecaster:
    torch.manual_seed(0)
    return Forecaster(SCALING, **{**SMALL, **options})


@pytest.mark.parametrize("horizon", [5, 17])
def test_with_a_head_of_zeros_it_repeats_the_last_season_shifted(horizon):
    model = forecaster(horizon=horizon).eval()
    torch.nn.init.zeros_(model.model.head.weight)
    torch.nn.init.zeros_(model.model.head.bias)
    past = torch.randn(2, 11 + 7) * 10
    forecast = model(past)
    assert forecast.shape == (2, horizon, 3)
    for b in range(2):
        y = past[b].tolist()
        shift = sum(y[-k] - y[-k - 7] for k in (1, 2, 3)) / 3
        for h in range(horizon):
            expected = y[len(y) - 7 + h % 7] + shift
            assert forecast[b, h].tolist() == pytest.approx([expected] * 3, rel=1e-5)


def test_forecasts_do_not_depend_on_the_level_of_the_series_and_scale_with_its_unit():
    past = torch.randn(2, 18)
    model = forecaster().eval()
    torch.testing.assert_close(model(past + 100.0), model(past) + 100.0, rtol=0, atol=1e-3)
    other = Forecaster({**SCALING, "seasonal_error": 25.0}, **SMALL).eval()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(past * 10), model(past) * 10, rtol=1e-5, atol=1e-4)


def test_the_past_may_be_whole_numbers_at_any_level():
    past, model = torch.randint(0, 20, (2, 18)), forecaster().eval()
    torch.testing.assert_close(model(past + 10**12), model(past.double()) + 1e12, rtol=0, atol=1e-3)


def test_quantiles_rise():
    assert (forecaster(quantiles=[0.05, 0.2, 0.5, 0.8])(torch.randn(4, 18) * 5).diff(dim=-1) >= 0).all()


@pytest.mark.parametrize("quantiles", [[0.1, 0.9], [0.5, 0.1], [0.0, 0.5], [0.5, 1.0], [0.5, 0.5]])
def test_quantiles_that_cannot_be_are_an_error(quantiles):
    with pytest.raises(RnnZooError, match="quantiles must rise"):
        forecaster(quantiles=quantiles)


def test_the_loss_is_the_pinball_loss():
    model = forecaster()
    forecast, future = torch.randn(3, 5, 3), torch.randn(3, 5)
    total = 0.0
    for b in range(3):
        for h in range(5):
            for k, q in enumerate((0.1, 0.5, 0.9)):
                error = (future[b, h] - forecast[b, h, k]).item() / 2.5
                total += q * error if error > 0 else (q - 1) * error
    assert loss_of(model, forecast, future).item() == pytest.approx(total / 45, rel=1e-5)


def test_steps_ahead_that_are_not_known_count_for_nothing():
    past, future = torch.randn(3, 18), torch.randn(3, 5)
    future[0], future[1, 3:] = torch.nan, torch.nan
    model = forecaster().eval()
    forecast = model(past)
    known = [(b, h) for b in range(3) for h in range(5) if not future[b, h].isnan()]
    assert len(known) == 8
    total = 0.0
    for b, h in known:
        for k, q in enumerate((0.1, 0.5, 0.9)):
            error = (future[b, h] - forecast[b, h, k]).item() / 2.5
            total += q * error if error > 0 else (q - 1) * error
    loss = loss_of(model, forecast, future)
    assert loss.item() == pytest.approx(total / 24, rel=1e-5)
    assert all(g.isfinite().all() for g in torch.autograd.grad(loss, list(model.parameters())))
    nothing = loss_of(model, model(past), torch.full_like(future, torch.nan))
    assert nothing.item() == 0
    assert all((g == 0).all() for g in torch.autograd.grad(nothing, list(model.parameters())))
    batches = [Window(past, future, torch.arange(3))]
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    loader = DataLoader(batches, batch_size=None)
    (figures,) = Trainer(enable_model_summary=False, **options).test(model, loader, verbose=False)
    errors = [abs((future[b, h] - forecast[b, h, 1]).item()) / 2.5 for b, h in known]
    assert figures["test_mase"] == pytest.approx(np.mean(errors), rel=1e-5)


def test_another_horizon_than_the_windows_have_is_an_error():
    model = forecaster(horizon=1)
    with pytest.raises(RnnZooError, match=r"model\.horizon is 1, but the windows of the data have horizon=5"):
        model._loss(model.model(window(torch.randn(3, 18), 1)), torch.randn(3, 5))


def test_the_scaled_errors_are_those_computed_by_hand(tmp_path):
    draw = np.random.default_rng(0)
    y = 50 + 10 * np.sin(np.arange(400) * 2 * np.pi / 7) + draw.normal(0, 2, 400)
    (tmp_path / "y.csv").write_text("y\n" + "\n".join(f"{v:.6f}" for v in y) + "\n")
    data = SeriesData(str(tmp_path / "y.csv"), horizon=5, context=11, season=7, batch_size=16)
    torch.manual_seed(0)
    model = Forecaster(data.scaling, **SMALL)
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    (figures,) = Trainer(enable_model_summary=False, **options).test(model, data, verbose=False)
    train, test = data.parts["train"], data.parts["test"]
    scale = np.abs(y[train.start + 7 : train.stop] - y[train.start : train.stop - 7]).mean()
    assert data.scaling["seasonal_error"] == pytest.approx(scale, rel=1e-5)
    errors, naive = [], []
    for origin in range(test.start, test.stop - 5 + 1):
        past = torch.tensor(y[origin - 18 : origin], dtype=torch.float32)[None]
        median = model(past)[0, :, 1].detach().numpy()
        errors.append(np.abs(y[origin : origin + 5] - median).mean() / scale)
        naive.append(np.abs(y[origin : origin + 5] - y[origin - 7 : origin - 2]).mean() / scale)
    assert figures["test_mase"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert figures["test_mase_naive"] == pytest.approx(np.mean(naive), rel=1e-4)


QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
}


@pytest.mark.parametrize(("level", "unit"), [(1e8, 3.0), (1e6, 1.0), (-1e12, 1.0), (0.0, 1e39), (1e41, 1e39)])
@pytest.mark.parametrize("precision", ["32-true", "bf16-true", "16-true", "bf16-mixed"])
def test_errors_and_forecasts_are_those_of_the_series_at_any_level_and_precision(tmp_path, level, unit, precision):
    """Taken away by hand in float64, the level changes no error, and the forecasts by itself alone."""
    noise = np.random.default_rng(0).standard_normal(400)
    files = {"high": level + unit * noise, "low": level + unit * noise - level}
    results = {}
    for name, y in files.items():
        (tmp_path / f"{name}.csv").write_text("y\n" + "\n".join(map(repr, y.tolist())) + "\n")
        data = SeriesData(str(tmp_path / f"{name}.csv"), horizon=5, context=11, season=7, batch_size=16)
        torch.manual_seed(0)
        model = Forecaster(data.scaling, learning_rate=0.01, schedule="constant", kernel="reference", **SMALL)
        trainer = Trainer(max_steps=3, precision=precision, limit_val_batches=0, **QUIET)
        trainer.fit(model, data)
        (figures,) = trainer.test(model, data, verbose=False)
        forecasts = torch.cat([batch["q0.5"] for batch in trainer.predict(model, data)])
        results[name] = figures, forecasts.double().numpy()
    train, test = data.parts["train"], data.parts["test"]
    y = files["low"]
    scale = np.abs(y[train.start + 7 : train.stop] - y[train.start : train.stop - 7]).mean()
    origins = range(test.start, test.stop - 5 + 1)
    naive = np.mean([np.abs(y[o : o + 5] - y[o - 7 : o - 2]).mean() for o in origins]) / scale
    future = np.concatenate([y[o : o + 5] for o in origins])
    for name, shift in (("high", level), ("low", 0.0)):
        figures, forecasts = results[name]
        assert figures["test_mase_naive"] == pytest.approx(naive, rel=1e-5)
        assert figures["test_mase"] == pytest.approx(np.abs(future - (forecasts - shift)).mean() / scale, rel=1e-5)
    shifted = results["high"][1] - level
    assert np.abs(shifted - results["low"][1]).max() < 0.05 * scale


def test_a_mean_keeps_float64_in_a_module_of_half_precision_and_hides_no_nan():
    draw = np.random.default_rng(0)
    values, weights = draw.random(300), draw.integers(1, 20, 300)
    mean = nn.ModuleDict({"mean": ExactMean()}).to(torch.bfloat16)["mean"]
    for epoch in range(2):
        for value, weight in zip(values, weights, strict=True):
            mean.update(torch.tensor(value + epoch), int(weight))
        assert mean.compute().item() == pytest.approx(np.average(values + epoch, weights=weights), rel=1e-12)
        mean.reset()
    mean.update(torch.tensor(torch.nan), 0)
    mean.update(torch.tensor(1.0), 3)
    assert mean.compute() == 1
    mean.update(torch.tensor(torch.nan), 3)
    assert mean.compute().isnan()


def test_windows_come_whole_from_other_processes(tmp_path):
    (tmp_path / "y.csv").write_text("y\n" + "\n".join(str(1e8 + k * k % 13) for k in range(400)) + "\n")
    here, there = (
        SeriesData(str(tmp_path / "y.csv"), horizon=5, context=11, season=7, batch_size=16, num_workers=n)
        for n in (0, 1)
    )
    for a, b in zip(here.test_dataloader(), there.test_dataloader(), strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    trainer = Trainer(max_steps=2, limit_val_batches=1, precision="bf16-true", **QUIET)
    trainer.fit(forecaster(), there)
    assert trainer.global_step == 2


def test_half_precision_does_not_move_the_quantiles():
    model = forecaster().to(torch.bfloat16)
    batch = Window(torch.randn(2, 18).double(), torch.randn(2, 5).double(), torch.tensor([40, 41]))
    assert list(model.predict_step(batch, 0))[4:] == ["q0.1", "q0.5", "q0.9"]
    forecast, future = torch.zeros(1, 1, 3).double(), torch.ones(1, 1).double()
    assert loss_of(model, forecast, future).item() == pytest.approx((0.1 + 0.5 + 0.9) / 3 / 2.5, rel=1e-12)


def test_bf16_forecasts_are_near_those_in_float32():
    model = forecaster(hidden_size=16).eval()
    past = torch.randn(4, 18) * 3 + 1000
    with torch.no_grad():
        exact = model(past)
        with torch.autocast("cpu", torch.bfloat16):
            near = model(past)
    assert near.dtype == torch.float32
    assert (near - exact).abs().max() < 0.05 * 2.5


def test_predictions_name_the_window_the_step_and_the_quantiles():
    model = forecaster().eval()
    batch = Window(torch.randn(2, 18), torch.randn(2, 5), torch.tensor([40, 41]))
    columns = model.describe_predictions(table_columns(model.predict_step(batch, 0), "Forecaster"))
    assert [name for name in columns if "of the order" not in name] == ["origin", "step", "q0.1", "q0.5", "q0.9"]
    assert columns["origin"].tolist() == [40] * 5 + [41] * 5
    assert columns["step"].tolist() == [1, 2, 3, 4, 5] * 2
    assert columns["q0.5"].tolist() == model(batch.past)[..., 1].flatten().tolist()


@pytest.mark.parametrize("scaling", [{}, {"mean": 1.0}])
def test_a_forecaster_of_anything_but_a_series_is_one_line(scaling):
    with pytest.raises(
        RnnZooError, match=r"^scaling=.* must have the seasonal_error of a series, which rnnzoo.data.Seri"
    ):
        Forecaster(scaling, **SMALL)


def test_a_forecaster_that_is_given_text_says_what_it_takes(tmp_path):
    (tmp_path / "a.txt").write_text("a text and no series " * 99)
    data, model = CharTextData(str(tmp_path / "a.txt"), batch_size=2, sequence_length=8), forecaster()
    trainer = Trainer(max_steps=1, num_sanity_val_steps=0, **QUIET)
    for run in (trainer.fit, trainer.test, trainer.predict):
        with pytest.raises(RnnZooError, match=r"^a Forecaster takes windows of a series, .*, not StreamBatch$"):
            run(model, datamodule=data)


def test_a_forecast_that_is_no_number_is_not_taken_for_a_step_that_is_unknown():
    task = Forecaster(cell="gru", scaling=SCALING, **SMALL)
    future = torch.zeros(3, 5)
    future[0, 4] = torch.nan  # not known
    forecast = torch.full((3, 5, len(task.quantiles)), 1.0)
    assert loss_of(task, forecast, future).isfinite()
    forecast[2, 1] = torch.nan
    assert loss_of(task, forecast, future).isnan()
