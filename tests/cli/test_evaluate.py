"""`rnnzoo validate`, `test` and `predict` on a checkpoint."""

import math
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from command_line import TINY_LM

QUIET = "--trainer.enable_progress_bar=false"


def figure(answer, name):
    """A metric out of the lines that evaluation prints."""
    assert answer.status == 0, answer.err
    return float(re.search(rf"^{name} (\d+\.\d+)$", answer.out, re.M)[1])


def reached(run):
    return float(re.search(r"held-out bits per character: (\d+\.\d+)", run.answer.out)[1])


def test_a_checkpoint_alone_is_enough_for_its_own_data(zoo, lm_run):
    answer = zoo("test", f"--ckpt_path={lm_run.checkpoint}", QUIET)
    assert figure(answer, "test_bpc") == pytest.approx(reached(lm_run), abs=6e-4)
    assert figure(answer, "test_loss") == pytest.approx(reached(lm_run) * math.log(2), abs=6e-4)


def test_a_checkpoint_takes_another_config_and_keeps_its_own_sizes(zoo, lm_run, text_file):
    path, data = f"--ckpt_path={lm_run.checkpoint}", f"--data.dataset={text_file}"
    config = next(a for a in TINY_LM if a.startswith("--config"))
    answer = zoo("test", config, path, data, "--data.batch_size=4", "--data.sequence_length=32", QUIET)
    assert figure(answer, "test_bpc") == pytest.approx(reached(lm_run), abs=6e-4)


def test_validate_gives_the_figure_that_chose_the_checkpoint(zoo, lm_run):
    best = torch.load(lm_run.checkpoint, weights_only=True)["callbacks"]
    score = next(float(c["best_model_score"]) for c in best.values() if c.get("monitor") == "val_loss")
    answer = zoo("validate", "--ckpt_path", lm_run.checkpoint, QUIET)
    assert figure(answer, "val_loss") == pytest.approx(score, abs=6e-4)  # four digits


def test_evaluation_leaves_no_files(zoo, lm_run, tmp_path):
    zoo("validate", "--ckpt_path", lm_run.checkpoint, QUIET)
    assert list(tmp_path.iterdir()) == []


def test_predictions_of_a_language_model_are_one_row_a_character(zoo, lm_run, text_file, tmp_path):
    assert zoo("predict", "--ckpt_path", lm_run.checkpoint, QUIET).status == 0
    assert [p.name for p in tmp_path.iterdir()] == ["predictions.parquet"]
    table = pq.read_table("predictions.parquet")
    assert table.column_names == ["position", "token", "log_prob"]
    text = text_file.read_text()
    held_out = text[round(0.95 * len(text)) :]
    assert table["position"].to_pylist() == list(range(1, len(held_out)))
    assert "".join(table["token"].to_pylist()) == held_out[1:]
    bits = -float(np.mean(table["log_prob"])) / math.log(2)
    assert bits == pytest.approx(reached(lm_run), abs=6e-4)


def test_predictions_go_where_they_are_told(zoo, lm_run, tmp_path, text_file):
    (tmp_path / "there").mkdir()
    path = ["--predictions.path", "there/all.parquet"]
    answer = zoo("predict", "--ckpt_path", lm_run.checkpoint, *path, "--data.predict_split=all", QUIET)
    assert answer.status == 0, answer.err
    assert "there/all.parquet" in answer.out
    assert pq.read_table("there/all.parquet").num_rows == len(text_file.read_text()) - 1


def test_predictions_of_a_forecaster_are_one_row_a_step_ahead(zoo, forecast_run, series_file):
    assert zoo("predict", "--ckpt_path", forecast_run.checkpoint, QUIET).status == 0
    table = pq.read_table("predictions.parquet").to_pydict()
    assert list(table) == ["origin", "step", "q0.1", "q0.5", "q0.9"]
    first, last = round(0.81 * 600), 600 - 12
    keys = list(zip(table["origin"], table["step"], strict=True))
    assert keys == [(origin, step) for origin in range(first, last + 1) for step in range(1, 13)]
    low, mid, high = (np.array(table[q]) for q in ("q0.1", "q0.5", "q0.9"))
    assert (low <= mid).all()
    assert (mid <= high).all()


def test_the_forecasters_error_can_be_computed_again_from_its_predictions(zoo, forecast_run, series_file):
    answer = zoo("test", "--ckpt_path", forecast_run.checkpoint, QUIET)
    zoo("predict", "--ckpt_path", forecast_run.checkpoint, QUIET)
    table = pq.read_table("predictions.parquet").to_pydict()
    y = np.loadtxt(series_file, delimiter=",", skiprows=1)[:, 1]
    train = y[: round(0.7 * 600)]
    scale = np.abs(train[24:] - train[:-24]).mean()
    at = np.array(table["origin"]) + np.array(table["step"]) - 1
    assert figure(answer, "test_mase") == pytest.approx(
        np.abs(y[at] - np.array(table["q0.5"])).mean() / scale, abs=1e-5
    )
    assert figure(answer, "test_mase_naive") == pytest.approx(np.abs(y[at] - y[at - 24]).mean() / scale, abs=6e-5)


def test_the_runs_own_config_says_where_its_data_is(lm_run, text_file):
    run = lm_run.checkpoint.parent.parent
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]["dataset"] == str(text_file)


def test_predictions_of_a_long_memory_give_its_error_again(zoo, memory_run):
    assert zoo("predict", "--ckpt_path", memory_run.checkpoint, QUIET).status == 0
    table = pq.read_table("predictions.parquet").to_pydict()
    assert list(table) == ["example", "answer", "target", "prediction"]
    assert table["example"] == list(range(80))
    error = np.mean((np.array(table["target"]) - np.array(table["prediction"])) ** 2)
    answer = zoo("test", "--ckpt_path", memory_run.checkpoint, QUIET)
    assert figure(answer, "test_mse") == pytest.approx(error, abs=6e-5)
    assert f"{error:.4f}" in memory_run.answer.out
