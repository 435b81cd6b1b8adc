"""Forecasting from the command line: a CSV of many series with covariates, its future, backtests and pictures."""

import numpy as np
import pandas as pd
import pytest
import torch
from command_line import CONFIGS, Run, trained
from PIL import Image

# one worker trains the run of most of them
pytestmark = pytest.mark.xdist_group("forecast")

TINY = [
    f"--config={CONFIGS / 'forecast.yaml'}",
    "--data.id_column=unique_id",
    "--data.time_column=ds",
    "--data.target_column=y",
    "--data.known=[price,holiday]",
    "--data.past=[visits]",
    "--data.static=[region]",
    "--data.horizon=7",
    "--data.context=14",
    "--data.season=7",
    "--model.hidden_size=6",
    "--model.kernel=reference",
    "--data.batch_size=32",
    "--trainer.max_epochs=2",
    "--trainer.enable_progress_bar=false",
]


TOTAL = 200


def sales(days: int, after: int = 0) -> pd.DataFrame:
    draw, parts = np.random.default_rng(0), []
    for k in range(4):
        price, holiday = draw.normal(5, 1, TOTAL), draw.choice(["no", "no", "no", "fair"], TOTAL)
        week = np.sin(np.arange(TOTAL) * 2 * np.pi / 7)
        y = 40 * (k + 1) + 10 * week - 4 * price + 8 * (holiday == "fair") + draw.normal(0, 1, TOTAL)
        made = pd.DataFrame(
            {
                "unique_id": f"shop {k}",
                "ds": pd.date_range("2024-01-01", periods=TOTAL),
                "y": y.round(3),
                "price": price.round(3),
                "holiday": holiday,
                "visits": draw.normal(100, 5, TOTAL).round(2),
                "region": ["north", "south"][k % 2],
            }
        )
        parts.append(made[after : after + days])
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sales") / "sales.csv"
    sales(120).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, file) -> Run:
    folders = tmp_path_factory.mktemp("forecaster"), tmp_path_factory.mktemp("cache")
    return trained(*folders, *TINY, f"--data.dataset={file}")


@pytest.fixture
def future(tmp_path):
    """The covariates known ahead of the next ten days."""
    path = tmp_path / "next.csv"
    sales(10, after=120)[["unique_id", "ds", "price", "holiday"]].to_csv(path, index=False)
    return path


def given(zoo, *words) -> str:
    """What a command prints that ends well."""
    answer = zoo(*words)
    assert answer.status == 0, answer
    return answer.out


def test_a_run_says_its_errors_and_what_its_band_covers(run):
    said = run.answer.out
    assert "held-out MASE: " in said
    assert "the seasonal-naive forecast's: " in said
    assert "held-out CRPS: " in said
    assert "held-out coverage of the 80% band: " in said
    assert "held-out width of the 80% band: " in said
    assert f"rnnzoo backtest --ckpt_path {run.answer.checkpoint} --windows 3" in said


def test_a_file_of_the_future_is_forecast_row_by_row(zoo, run, future, tmp_path):
    given(zoo, "predict", "--ckpt_path", run.checkpoint, "--data.future", future, "--predictions.path", "next.parquet")
    told = pd.read_parquet(tmp_path / "next.parquet")
    assert list(told) == ["unique_id", "ds", "step", "q0.1", "q0.5", "q0.9"]
    asked = pd.read_csv(future, parse_dates=["ds"])
    assert told["unique_id"].tolist() == asked["unique_id"].tolist()
    assert told["ds"].tolist() == asked["ds"].tolist()
    assert (told["q0.1"] <= told["q0.5"]).all()
    assert (told["q0.5"] <= told["q0.9"]).all()


def test_of_other_series_the_future_is_forecast(zoo, run, future, tmp_path):
    sales(120).replace({"unique_id": {"shop 1": "new"}}).to_csv("others.csv", index=False)
    pd.read_csv(future).replace({"unique_id": {"shop 1": "new"}}).to_csv("next.csv", index=False)
    words = ["predict", "--ckpt_path", run.checkpoint, "--data.dataset=others.csv"]
    assert "must be known of the steps to be forecast" in zoo(*words).complaint
    given(zoo, *words, "--data.future=next.csv", "--predictions.path=others.parquet")
    told = pd.read_parquet("others.parquet")
    assert told["unique_id"].unique().tolist() == ["shop 0", "new", "shop 2", "shop 3"]


def test_a_backtest_prints_its_figures_by_cutoff_and_writes_what_came(zoo, run, file, tmp_path):
    said = given(zoo, "backtest", "--ckpt_path", run.checkpoint, "--windows", 3, "--step", 5)
    told = pd.read_parquet(tmp_path / "backtest.parquet")
    assert list(told) == ["unique_id", "ds", "cutoff", "step", "y", "q0.1", "q0.5", "q0.9"]
    assert len(told) == 4 * 3 * 7
    table = pd.read_csv(file, parse_dates=["ds"])
    both = told.merge(table, on=["unique_id", "ds"], suffixes=("", "_true"))
    assert (both["y"] == both["y_true"]).all()
    assert sorted(set(told["cutoff"])) == list(pd.to_datetime(["2024-04-12", "2024-04-17", "2024-04-22"]))
    errors = []
    for name, rows in told.groupby("unique_id"):
        own = table[table["unique_id"] == name]["y"].to_numpy()[:84]
        errors += ((rows["y"] - rows["q0.5"]).abs() / np.abs(own[7:] - own[:-7]).mean()).tolist()
    last = next(line for line in said.splitlines() if line.startswith("all "))
    assert float(last.split()[1]) == pytest.approx(np.mean(errors), rel=1e-3)


