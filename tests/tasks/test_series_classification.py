"""The task on labelled series: labels and numbers in the data's units, scikit-learn's figures, cells that take gaps."""

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.metrics import f1_score, mean_absolute_error, mean_squared_error

import rnnzoo
from rnnzoo import Description, RnnZooError
from rnnzoo.cells.missing_values import time_since_observed
from rnnzoo.data import LabelledSeriesData
from rnnzoo.tasks import SequenceTask

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


def frame(count=24, seed=0, gaps=False):
    draw = np.random.default_rng(seed)
    rows = []
    for k in range(count):
        t = 0
        for step in range(3 + k % 4):
            t += int(draw.integers(1, 5)) if gaps else 1
            a = np.nan if gaps and step % 3 == 1 else draw.normal(100 + 10 * (k % 3), 1)
            rows.append({"id": k, "t": t, "a": a, "b": draw.normal(), "kind": "abc"[k % 3], "y": 7.5 * k})
    return pd.DataFrame(rows)


def data_of(rows, **settings):
    return LabelledSeriesData(rows, **{"label_column": "kind", "features": ["a", "b"], "batch_size": 4, **settings})


def figures_of(task, data):
    return Trainer(**QUIET, enable_checkpointing=False).test(task, data, verbose=False)[0]


def saved(task, path):
    trainer = Trainer(**QUIET)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(path)
    return rnnzoo.load(path)


def test_predictions_are_labels_in_the_datas_units_whoever_asks(tmp_path):
    rows = frame()
    data = data_of(rows)
    task = saved(
        SequenceTask(data.description, hidden_size=4, pooling="mean", stem={"channels": 3}), tmp_path / "c.ckpt"
    )
    data.setup("predict")
    batch = next(iter(data.loader("test", training=False)))
    said = task.describe_predictions({k: v.tolist() for k, v in task.predict_step(batch, 0).items()})
    ids = data.rows("test")["id"][:]
    series = [rows[rows["id"] == k][["a", "b"]].to_numpy() for k in ids]
    told = task.predict(series)
    assert list(told.columns) == ["example", "label", "probability"]
    assert said["label"] == told["label"].tolist()[: len(said["label"])]
    np.testing.assert_allclose(said["probability"], told["probability"][: len(said["label"])], rtol=1e-5)
    mean, std = (np.array(data.description.more[name]) for name in ("feature_center", "feature_scale"))
    logits = task(torch.tensor((series[0] - mean) / std, dtype=torch.float32)[None])[0, 0]
    assert told["probability"][0] == pytest.approx(logits.softmax(0).max().item(), rel=1e-5)
    assert told["label"][0] == "abc"[int(logits.argmax())]
    with pytest.raises(RnnZooError, match=r"^sequence 0 has nan in feature 1 at step 2$"):
        task.predict([np.array([[1.0, 2.0], [1.0, 2.0], [3.0, np.nan]])])


def test_figures_are_those_of_scikit_learn():
    data = data_of(frame(60))
    task = SequenceTask(data.description, hidden_size=4)
    figures = figures_of(task, data)
    examples = data.read("test", training=False)
    with torch.no_grad():
        task.eval()
        batch = examples.__getitems__(range(len(examples)))
        said = task(batch.x, batch.lengths)[:, 0].argmax(-1)
    assert figures["test_accuracy"] == pytest.approx(float((said.numpy() == examples.answers).mean()))
    expected = f1_score(examples.answers, said, average="macro", labels=[0, 1, 2], zero_division=0)
    assert figures["test_macro_f1"] == pytest.approx(expected, abs=1e-6)
    lines = task.reached(figures)
    assert [line.partition(":")[0] for line in lines[:2]] == ["held-out accuracy", "held-out macro F1"]


