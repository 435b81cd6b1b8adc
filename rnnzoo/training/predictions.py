"""Predictions as a Parquet file: one row a prediction, in the order of the data, whatever the number of processes."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from rnnzoo.cache import written_aside
from rnnzoo.errors import RnnZooError


class ParquetPredictions(Callback):
    """Writes what ``predict_step`` returns, a dictionary of columns of equal length.

    Rows are sorted by the columns of whole numbers. The file is written aside and renamed: none is ever half written.

    Args:
        path: of the file to write.
    """

    def __init__(self, path: str = "predictions.parquet"):
        self.path = Path(path)
        self._tables: list[pa.Table] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = self.path.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise RnnZooError(
                f"predictions.path {str(self.path)!r} cannot be written: {str(folder)!r} is no such folder"
            )

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, loader: int = 0
    ) -> None:
        columns = {name: column.cpu().numpy() for name, column in outputs.items()}
        describe = getattr(pl_module, "describe_predictions", None)
        self._tables.append(pa.table(describe(columns) if describe else columns))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        own = pa.concat_tables(self._tables) if self._tables else None
        self._tables = []
        if trainer.world_size > 1:
            parts: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(parts, own)
            own = pa.concat_tables([part for part in parts if part is not None])
        if trainer.is_global_zero and own is not None:
            keys = [(field.name, "ascending") for field in own.schema if pa.types.is_integer(field.type)]
            table = own.take(pc.sort_indices(own, sort_keys=keys))
            write_parquet(table, self.path)
            print(f"{table.num_rows:,} predictions in {self.path}", flush=True)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Writes a table aside and renames it."""
    with written_aside(path) as made:
        pq.write_table(table, made)