def test_a_backtest_with_models_trained_anew_knows_nothing_behind_their_cutoffs(zoo, run, file, tmp_path):
    words = ["backtest", "--ckpt_path", run.checkpoint, "--windows", 2, "--refit", "--data.split=[0.85,0.14,0.01]"]
    said = given(zoo, *words, "--predictions.path", "refit.csv")
    assert "all " in said
    table = pd.read_csv(file)
    draw, behind = np.random.default_rng(1), table["ds"] > "2024-04-15"  # the cutoff of the first window
    for column in ("y", "visits"):
        table.loc[behind, column] = draw.normal(900, 300, int(behind.sum())).round(2)
    table.to_csv("changed.csv", index=False)
    given(zoo, *words, "--data.dataset=changed.csv", "--predictions.path", "changed_refit.csv")
    one, other = (pd.read_csv(name) for name in ("refit.csv", "changed_refit.csv"))
    first = one["cutoff"].str.startswith("2024-04-15")
    assert first.sum() == 4 * 7
    columns = ["q0.1", "q0.5", "q0.9"]
    assert (one.loc[first, columns] == other.loc[first, columns]).all().all()
    assert not (one.loc[~first, columns] == other.loc[~first, columns]).all().all()
    told = pd.read_csv(tmp_path / "refit.csv")
    assert told["ds"].str.fullmatch(r"2024-04-\d\d 00:00:00").all()
    assert len(told) == 4 * 2 * 7
    assert told["cutoff"].nunique() == 2


def test_scores_of_anomalies_are_written(zoo, run, file, tmp_path):
    faulty = pd.read_csv(file)
    row = faulty.index[(faulty["unique_id"] == "shop 2") & (faulty["ds"] == "2024-04-27")][0]  # in the last week
    faulty.loc[row, "y"] += 300
    faulty.to_csv("faulty.csv", index=False)
    words = ["--ckpt_path", run.checkpoint, "--data.dataset=faulty.csv", "--predictions.path=told.csv"]
    given(zoo, "predict", "--what", "anomaly", *words)
    told = pd.read_csv(tmp_path / "told.csv")
    assert list(told) == ["unique_id", "ds", "step", "y", "q0.1", "q0.5", "q0.9", "score"]
    assert len(told) == 4 * (120 - 21)
    worst = told.loc[told["score"].idxmax()]
    assert (worst["unique_id"], worst["ds"][:10], worst["y"]) == ("shop 2", "2024-04-27", faulty.loc[row, "y"])
    assert "needs missing=mask" in zoo("predict", "--what=imputation", *words).complaint
    complaint = zoo("predict", "--what=imputation", "--data.missing=mask", *words).complaint
    assert "data.missing is mask, but the model was trained with raise" in complaint
    assert zoo("predict", "--what", "anomalies", *words).complaint.startswith(
        "--what 'anomalies' is unknown; did you mean 'anomaly'? there are: forecast, anomaly, imputation"
    )


def test_a_forecaster_is_fine_tuned_on_other_series(zoo, run, tmp_path):
    other = sales(100)
    other["unique_id"] = other["unique_id"].str.replace("shop", "kiosk")
    other["y"] = (other["y"] / 10).round(3)
    other.to_parquet("other.parquet")
    words = [
        *TINY,
        "--data.dataset=other.parquet",
        f"--model.pretrained={run.checkpoint}",
        "--model.learning_rate=1e-9",
    ]
    answer = zoo("fit", *words, "--trainer.max_epochs=1")
    assert answer.status == 0, answer
    assert "start anew" not in answer.out + answer.err
    old, new = (torch.load(path, weights_only=True)["state_dict"] for path in (run.checkpoint, answer.checkpoint))
    assert all(torch.allclose(new[name], value, atol=1e-6) for name, value in old.items() if name != "calibration")
    assert "kiosk 0" in pd.read_csv(given_file(zoo, answer.checkpoint, tmp_path))["unique_id"].tolist()


def given_file(zoo, checkpoint, folder):
    given(zoo, "backtest", "--ckpt_path", checkpoint, "--predictions.path", "tuned.csv")
    return folder / "tuned.csv"


def test_forecasts_become_a_picture(zoo, run, tmp_path):
    said = given(zoo, "plot", "forecast", run.checkpoint, "--series", "shop 1", "--windows", 2, "--output", "a.png")
    assert "2 forecasts in a.png" in said
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
    complaint = zoo("plot", "forecast", run.checkpoint, "--series", "shop 9").complaint
    assert complaint.startswith("--series 'shop 9' is not in the data; did you mean 'shop ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "--data.predict_split=future"], "known=price, holiday must be known of the steps to be forecast"),
        (["predict", "--data.future=missing.csv"], "dataset='missing.csv': no such file or folder"),
        (["backtest", "--windows=0"], "--windows=0 must be at least 1"),
        (["backtest", "--windows=40"], "a backtest of 40 windows by steps of 7 goes back 280 steps"),
        (["predict", "--data.known=[price]"], "data.known is [price], but the model was trained with [price, holiday]"),
    ],
)
def test_bad_input_is_one_line(zoo, run, words, message):
    assert message in zoo(words[0], "--ckpt_path", run.checkpoint, *words[1:]).complaint