def test_numbers_are_in_their_unit_and_the_loss_in_that_of_their_spread():
    data = data_of(frame(60), label_column="y", regression=True)
    about = data.description
    task = SequenceTask(about, hidden_size=4).eval()
    examples = data.read("test", training=False)
    batch = examples.__getitems__(range(len(examples)))
    with torch.no_grad():
        y = task(batch.x, batch.lengths)[:, 0]
        plain = task.model(batch.x, batch.lengths)[:, 0, 0]
    torch.testing.assert_close(y, about.constant + about.more["answer_scale"] * plain)
    figures = figures_of(task, data)
    assert figures["test_mse"] == pytest.approx(mean_squared_error(examples.answers, y), rel=1e-4)
    assert figures["test_mae"] == pytest.approx(mean_absolute_error(examples.answers, y), rel=1e-4)
    assert figures["test_loss"] == pytest.approx(figures["test_mse"] / about.more["answer_scale"] ** 2, rel=1e-4)
    spread = float(((examples.answers - about.constant) ** 2).mean())
    lines = task.reached(figures)
    assert float(lines[1].rpartition(" ")[2]) == pytest.approx(spread, rel=1e-3)
    assert lines[2].startswith("held-out mean absolute error: ")


@pytest.mark.parametrize("cell", ["gru_d", "ode_rnn", "cfc", "phased_lstm", "gru"])
def test_gaps_and_masks_reach_the_cells_that_take_them(cell):
    data = data_of(frame(gaps=True), time_column="t", missing="mask")
    task = SequenceTask(data.description, cell=cell, hidden_size=4).eval()
    batch = next(iter(data.loader("train", training=False)))
    takes = task.rnn._cells[0][0].inputs
    own = {name: batch.inputs[name] for name in takes}
    if cell == "gru_d":
        assert not batch.inputs["mask"].all()
        since = time_since_observed(batch.inputs["dt"].transpose(0, 1), batch.inputs["mask"].transpose(0, 1))
        own["dt"] = since.transpose(0, 1)
    y, _ = task.rnn(batch.x, lengths=batch.lengths, **own)
    last = y.gather(1, (batch.lengths - 1)[:, None, None].expand(-1, 1, y.shape[-1]))
    torch.testing.assert_close(task(batch.x, batch.lengths, batch.inputs), task.model.head(last))
    if takes:
        regular = task(batch.x, batch.lengths)
        assert not torch.allclose(regular, task(batch.x, batch.lengths, batch.inputs))


def test_a_cell_that_cannot_be_told_what_is_missing_is_a_warning_or_an_error():
    about = data_of(frame(gaps=True), missing="mask").description
    with pytest.warns(UserWarning, match="missing=mask: gru takes no mask"):
        SequenceTask(about, cell="gru", hidden_size=4)
    with pytest.raises(RnnZooError, match=r"cell='gru_d' takes the mask of its features.* num_layers must be 1"):
        SequenceTask(about, cell="gru_d", hidden_size=4, num_layers=2)
    with pytest.raises(RnnZooError, match="stem and cell='cfc' exclude each other"):
        SequenceTask(about, cell="cfc", hidden_size=4, stem={})


def test_a_head_starts_anew_for_other_labels_and_what_reads_the_series_does_not(tmp_path):
    data = data_of(frame())
    saved(SequenceTask(data.description, hidden_size=4), tmp_path / "c.ckpt")
    old = rnnzoo.load(tmp_path / "c.ckpt")
    other = data_of(frame().assign(kind=lambda f: f["kind"].str.upper())).description
    new = SequenceTask(other, hidden_size=4, pretrained=str(tmp_path / "c.ckpt"))
    assert torch.equal(new.rnn.layers[0][0].weight_ih, old.rnn.layers[0][0].weight_ih)
    assert not torch.equal(new.model.head.weight, old.model.head.weight)


def test_sequences_of_other_data_are_judged_as_before():
    task = SequenceTask(Description(input_size=2, classes=3), hidden_size=4)
    assert task.confusion is None
    assert task.prediction_order == ("example", "answer")
    assert not [name for name in task.state_dict() if "pooling" in name or "stem" in name]
