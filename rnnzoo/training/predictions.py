"""Predictions as a Parquet or CSV file: in the order of the data, whatever the number of processes."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from pyarrow import csv

from rnnzoo.cache import written_aside
from rnnzoo.errors import RnnZooError

OF_THE_ORDER = " (of the order)"  # ends the name of a column that rows are sorted by, and that is not written
_ORDER = (f"loader{OF_THE_ORDER}", f"example{OF_THE_ORDER}", f"row{OF_THE_ORDER}")
_OTHERS = (".json", ".jsonl", ".tsv", ".txt", ".xlsx", ".xls", ".arrow", ".feather", ".gz", ".zst", ".npy", ".pt")


class PredictionsFile(BasePredictionWriter):
    """Writes what ``predict_step`` returns: a dictionary of columns of equal length, or one tensor, "prediction".

    A column is a tensor or a list; a tensor (N, K) becomes the columns NAME_0 to NAME_{K-1}. Rows are in the order of
    the data set; a module whose rows come in another has ``prediction_order``, the columns to sort by. The file is
    written aside and renamed: none is ever half written.

    Args:
        path: of the file to write: CSV where it ends in .csv, else Parquet.
        columns: of the data set, to stand beside what is predicted; one that is called like a prediction's gets
            " (data)" behind its name. None for those that name the examples, where a data module has `named_by`.
    """

    def __init__(self, path: str = "predictions.parquet", columns: list[str] | None = None):
        super().__init__("batch")
        self.path, self.columns, self._given = Path(path), list(columns or ()), columns is not None
        self._tables: list[pa.Table] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder, what = self.path.parent, f"predictions.path {str(self.path)!r} cannot be written"
        if self.path.suffix.lower() in _OTHERS:
            raise RnnZooError(f"{what} as {self.path.suffix}: it must end in .parquet or .csv")
        if self.path.is_dir():
            raise RnnZooError(f"{what}: it is a folder")
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise RnnZooError(f"{what}: {str(folder)!r} is no such folder")
        if not self._given:
            self.columns = list(getattr(getattr(trainer, "datamodule", None), "named_by", ()))
        if self.columns:
            self._own_columns(trainer, [])

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        columns = table_columns(prediction, type(pl_module).__name__)
        describe = getattr(pl_module, "describe_predictions", None)
        table = pa.table(describe(columns) if describe else columns)
        if not set(getattr(pl_module, "prediction_order", [None])) <= set(table.column_names):
            rows, examples = table.num_rows, len(batch_indices or ())
            if examples and rows % examples == 0:
                example = np.repeat(np.asarray(batch_indices), rows // examples)
            else:  # no map-style data set: batches by turns, as they are shared out
                example = np.full(rows, batch_idx * trainer.world_size + trainer.global_rank)
            for name, values in zip(_ORDER, (np.full(rows, dataloader_idx), example, np.arange(rows)), strict=True):
                table = table.append_column(name, pa.array(values))
        self._tables.append(table)

    def _own_columns(self, trainer: Trainer, number: Sequence[int]) -> dict[str, Any]:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # set by a connector
        if not hasattr(data, "own_columns"):
            raise RnnZooError(f"predictions.columns: {type(data).__name__} has no columns of its own")
        columns: dict[str, Any] = data.own_columns(self.columns, number)
        return columns

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        own = pa.concat_tables(self._tables) if self._tables else None
        self._tables = []
        if trainer.world_size > 1:
            parts: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(parts, own)
            tables = [part for part in parts if part is not None]
            own = pa.concat_tables(tables) if tables else None
        if trainer.is_global_zero and own is not None:
            its: Sequence[str] = getattr(pl_module, "prediction_order", _ORDER)
            order = _ORDER if _ORDER[0] in own.column_names else its
            keys: list[tuple[str, Literal["ascending", "descending"]]] = [(name, "ascending") for name in order]
            table = own.take(pc.sort_indices(own, sort_keys=keys))
            if self.columns:
                table = self._beside(trainer, table)
            write_table(
                table.drop_columns([name for name in table.column_names if name.endswith(OF_THE_ORDER)]), self.path
            )
            print(f"{table.num_rows:,} predictions in {self.path}", flush=True)

    def _beside(self, trainer: Trainer, table: pa.Table) -> pa.Table:
        """`table` with the columns of the data set that are asked for."""
        number = next((name for name in ("example", "sentence") if name in table.column_names), None)
        if number is None:
            raise RnnZooError("predictions.columns: the predictions do not say which example they belong to")
        for name, values in self._own_columns(trainer, table[number].to_pylist()).items():
            taken = name in table.column_names
            table = table.append_column(f"{name} (data)" if taken else name, pa.array(values))
        return table


def write_table(table: pa.Table, path: Path) -> None:
    """Writes a table aside and renames it.

    Raises:
        RnnZooError: it cannot be written, for a full disk for example.
    """
    try:
        with written_aside(path) as made:
            if path.suffix.lower() == ".csv":
                csv.write_csv(table, made, csv.WriteOptions(quoting_style="needed"))
            else:
                pq.write_table(table, made)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise RnnZooError(f"predictions.path {str(path)!r} cannot be written: {reason}") from error


def table_columns(prediction: Any, task: str) -> dict[str, Any]:
    """A prediction by column.

    Raises:
        RnnZooError: it is nothing that could be columns of one length.
    """
    if isinstance(prediction, torch.Tensor):
        prediction = {"prediction": prediction}
    if not isinstance(prediction, Mapping):
        raise RnnZooError(
            f"{task}.predict_step must return a tensor or a dictionary of tensors, not {type(prediction).__name__}"
        )
    columns: dict[str, Any] = {}
    for name, value in prediction.items():
        if not isinstance(value, torch.Tensor):
            columns[name] = value
            continue
        values = (value.float() if value.dtype == torch.bfloat16 else value).detach().cpu().numpy()
        if values.ndim < 2:
            columns[name] = values.reshape(-1)
        else:
            columns |= {f"{name}_{k}": column for k, column in enumerate(values.reshape(len(values), -1).T)}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise RnnZooError(f"{task}.predict_step must return columns of one length, not {listed}")
    return columns
