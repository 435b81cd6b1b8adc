"""Series in long form, a row a step, made into a row a series, with lists in it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnzoo.data.numbers import as_numbers, first_wrong, is_number
from rnnzoo.data.values import as_times
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset

_LOOKED_AT = 1000  # cells of a column of text, for numbers


def rows_of_series(
    rows: "Dataset",
    id_column: str,
    time_column: str | None,
    constants: Sequence[str],
    features: Sequence[str],
    what: str,
) -> "Dataset":
    """A row for each series, in the order in which they first appear.

    Args:
        rows: a row for each step; the steps of a series need not stand side by side.
        id_column: says which series a step belongs to.
        time_column: by which the steps of a series are put in order, and which becomes a list of numbers: seconds,
            where it has dates. None for the order of the rows.
        constants: columns that say the same at all steps of a series, which keep their type.
        features: columns of numbers, which become lists.
        what: the data set is, for messages.

    Raises:
        RnnZooError: a row without an id or a time, a time that a series has twice, a constant that changes, or a
            feature that is no number, each with its row.
    """
    from rnnzoo.data.builders import in_memory

    table = rows.with_format("arrow")[:]
    ids = table[id_column].combine_chunks()
    if ids.null_count:
        raise RnnZooError(f"{what}: row {_first(ids.is_null()):,} (the first is row 0) has no id_column={id_column!r}")
    codes = _codes(ids)
    times = None if time_column is None else _times(rows, time_column, table[time_column], what)
    order = np.argsort(codes, kind="stable") if times is None else np.lexsort((times, codes))
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    first = order[starts]  # a row of each series
    offsets = pa.array([*starts, len(order)], pa.int64())
    if times is not None and (same := np.flatnonzero(np.diff(times[order]) == 0)).size:
        same = same[codes[order[same]] == codes[order[same + 1]]]
        if same.size:
            row = order[same[0] + 1]
            raise RnnZooError(
                f"{what}: series {ids[row].as_py()!r} has {table[time_column][row]} in time_column={time_column!r}"
                f" twice, in rows {order[same[0]]:,} and {row:,} (the first is row 0)"
            )
    columns: dict[str, Any] = {id_column: ids.take(pa.array(first))}
    for name in constants:
        _check_constant(table[name].combine_chunks(), name, codes, order, starts, ids, what)
        columns[name] = table[name].combine_chunks().take(pa.array(first))
    for name in features:
        values = numbers_of(table[name], name, what).take(pa.array(order))
        columns[name] = pa.LargeListArray.from_arrays(offsets, values)
    if time_column is not None and times is not None:
        columns[time_column] = pa.LargeListArray.from_arrays(offsets, pa.array(times[order]))
    made = pa.table(columns)
    known = type(rows.features).from_arrow_schema(made.schema)
    known |= {name: rows.features[name] for name in (id_column, *constants)}  # names of classes, for one
    return in_memory(made.replace_schema_metadata(known.arrow_schema.metadata))


def numeric_columns(rows: "Dataset", others: Sequence[str | None], what: str) -> list[str]:
    """The columns of numbers that are none of `others`.

    Raises:
        RnnZooError: there is none; or one is of text, but some of its cells are numbers.
    """
    found = [n for n in rows.column_names if n not in others and _is_numeric(rows.features[n])]
    for name in rows.column_names:
        if name in others or getattr(rows.features[name], "dtype", None) not in ("string", "large_string"):
            continue
        cells = rows.select_columns(name).with_format("arrow")[:][name]
        if any(is_number(text) for text in cells.slice(0, _LOOKED_AT).to_pylist()):
            row, text = first_wrong(cells)
            raise RnnZooError(
                f"{what}: column {name!r} has numbers, but {text!r} in row {row:,} (the first is row 0): say by"
                " features= which columns are read"
            )
    if not found:
        raise RnnZooError(f"{what} has no column of numbers to read: it has {', '.join(rows.column_names)}")
    return found


def numbers_of(cells: Any, name: str, what: str) -> Any:
    """A column as float64, with null for what is missing.

    Raises:
        RnnZooError: it holds something else.
    """
    kind = cells.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        found = as_numbers(cells)
        if found is None:
            row, text = first_wrong(cells)
            raise RnnZooError(
                f"{what}: the feature {name!r} must hold numbers, but has {text!r} in row {row:,} (the first is row 0)"
            )
        cells = found
    elif not is_number_type(kind):
        raise RnnZooError(f"{what}: the feature {name!r} must hold numbers, but its type is {kind}")
    cells = cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
    return cells.cast(pa.float64(), safe=False)


def is_number_type(kind: Any) -> bool:
    """Whether a type of Arrow holds numbers or truth values."""
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(check(kind) for check in checks)


def _is_numeric(feature: Any) -> bool:
    return getattr(feature, "names", None) is None and str(getattr(feature, "dtype", "")).startswith(
        ("int", "uint", "float", "decimal")
    )


def _times(rows: "Dataset", column: str, cells: Any, what: str) -> np.ndarray:
    """Times as numbers, seconds where they are dates."""
    named = f"{what}: time_column={column!r}"
    empty = [cell is None or (isinstance(cell, str) and not cell.strip()) for cell in cells.to_pylist()]
    if any(empty):
        raise RnnZooError(f"{named} is empty in row {empty.index(True):,} (the first is row 0)")
    times = as_times(rows, column, cells, named)
    if str(times.dtype).startswith("datetime64"):
        clock = times.dt.tz_convert("UTC").dt.tz_localize(None) if times.dt.tz else times
        return clock.to_numpy().astype("datetime64[ns]").astype(np.int64) / 1e9
    return times.to_numpy().astype(np.float64)


def _check_constant(
    cells: Any, name: str, codes: np.ndarray, order: np.ndarray, starts: np.ndarray, ids: Any, what: str
) -> None:
    values = _codes(cells)[order]
    lengths = np.diff(np.append(starts, len(order)))
    wrong = np.flatnonzero(values != np.repeat(values[starts], lengths))
    if wrong.size:
        row = order[wrong[0]]
        before = order[starts[codes[row]]]
        raise RnnZooError(
            f"{what}: series {ids[row].as_py()!r} has {cells[before].as_py()!r} in column {name!r}, but"
            f" {cells[row].as_py()!r} in row {row:,} (the first is row 0): it must be the same at all steps of a series"
        )


def _codes(cells: Any) -> np.ndarray:
    """A number for each value, by their first appearance; nulls are equal."""
    return pc.dictionary_encode(cells, null_encoding="encode").indices.to_numpy(zero_copy_only=False)


def _first(where: Any) -> int:
    return int(np.flatnonzero(where.to_numpy(zero_copy_only=False))[0])
