"""Predictions in a file: in order, whole or not at all."""

from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from rnnzoo import RnnZooError
from rnnzoo.training.predictions import ParquetPredictions, write_parquet

TRAINER = SimpleNamespace(world_size=1, is_global_zero=True)
TASK = SimpleNamespace()


def columns(*positions):
    return {"position": torch.tensor(positions), "log_prob": torch.tensor([-0.5 * p for p in positions])}


def written(callback, *batches):
    callback.on_predict_start(TRAINER, TASK)
    for k, batch in enumerate(batches):
        callback.on_predict_batch_end(TRAINER, TASK, batch, None, k)
    callback.on_predict_end(TRAINER, TASK)


def test_rows_come_in_the_order_of_the_data(tmp_path):
    written(ParquetPredictions(str(tmp_path / "p.parquet")), columns(1, 11, 2, 12), columns(3, 13, 4, 14))
    table = pq.read_table(tmp_path / "p.parquet").to_pydict()
    assert table["position"] == [1, 2, 3, 4, 11, 12, 13, 14]
    assert table["log_prob"] == [-0.5 * p for p in table["position"]]


def test_a_second_prediction_does_not_repeat_the_first(tmp_path):
    callback = ParquetPredictions(str(tmp_path / "p.parquet"))
    written(callback, columns(1, 2))
    written(callback, columns(3, 4))
    assert pq.read_table(tmp_path / "p.parquet")["position"].to_pylist() == [3, 4]


def test_a_task_may_name_what_its_numbers_mean(tmp_path, monkeypatch):
    monkeypatch.setattr(
        TASK, "describe_predictions", lambda c: {**c, "kind": ["x"] * len(c["position"])}, raising=False
    )
    written(ParquetPredictions(str(tmp_path / "p.parquet")), columns(2, 1))
    assert pq.read_table(tmp_path / "p.parquet").column_names == ["position", "log_prob", "kind"]


def test_a_file_that_cannot_be_finished_leaves_the_old_one_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "p.parquet"
    path.write_text("the old one")

    def full(table, aside):
        with open(aside, "w") as file:
            file.write("half")
        raise OSError(28, "No space left on device", aside)

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        write_parquet(pa.table({"a": [1]}), path)
    assert [p.name for p in tmp_path.iterdir()] == ["p.parquet"]
    assert path.read_text() == "the old one"


def test_a_folder_that_is_missing_is_known_before_anything_is_predicted(tmp_path):
    callback = ParquetPredictions(str(tmp_path / "no" / "p.parquet"))
    with pytest.raises(RnnZooError, match=r"predictions\.path .*/no/p\.parquet' cannot be written: .*no such folder"):
        callback.on_predict_start(TRAINER, TASK)
