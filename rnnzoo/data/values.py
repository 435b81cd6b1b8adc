"""The numbers of a series, and the order they stand in, out of a data set's columns."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnzoo.data.numbers import as_numbers, first_wrong, is_number
from rnnzoo.data.pieces import as_array, extent, pieces
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset, Features


def choose_column(features: "Features", column: str | None, others: Collection[str], dataset: str) -> str:
    """The column with the values: the given one, or the only one of numbers that has no other use.

    Raises:
        RnnZooError: there is none, or more than one and none given.
    """
    names = list(features)
    if column is not None:
        return column
    left = [name for name in names if name not in others]
    numeric = [name for name in left if _is_numeric(features, name)]
    if len(numeric) > 1:
        raise RnnZooError(
            f"{dataset} has more than one column of numbers, {', '.join(numeric)}: choose with target_column="
        )
    if numeric:
        return numeric[0]
    if len(left) == 1:
        return left[0]
    raise RnnZooError(f"{dataset} has no column of numbers: its columns are {', '.join(names)}")


def read_values(
    rows: "Dataset", column: str, dataset: str, missing: Literal["refuse", "allow"] = "refuse"
) -> np.ndarray:
    """The values of a column, (N,) float64.

    Args:
        rows: of the data set.
        column: of the values.
        dataset: its name, for messages.
        missing: whether a row may be empty, or NaN.

    Raises:
        RnnZooError: a row that is text, infinite, or missing, with its number (the first is 0); or other types.
    """
    cells = rows.with_format("arrow")[column]
    if _is_text(rows.features, column):
        numbers = as_numbers(cells)
        if numbers is None:
            raise RnnZooError(f"target_column={column!r} of {dataset} {_no_number(cells)}")
    elif _is_numeric(rows.features, column):
        numbers = cells
    else:
        raise RnnZooError(
            f"target_column={column!r} of {dataset} must hold numbers, but its type is {rows.features[column]}"
        )
    values = as_array(numbers, np.float64)
    low, high = extent(values)
    refused = missing == "refuse" and len(values) and np.isnan(values.min())  # the least is NaN where one is
    if refused or np.isinf(low) or np.isinf(high):
        wrong = np.flatnonzero(~np.isfinite(values) if missing == "refuse" else np.isinf(values))
        more = f", and {wrong.size - 1:,} more" if wrong.size > 1 else ""
        cure = "" if np.isinf(values[wrong[0]]) else ", or say missing=mask, forward_fill or interpolate"
        raise RnnZooError(
            f"target_column={column!r} of {dataset} is {values[wrong[0]]} in row {wrong[0]:,} (the first is row 0)"
            f"{more}: fill or remove what is missing{cure}"
        )
    largest = max(abs(low), abs(high))
    if largest > 2**53 and pa.types.is_integer(numbers.type) and not _is_exact(values, numbers):
        raise RnnZooError(
            f"target_column={column!r} of {dataset} has whole numbers up to {largest:g}, of which a float64 holds those"
            " to 2 ** 53 (9.0e15) exactly: subtract a constant from it"
        )
    return values


def _is_exact(values: np.ndarray, numbers: Any) -> bool:
    for rows in pieces(len(values)):
        own = numbers.slice(rows.start, rows.stop - rows.start)
        there = own.is_valid().to_numpy()
        if (values[rows][there].astype(object) != own.drop_null().to_numpy().astype(object)).any():
            return False
    return True


def resolution(rows: "Dataset", column: str, values: np.ndarray) -> float:
    """What the largest of a column's values differs by from the next that the column's type, or float64, can hold."""
    low, high = extent(values)
    if np.isnan(low):
        return 0.0
    kind = _type(rows.features, column) if _type(rows.features, column) in ("float16", "float32") else "float64"
    return float(np.spacing(np.array(max(abs(low), abs(high)), kind)))


def read_times_of(rows: "Dataset", column: str, dataset: str) -> Any:
    """The times of all rows, timestamps or numbers, as a pandas Series.

    Raises:
        RnnZooError: a time is missing or cannot be read.
    """
    cells, what = rows.with_format("arrow")[column], f"time_column={column!r} of {dataset}"
    empty = None
    if cells.null_count:
        empty = cells.is_null()
    elif _is_text(rows.features, column):
        empty = pc.equal(pc.utf8_trim_whitespace(cells), "")
    if empty is not None and (wrong := np.flatnonzero(empty.to_numpy())).size:
        raise RnnZooError(f"{what} is empty in row {wrong[0]:,} (the first is row 0)")
    return as_times(rows, column, cells, what)


def as_times(rows: "Dataset", column: str, cells: Any, what: str) -> Any:
    """Timestamps in nanoseconds, or numbers, as a pandas Series."""
    import pandas as pd

    from rnnzoo.data.times import dates_in_numbers, read_times

    kind = _type(rows.features, column)
    if _is_text(rows.features, column):
        times = _iso_times(cells, what)
        if times is None:
            times = _in_nanoseconds(read_times(pd.Series(cells.to_pylist(), dtype="str"), what), what)
        return times
    if kind.startswith(("timestamp", "date")):
        return _timestamps(cells, what)
    if kind.startswith(("duration", "time32", "time64")):
        return cells.cast(pa.int32() if kind.startswith("time32") else pa.int64()).to_pandas()
    if not _is_numeric(rows.features, column):
        raise RnnZooError(f"{what} must hold dates or numbers, but its type is {rows.features[column]}")
    if kind.startswith(("int", "uint")):
        numbers = cells.to_pandas()
        times = dates_in_numbers(numbers)
        return numbers if times is None else _in_nanoseconds(times, what)
    values = as_array(cells, np.float64)
    if not np.isfinite(values.min(initial=0.0) + values.max(initial=0.0)):
        wrong = np.flatnonzero(~np.isfinite(values))
        raise RnnZooError(f"{what} is {values[wrong[0]]} in row {wrong[0]:,} (the first is row 0)")
    return pd.Series(values)


def _timestamps(cells: Any, what: str) -> Any:
    """A column of timestamps or dates in nanoseconds, as a pandas Series; a zone stays."""
    import pandas as pd

    if pa.types.is_date(cells.type):
        cells = cells.cast(pa.timestamp("ms"))
    clock = np.empty(len(cells), "datetime64[ns]")
    zone = cells.slice(0, 1).to_pandas().dt.tz
    for rows in pieces(len(cells)):
        own = _in_nanoseconds(cells.slice(rows.start, rows.stop - rows.start).to_pandas(), what, rows.start)
        clock[rows] = own if zone is None else own.dt.tz_convert("UTC").dt.tz_localize(None)
    index = pd.DatetimeIndex(clock, copy=False)
    return pd.Series(index if zone is None else index.tz_localize("UTC").tz_convert(zone), copy=False)


def _iso_times(cells: Any, what: str) -> Any:
    """A column of texts by ISO 8601 as `_timestamps`, without all of them as strings of Python; None for others."""
    import pandas as pd

    from rnnzoo.data.times import read_iso

    clock, zones = np.empty(len(cells), "datetime64[ns]"), set[bool]()
    for rows in pieces(len(cells)):
        own = read_iso(pd.Series(cells.slice(rows.start, rows.stop - rows.start).to_pylist(), dtype="str"))
        if own is None or len(zones | {own[1]}) > 1:
            return None
        zones.add(own[1])
        clock[rows] = _in_nanoseconds(own[0], what, rows.start).dt.tz_localize(None)
    index = pd.DatetimeIndex(clock, copy=False)
    return pd.Series(index.tz_localize("UTC") if True in zones else index, copy=False)


def _in_nanoseconds(times: Any, what: str, first: int = 0) -> Any:
    """A pandas Series of timestamps in nanoseconds; `first` is the number of its first row."""
    import pandas as pd

    try:
        return times.dt.as_unit("ns")
    except pd.errors.OutOfBoundsDatetime as error:
        k = int(np.flatnonzero(~times.dt.year.between(1678, 2261))[0])
        raise RnnZooError(
            f"{what} has {times.iloc[k]} in row {first + k:,} (the first is row 0), outside the years 1678 to 2261:"
            " write such times as numbers"
        ) from error


def _no_number(cells: Any) -> str:
    """What is wrong with a column of text."""
    if cells.null_count == len(cells) or not any(text.strip() for text in cells.drop_null().to_pylist()):
        return "is empty"
    row, text = first_wrong(cells)
    shown = repr(text if len(text) <= 60 else f"{text[:60]}...")
    if is_number(text):
        return (
            f"has {shown} in row {row:,} (the first is row 0), where a comma or point may be the decimal sign or set "
            "thousands apart: write all rows with a decimal point, and thousands together"
        )
    return f"must hold numbers, but row {row:,} (the first is row 0) has {shown}"


def _type(features: "Features", name: str) -> str:
    return str(getattr(features[name], "dtype", ""))


def _is_numeric(features: "Features", name: str) -> bool:
    return _type(features, name).startswith(("int", "uint", "float", "decimal"))


def _is_text(features: "Features", name: str) -> bool:
    return _type(features, name) in ("string", "large_string", "null")
