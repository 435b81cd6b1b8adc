"""Lists of different lengths side by side, as Arrow has them: one array of values, and where each list begins."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


class Ragged:
    """B lists of numbers.

    >>> ragged = Ragged(np.array([5, 6, 7]), np.array([0, 1, 3]))
    >>> ragged.padded().tolist(), ragged.lengths.tolist()
    ([[5, 0], [6, 7]], [1, 2])

    Args:
        values: of all lists, one behind the other.
        offsets: (B + 1,) where each begins in `values`, and where the last one ends.
    """

    def __init__(self, values: np.ndarray, offsets: np.ndarray) -> None:
        self.values, self.starts, self.lengths = values, offsets[:-1], np.diff(offsets)

    def __len__(self) -> int:
        return len(self.starts)

    def cut(self, first: np.ndarray, most: int) -> "Ragged":
        """At most `most` values of each, from its `first` (B,) on."""
        made = Ragged.__new__(Ragged)
        made.values, made.starts = self.values, self.starts + first
        made.lengths = np.minimum(self.lengths - first, most)
        return made

    def padded(self, fill: int = 0) -> Tensor:
        """All of them as int64 (B, T), T the longest, 1 at least; `fill` behind the ends."""
        steps = np.arange(max(int(self.lengths.max(initial=0)), 1))
        inside = steps < self.lengths[:, None]
        place = np.where(inside, self.starts[:, None] + steps, 0)
        found = self.values[place] if len(self.values) else place
        return torch.from_numpy(np.where(inside, found, fill).astype(np.int64))


def columns_of(table: Any) -> dict[str, Any]:
    """The columns of an Arrow table: lists as `Ragged`, anything else as arrays of numpy."""
    import pyarrow as pa

    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # of no rows
            column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            offsets = column.offsets.to_numpy()
            columns[name] = Ragged(column.values.to_numpy(zero_copy_only=False), offsets)
        else:
            columns[name] = column.to_numpy(zero_copy_only=False)
    return columns
