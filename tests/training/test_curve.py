"""The curve of a run: the series are those of metrics.csv, and the picture shows them, whoever draws it."""

import multiprocessing
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rnnzoo.errors import RnnZooError
from rnnzoo.training.curve import best_step, draw_run, draw_runs, panels
from rnnzoo.training.run_files import read_metrics

ROWS = """epoch,seconds,step,lr-AdamW,test_loss,train_loss,val_accuracy,val_loss
0,0.5,4,0.1,,3.0,,
0,1.0,9,0.1,,2.5,,
0,1.5,9,,,,0.25,2.75
1,2.0,14,0.1,,2.0,,
1,3.0,19,,,,0.5,2.25
2,4.0,29,,,,0.75,2.5
3,4.5,30,,1.5,,,
"""


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "runs" / "x" / "version_0"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text(ROWS)
    (folder / "run.json").write_text('{"cell": "gru", "hidden_size": 8, "parameters": 1234, "best": 2.25}')
    return folder


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        image.load()  # a half written file raises
        return np.asarray(image.convert("RGB")).astype(int)


def share(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    """The part of a picture that is nearly of a colour."""
    return float((np.abs(picture - colour).max(-1) < 30).mean())


BLUE, ORANGE = (31, 119, 180), (255, 127, 14)


def test_the_series_are_those_that_pandas_reads(run):
    table, metrics = pd.read_csv(run / "metrics.csv"), read_metrics(run)
    assert set(metrics) == set(table.columns) - {"epoch", "step", "seconds"}
    for name, series in metrics.items():
        rows = table.dropna(subset=name)
        assert series.values == rows[name].tolist()
        assert series.steps == rows["step"].tolist()
        assert series.seconds == rows["seconds"].tolist()


def test_an_epochs_end_is_a_whole_epoch_and_the_steps_within_lie_between(run):
    metrics = read_metrics(run)
    assert metrics["val_loss"].epochs == [1, 2, 3]
    assert metrics["train_loss"].epochs == [0.5, 1, 1.5]


def test_losses_share_a_panel_and_each_further_metric_has_its_own(run):
    assert [(p.title, list(p.series)) for p in panels(read_metrics(run))] == [
        ("loss", ["train_loss", "val_loss"]),
        ("accuracy", ["val_accuracy"]),
    ]


def test_what_a_constant_reaches_stands_beside_its_metric(run):
    metrics = read_metrics(run)
    metrics |= {f"{name}_constant": metrics[name] for name in ("val_loss", "val_accuracy")}
    assert [(p.title, list(p.series)) for p in panels(metrics)] == [
        ("loss", ["train_loss", "val_loss", "val_loss_constant"]),
        ("accuracy", ["val_accuracy", "val_accuracy_constant"]),
    ]


def test_the_best_accuracy_is_the_highest(run):
    metrics = read_metrics(run)
    assert (metrics["val_accuracy"].best("val_accuracy"), metrics["val_loss"].best("val_loss")) == (2, 1)


def test_the_best_step_is_that_of_the_lowest_loss_unless_best_ckpt_is_of_the_run_before(run):
    metrics = read_metrics(run)
    assert best_step(metrics, {"best": 2.25}) == 19
    assert best_step(metrics, {"best": 1.75}) is None
    assert best_step(metrics, {}) is None


def test_the_picture_can_be_read_back_and_shows_both_losses(run):
    assert draw_run(run) == run / "curve.png"
    picture = pixels(run / "curve.png")
    height, width, _ = picture.shape
    assert width > 1200  # two panels side by side
    assert height > 450
    assert share(picture, BLUE) > 5e-4
    assert share(picture[:, : width // 2], ORANGE) > 5e-4
    assert share(picture[:, width // 2 :], ORANGE) > 5e-4
    assert sorted(p.name for p in run.iterdir()) == ["curve.png", "metrics.csv", "run.json"]


def test_drawing_leaves_pyplot_alone(run):
    before = "matplotlib.pyplot" in sys.modules
    draw_run(run)
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_losses_that_are_no_numbers_are_drawn_as_gaps(run):
    (run / "metrics.csv").write_text("epoch,step,train_loss,val_loss\n0,1,nan,\n0,1,,nan\n1,3,2.0,\n1,3,,inf\n")
    draw_run(run)
    assert share(pixels(run / "curve.png"), BLUE) > 0


def test_where_nothing_was_logged_nothing_is_drawn(run):
    (run / "metrics.csv").write_text("epoch,step,test_loss\n0,1,2.0\n")
    assert draw_run(run) is None
    (run / "metrics.csv").unlink()
    assert draw_run(run) is None


def test_a_file_that_no_run_wrote_is_named(run):
    (run / "metrics.csv").write_text("epoch,step,val_loss\n0,one,2.0\n")
    with pytest.raises(RnnZooError, match=r"metrics\.csv' is not what a run writes"):
        draw_run(run)


def test_each_of_several_runs_has_a_colour(run, tmp_path):
    series = read_metrics(run)["val_loss"]
    draw_runs({"gru": series, "lstm": read_metrics(run)["train_loss"]}, "val_loss", "time", tmp_path / "two.png")
    picture = pixels(tmp_path / "two.png")
    assert min(share(picture, BLUE), share(picture, ORANGE)) > 5e-4
    draw_runs({str(k): series for k in range(12)}, "val_loss", "epoch", tmp_path / "new" / "twelve.pdf")
    assert (tmp_path / "new" / "twelve.pdf").read_bytes().startswith(b"%PDF")


def _draw(run: str, barrier) -> None:
    barrier.wait(60)
    for _ in range(3):
        draw_run(Path(run))


def test_two_processes_that_write_one_picture_leave_it_whole(run):
    draw_run(run)
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    processes = [context.Process(target=_draw, args=(str(run), barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        pixels(run / "curve.png")
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(p.name for p in run.iterdir()) == ["curve.png", "metrics.csv", "run.json"]
