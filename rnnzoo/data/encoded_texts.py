"""Encoded texts on the disk: as Arrow tables, and as batches of them."""

from typing import TYPE_CHECKING, Any

import numpy as np

from rnnzoo.data.buckets import Draw
from rnnzoo.data.ragged import columns_of

if TYPE_CHECKING:
    from datasets import Dataset

    from rnnzoo.data.text_examples import TextExamples


class EncodedExamples:
    """The rows of an encoded data set; item `Draw` is a batch, in training a random piece of each."""

    def __init__(self, data: "TextExamples", encoded: "Dataset", crop: int | None) -> None:
        self.encoded, self.crop, self.data = encoded.with_format("arrow"), crop, data

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, draw: Draw) -> Any:
        columns = columns_of(self.encoded[draw.places])
        return self.data.make_batch(columns, np.asarray(draw.places), draw.epoch, self.crop)


def as_table(columns: dict[str, list[Any]]) -> Any:
    """What `TextExamples.encode` gives as an Arrow table."""
    import pyarrow as pa

    return pa.table({name: _small(values) for name, values in columns.items()})


def lengths_of(encoded: "Dataset") -> np.ndarray:
    """The lengths of all rows in tokens."""
    return np.concatenate(
        [table["length"].to_numpy() for table in encoded.select_columns("length").with_format("arrow").iter(1 << 16)]
    )


def _small(values: list[Any]) -> Any:
    """Integers as int32, in Arrow's own lists; whatever else as Arrow has it."""
    import pyarrow as pa

    first = next((v for v in values if v is not None), None)
    if isinstance(first, int | np.integer) and not isinstance(first, bool):
        return pa.array(values, pa.int32())
    if isinstance(first, list | np.ndarray):
        inner = next((v[0] for v in values if len(v)), 0)
        if isinstance(inner, int | np.integer):
            return pa.array(values, pa.list_(pa.int32()))
    return pa.array(values)
