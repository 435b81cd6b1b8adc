"""Long columns a piece at a time, so that what is computed on the way takes little memory."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ROWS = 1 << 18  # of a piece


def pieces(count: int) -> Iterator[slice]:
    """The places of `count` rows, some at a time."""
    for begin in range(0, count, ROWS):
        yield slice(begin, min(begin + ROWS, count))


def as_array(cells: Any, dtype: Any, into: np.ndarray | None = None) -> np.ndarray:
    """A column of Arrow (N,) as an array of numbers, NaN for null, at no time as two: as a new one, or in `into`."""
    made = np.empty(len(cells), dtype) if into is None else into
    for rows in pieces(len(cells)):
        made[rows] = cells.slice(rows.start, rows.stop - rows.start).to_numpy()
    return made


def encoded(cells: Any) -> tuple[list[Any], np.ndarray]:
    """The different cells of a column of Arrow, in the order of their first rows, and the number of each row's.

    That is int32, and -1 for null.
    """
    made, found = np.empty(len(cells), np.int32), []
    for rows in pieces(len(cells)):
        own = cells.slice(rows.start, rows.stop - rows.start).combine_chunks().dictionary_encode()
        made[rows] = pc.fill_null(own.indices, -1).to_numpy()
        found.append(own.dictionary)
    if not found:
        return [], made
    # each piece counts from 0: what its numbers are among all
    whole = pa.chunked_array(found).combine_chunks().dictionary_encode()
    offset = 0
    for rows, one in zip(pieces(len(cells)), found, strict=True):
        numbers = np.append(whole.indices.slice(offset, len(one)).to_numpy(), np.int32(-1))  # the last for null
        made[rows] = numbers[made[rows]]
        offset += len(one)
    return whole.dictionary.to_pylist(), made


def extent(values: np.ndarray) -> tuple[float, float]:
    """The least and the largest that is known; NaN where none is."""
    if not len(values):
        return np.nan, np.nan
    return float(np.fmin.reduce(values)), float(np.fmax.reduce(values))


def series_at(rows: slice, starts: np.ndarray) -> np.ndarray:
    """The number of the series of each of some rows, where series k begins at row `starts[k]`."""
    first = int(np.searchsorted(starts, rows.start, side="right")) - 1
    stop = int(np.searchsorted(starts, rows.stop, side="left"))
    begins = np.append(np.maximum(starts[first:stop], rows.start), rows.stop)
    return np.repeat(np.arange(first, stop), np.diff(begins))


def rows_within(starts: np.ndarray, first: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Whether each row (N,) lies in the range of its series.

    Args:
        starts: (S + 1,) of the series among the rows, and the end of the last.
        first, stop: (S,) of the ranges, as places in their series; a range may be empty.
    """
    changes = np.zeros(int(starts[-1]) + 1, np.int8)  # whose running sum is 1 within a range
    np.add.at(changes, starts[:-1] + first, 1)
    np.add.at(changes, starts[:-1] + np.maximum(stop, first), -1)
    return np.cumsum(changes[:-1], dtype=np.int8, out=changes[:-1]).view(bool)


def mean_and_std(values: np.ndarray, where: np.ndarray) -> tuple[float, float]:
    """Of the values (N,) that are known and lie where `where` (N,) is true; NaN where there are none."""
    count, total = 0, 0.0
    for own in _known(values, where):
        count, total = count + len(own), total + np.add.reduce(own)
    if not count:
        return float("nan"), float("nan")
    mean = total / count
    squares = sum(np.add.reduce(np.square(own - mean)) for own in _known(values, where))
    return float(mean), float(np.sqrt(squares / count))


def _known(values: np.ndarray, where: np.ndarray) -> Iterator[np.ndarray]:
    for rows in pieces(len(values)):
        own = values[rows][where[rows]]
        own = own[~np.isnan(own)]
        if len(own):
            yield own
