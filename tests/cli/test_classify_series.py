"""Series with labels, from a CSV file to predictions and pictures, as a user types it."""

import random

import numpy as np
import pandas as pd
import pytest
from command_line import CONFIGS, Run, trained

import rnnzoo

TINY = [
    f"--config={CONFIGS / 'series_classification.yaml'}",
    "--model.hidden_size=8",
    "--model.noise=0.1",
    "--trainer.enable_progress_bar=false",
]
MINE = ["--data.id_column=id", "--data.time_column=t", "--data.label_column=kind"]


def series(path, count=60, seed=0, labels=True, numbers=False):
    """A CSV file of series that rise or fall."""
    draw, rows = random.Random(seed), []
    for k in range(count):
        up = 1 if k % 2 else -1
        for t in range(4 + k % 3):
            kind = 10.0 * up + 0.5 if numbers else ("down", "up")[k % 2]
            row = {"id": f"s{k}", "t": t, "v": 50 + up * t + draw.gauss(0, 0.1), "w": draw.gauss(0, 1), "kind": kind}
            rows.append(row)
    frame = pd.DataFrame(rows)
    (frame if labels else frame.drop(columns="kind")).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Run:
    folder, cache = tmp_path_factory.mktemp("series"), tmp_path_factory.mktemp("cache")
    data = [f"--data.dataset={series(folder / 'mine.csv')}", *MINE]
    return trained(folder, cache, *TINY, *data, "--trainer.max_epochs=16")


def test_a_run_says_its_figures_and_draws_which_class_was_taken_for_which(run):
    assert run.answer.status == 0, run.answer.err
    figures = dict(line.rsplit(": ", 1) for line in run.answer.out.splitlines() if line.startswith("held-out "))
    assert float(figures["held-out accuracy"]) > 0.8
    assert float(figures["held-out macro F1"]) > 0.8
    folder = run.checkpoint.parent.parent
    assert {"confusion.png", "curve.png", "config.yaml"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("labels", [True, False])
def test_a_checkpoint_alone_says_the_label_of_new_series_by_their_ids(zoo, run, tmp_path, labels):
    new = series(tmp_path / "new.csv", 20, seed=1, labels=labels)
    answer = zoo("predict", "--ckpt_path", run.checkpoint, "--data.dataset", new, "--predictions.path", "said.csv")
    assert answer.status == 0, answer.err
    table = pd.read_csv("said.csv")
    assert list(table) == ["example", "label", "probability", "id"]
    assert table["id"].tolist() == [f"s{k}" for k in range(20)]
    assert (table["label"] == ["down", "up"] * 10).mean() > 0.8
    frame = pd.read_csv(new)
    told = rnnzoo.load(run.checkpoint).predict(
        [own[["v", "w"]].to_numpy() for _, own in frame.groupby("id", sort=False)]
    )
    assert told["label"].tolist() == table["label"].tolist()
    np.testing.assert_allclose(told["probability"], table["probability"], rtol=1e-4)


def test_the_test_command_judges_other_series_whole(zoo, run, tmp_path):
    answer = zoo("test", "--ckpt_path", run.checkpoint, "--data.dataset", series(tmp_path / "new.csv", 20, seed=1))
    assert answer.status == 0, answer.err
    figures = dict(line.split() for line in answer.out.splitlines() if line.startswith("test_"))
    assert float(figures["test_accuracy"]) > 0.8
    assert {"test_macro_f1", "test_loss"} <= set(figures)


def test_new_series_without_a_feature_are_a_line(zoo, run, tmp_path):
    new = series(tmp_path / "new.csv", 20)
    pd.read_csv(new).drop(columns="w").to_csv(new, index=False)
    answer = zoo("predict", "--ckpt_path", run.checkpoint, "--data.dataset", new)
    assert "features='w' is not among the columns" in answer.complaint


def test_numbers_are_predicted_too(zoo, tmp_path):
    mine = series(tmp_path / "mine.csv", numbers=True)
    answer = zoo("fit", *TINY, f"--data.dataset={mine}", *MINE, "--trainer.max_epochs=40")
    assert answer.status == 0, answer.err
    figures = dict(line.rsplit(": ", 1) for line in answer.out.splitlines() if ": " in line)
    assert float(figures["held-out mean squared error"]) < float(figures["a constant prediction's"]) / 2
    assert "held-out mean absolute error" in figures
    answer = zoo("predict", "--ckpt_path", answer.checkpoint, "--data.dataset", mine, "--predictions.path", "said.csv")
    assert answer.status == 0, answer.err
    table = pd.read_csv("said.csv")
    assert (np.sign(table["prediction"]) == np.tile([-1, 1], 30)).mean() > 0.8


def test_a_set_that_there_is_not_is_a_line_that_lists_those_that_there_are(zoo):
    answer = zoo("fit", *TINY, "--data.dataset=JapaneseVowel")
    assert "did you mean 'JapaneseVowels'?" in answer.complaint
    assert "the sets of sktime that are here: ACSF1, ArrowHead, BasicMotions" in answer.complaint


@pytest.mark.slow
def test_rocket_is_scored_beside_it(zoo):
    pytest.importorskip("numba")
    pytest.importorskip("sktime")
    answer = zoo("fit", *TINY, "--data.dataset=UnitTest", "--data.baseline=true", "--data.batch_size=8")
    assert answer.status == 0, answer.err
    figures = dict(line.rsplit(": ", 1) for line in answer.out.splitlines() if ": " in line)
    assert float(figures["ROCKET: accuracy"]) > 0.7
    assert 0 < float(figures["ROCKET: macro F1"]) <= 1
