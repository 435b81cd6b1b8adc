"""The numbers of a series, and the order they stand in, out of a data set's columns."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rnnzoo.data.numbers import as_numbers, first_wrong, is_number
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset, Features


def choose_column(features: "Features", column: str | None, time_column: str | None, dataset: str) -> str:
    """The column with the values: the given one, or the only one that can be meant.

    Raises:
        RnnZooError: there is none, or more than one and none given.
    """
    names = list(features)
    for argument, given in (("column", column), ("time_column", time_column)):
        if given is not None and given not in names:
            raise RnnZooError(f"{argument}={given!r} is not in {dataset!r}: it has {', '.join(names)}")
    if column is not None:
        return column
    others = [name for name in names if name != time_column]
    numeric = [name for name in others if _is_numeric(features, name)]
    if len(numeric) > 1:
        raise RnnZooError(f"{dataset!r} has more than one column of numbers, {', '.join(numeric)}: choose with column=")
    if numeric:
        return numeric[0]
    if len(others) == 1:
        return others[0]
    raise RnnZooError(f"{dataset!r} has no column of numbers: its columns are {', '.join(names)}")


def read_values(rows: "Dataset", column: str, dataset: str) -> np.ndarray:
    """The values of a column, (N,) float64.

    Raises:
        RnnZooError: a row that is text, empty, NaN or infinite, with its number (the first is 0); or other types.
    """
    cells = rows.with_format("arrow")[column]
    if _is_text(rows.features, column):
        numbers = as_numbers(cells)
        if numbers is None:
            raise RnnZooError(f"column={column!r} of {dataset!r} {_no_number(cells)}")
        values = numbers.to_numpy().astype(np.float64)
    elif _is_numeric(rows.features, column):
        numbers = cells
        values = cells.to_numpy().astype(np.float64)
    else:
        raise RnnZooError(
            f"column={column!r} of {dataset!r} must hold numbers, but its type is {rows.features[column]}"
        )
    if (wrong := np.flatnonzero(~np.isfinite(values))).size:
        more = f", and {wrong.size - 1:,} more" if wrong.size > 1 else ""
        raise RnnZooError(
            f"column={column!r} of {dataset!r} is {values[wrong[0]]} in row {wrong[0]:,} (the first is row 0){more}: "
            "fill or remove what is missing"
        )
    largest = np.abs(values).max(initial=0)
    exact = largest <= 2**53 or not pa.types.is_integer(numbers.type)
    if not exact and (values.astype(object) != numbers.to_numpy().astype(object)).any():
        raise RnnZooError(
            f"column={column!r} of {dataset!r} has whole numbers up to {largest:g}, of which a float64 holds those to "
            "2 ** 53 (9.0e15) exactly: subtract a constant from it"
        )
    return values


def resolution(rows: "Dataset", column: str, values: np.ndarray) -> float:
    """What the largest of a column's values differs by from the next that the column's type, or float64, can hold."""
    if not len(values):
        return 0.0
    kind = _type(rows.features, column) if _type(rows.features, column) in ("float16", "float32") else "float64"
    return float(np.spacing(np.abs(values).max().astype(kind)))


def check_times(rows: "Dataset", column: str, dataset: str, warn: Callable[[str], object]) -> None:
    """Raises RnnZooError when a time is missing, cannot be read, or is not later than that of the row before.

    Steps that are missing or uneven are a warning: the rows are taken as they come, one step after the other.
    """
    from rnnzoo.data.steps import first_that_is_not_later, steps_of  # loads pandas

    cells, what = rows.with_format("arrow")[column], f"time_column={column!r} of {dataset!r}"
    empty = cells.is_null().to_numpy()
    if _is_text(rows.features, column):
        empty = np.array([text is None or not text.strip() for text in cells.to_pylist()])
    if (wrong := np.flatnonzero(empty)).size:
        raise RnnZooError(f"{what} is empty in row {wrong[0]:,} (the first is row 0)")
    times = as_times(rows, column, cells, what)
    if k := first_that_is_not_later(times):
        raise RnnZooError(
            f"{what} must increase, but row {k:,} (the first is row 0) has {cells[k]} after {cells[k - 1]}: sort the "
            "rows, and keep one for each time"
        )
    if len(times) < 3:
        return
    steps = steps_of(times)
    where = (
        f"the first behind row {steps.first:,} (the first is row 0), {cells[steps.first]}: the model takes all rows "
        "for equally far apart"
    )
    if steps.uneven:
        warn(f"{what} has {steps.uneven:,} steps that are no multiple of {steps.length}, {where}")
    elif steps.missing:
        total = len(times) + steps.missing
        warn(f"{what} lacks {steps.missing:,} of {total:,} rows at steps of {steps.length}, {where}; fill them in")


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
