"""The numbers of a series, and the order they stand in, out of a data set's columns."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from rnnzoo.data.numbers import as_numbers, first_wrong, is_number
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
        values = numbers.to_numpy().astype(np.float64)
    elif _is_numeric(rows.features, column):
        numbers = cells
        values = cells.to_numpy().astype(np.float64)
    else:
        raise RnnZooError(
            f"target_column={column!r} of {dataset} must hold numbers, but its type is {rows.features[column]}"
        )
    bad = ~np.isfinite(values) if missing == "refuse" else np.isinf(values)
    if (wrong := np.flatnonzero(bad)).size:
        more = f", and {wrong.size - 1:,} more" if wrong.size > 1 else ""
        cure = "" if np.isinf(values[wrong[0]]) else ", or say missing=mask, forward_fill or interpolate"
        raise RnnZooError(
            f"target_column={column!r} of {dataset} is {values[wrong[0]]} in row {wrong[0]:,} (the first is row 0)"
            f"{more}: fill or remove what is missing{cure}"
        )
    largest = np.abs(values[~np.isnan(values)]).max(initial=0)
    exact = largest <= 2**53 or not pa.types.is_integer(numbers.type)
    if not exact and (values.astype(object) != numbers.to_numpy().astype(object)).any():
        raise RnnZooError(
            f"target_column={column!r} of {dataset} has whole numbers up to {largest:g}, of which a float64 holds those"
            " to 2 ** 53 (9.0e15) exactly: subtract a constant from it"
        )
    return values


def resolution(rows: "Dataset", column: str, values: np.ndarray) -> float:
    """What the largest of a column's values differs by from the next that the column's type, or float64, can hold."""
    values = values[~np.isnan(values)]
    if not len(values):
        return 0.0
    kind = _type(rows.features, column) if _type(rows.features, column) in ("float16", "float32") else "float64"
    return float(np.spacing(np.abs(values).max().astype(kind)))


def read_times_of(rows: "Dataset", column: str, dataset: str) -> Any:
    """The times of all rows, timestamps or numbers, as a pandas Series.

    Raises:
        RnnZooError: a time is missing or cannot be read.
    """
    cells, what = rows.with_format("arrow")[column], f"time_column={column!r} of {dataset}"
    empty = cells.is_null().to_numpy()
    if _is_text(rows.features, column):
        empty = np.array([text is None or not text.strip() for text in cells.to_pylist()])
    if (wrong := np.flatnonzero(empty)).size:
        raise RnnZooError(f"{what} is empty in row {wrong[0]:,} (the first is row 0)")
    return as_times(rows, column, cells, what)


def as_times(rows: "Dataset", column: str, cells: Any, what: str) -> Any:
    """Timestamps or numbers, as a pandas Series."""
    import pandas as pd

    from rnnzoo.data.times import dates_in_numbers, read_times

    kind = _type(rows.features, column)
    if _is_text(rows.features, column):
        return read_times(pd.Series(cells.to_pylist(), dtype="str"), what)
    if kind.startswith(("timestamp", "date")):
        return pd.to_datetime(cells.to_pandas())
    if kind.startswith(("duration", "time32", "time64")):
        return cells.cast(pa.int32() if kind.startswith("time32") else pa.int64()).to_pandas()
    if not _is_numeric(rows.features, column):
        raise RnnZooError(f"{what} must hold dates or numbers, but its type is {rows.features[column]}")
    if kind.startswith(("int", "uint")):
        numbers = cells.to_pandas()
        return times if (times := dates_in_numbers(numbers)) is not None else numbers
    numbers = cells.to_pandas().astype(float)
    if (wrong := np.flatnonzero(~np.isfinite(numbers))).size:
        raise RnnZooError(f"{what} is {numbers[wrong[0]]} in row {wrong[0]:,} (the first is row 0)")
    return numbers


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
