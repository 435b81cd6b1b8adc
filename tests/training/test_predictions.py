"""Predictions in a file: in order, whole or not at all."""

import csv
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from rnnzoo import RnnZooError
from rnnzoo.training.predictions import PredictionsFile, write_table

TRAINER = SimpleNamespace(world_size=1, is_global_zero=True, global_rank=0)
TASK = SimpleNamespace(prediction_order=["position"])


def columns(*positions):
    return {"position": torch.tensor(positions), "log_prob": torch.tensor([-0.5 * p for p in positions])}


def written(callback, *batches):
    callback.on_predict_start(TRAINER, TASK)
    for k, batch in enumerate(batches):
        callback.write_on_batch_end(TRAINER, TASK, batch, None, None, k, 0)
    callback.on_predict_end(TRAINER, TASK)


def test_rows_come_in_the_order_of_the_data(tmp_path):
    written(PredictionsFile(str(tmp_path / "p.parquet")), columns(1, 11, 2, 12), columns(3, 13, 4, 14))
    table = pq.read_table(tmp_path / "p.parquet").to_pydict()
    assert table["position"] == [1, 2, 3, 4, 11, 12, 13, 14]
    assert table["log_prob"] == [-0.5 * p for p in table["position"]]


def test_a_file_that_ends_in_csv_is_csv(tmp_path):
    path = tmp_path / "p.csv"
    batch = {**columns(2, 1), "token": ["a,b", '"\n']}
    written(PredictionsFile(str(path)), batch)
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [["position", "log_prob", "token"], ["1", "-0.5", '"\n'], ["2", "-1", "a,b"]]


@pytest.mark.parametrize("name", ["p.json", "p.csv.gz", "p.TSV", "there"])
def test_a_file_that_would_be_something_else_is_an_error(tmp_path, name):
    (tmp_path / "there").mkdir()
    with pytest.raises(RnnZooError, match=r"predictions\.path .* cannot be written"):
        PredictionsFile(str(tmp_path / name)).on_predict_start(TRAINER, TASK)


def predicted(tmp_path, *outputs, indices=None):
    callback, task = PredictionsFile(str(tmp_path / "p.parquet")), SimpleNamespace()
    for k, output in enumerate(outputs):
        callback.write_on_batch_end(TRAINER, task, output, indices and indices[k], None, k, 0)
    callback.on_predict_end(TRAINER, task)
    return pq.read_table(tmp_path / "p.parquet").to_pydict()


def test_rows_that_do_not_say_where_they_belong_stay_in_the_order_of_the_data(tmp_path):
    outputs = [{"label": torch.tensor([3, 1])}, {"label": torch.tensor([2, 0])}]
    assert predicted(tmp_path, *outputs) == {"label": [3, 1, 2, 0]}
    assert predicted(tmp_path, *outputs, indices=[[2, 0], [3, 1]]) == {"label": [1, 0, 3, 2]}
    assert predicted(tmp_path, torch.tensor([9.0, 8, 7, 6]), indices=[[1, 0]]) == {"prediction": [7, 6, 9, 8]}


def test_tensors_of_any_kind_become_columns(tmp_path):
    output = {
        "two": torch.arange(6, dtype=torch.bfloat16).view(3, 2),
        "grad": torch.ones(3, requires_grad=True),
        "yes": torch.tensor([True, False, True]),
        "name": ["a", "b", "c"],
    }
    table = predicted(tmp_path, output)
    assert table == {
        "two_0": [0, 2, 4],
        "two_1": [1, 3, 5],
        "grad": [1, 1, 1],
        "yes": [True, False, True],
        "name": ["a", "b", "c"],
    }


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ({"a": torch.ones(3), "b": torch.ones(2)}, "columns of one length, not a 3, b 2"),
        ([torch.ones(3)], "a tensor or a dictionary of tensors, not list"),
        (None, "not NoneType"),
    ],
)
def test_what_cannot_be_columns_is_an_error(tmp_path, output, says):
    with pytest.raises(RnnZooError, match=f"predict_step must return {says}" if "not N" not in says else says):
        predicted(tmp_path, output)


def test_a_second_prediction_does_not_repeat_the_first(tmp_path):
    callback = PredictionsFile(str(tmp_path / "p.parquet"))
    written(callback, columns(1, 2))
    written(callback, columns(3, 4))
    assert pq.read_table(tmp_path / "p.parquet")["position"].to_pylist() == [3, 4]


def test_a_task_may_name_what_its_numbers_mean(tmp_path, monkeypatch):
    monkeypatch.setattr(
        TASK, "describe_predictions", lambda c: {**c, "kind": ["x"] * len(c["position"])}, raising=False
    )
    written(PredictionsFile(str(tmp_path / "p.parquet")), columns(2, 1))
    assert pq.read_table(tmp_path / "p.parquet").column_names == ["position", "log_prob", "kind"]


def test_a_file_that_cannot_be_finished_leaves_the_old_one_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "p.parquet"
    path.write_text("the old one")

    def full(table, aside):
        with open(aside, "w") as file:
            file.write("half")
        raise OSError(28, "No space left on device", aside)

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(RnnZooError, match=r"predictions\.path .*p\.parquet' cannot be written: No space left"):
        write_table(pa.table({"a": [1]}), path)
    assert [p.name for p in tmp_path.iterdir()] == ["p.parquet"]
    assert path.read_text() == "the old one"


def test_a_folder_that_is_missing_is_known_before_anything_is_predicted(tmp_path):
    callback = PredictionsFile(str(tmp_path / "no" / "p.parquet"))
    with pytest.raises(RnnZooError, match=r"predictions\.path .*/no/p\.parquet' cannot be written: .*no such folder"):
        callback.on_predict_start(TRAINER, TASK)
