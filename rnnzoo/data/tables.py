"""Tables in CSV files, read strictly: each row has as many fields as the header, and text stays text.

Readers that are made for speed fill short rows up, take the first column of rows that are too long for an index, and
"NA" for nothing; here that is an error with the line, or what it says.
"""

import csv
import io
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rnnzoo.data.files import check_width, decoded, open_unpacked
from rnnzoo.data.numbers import as_numbers, is_number
from rnnzoo.errors import RnnZooError

_SEPARATORS = ("\t", ";", "|", ",")  # the last may be decimal signs
_HEAD = 500  # lines that the separator is chosen by
_ROWS = 1 << 12  # of a chunk of a column
_DATE = r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([T ,].*)?"


def read_table(
    paths: Iterable[Path], name: str, columns: Collection[str | None], text: Collection[str] = ()
) -> pa.Table:
    """The tables of some files one below the other. Columns of numbers are int64 or float64, all others are strings.

    Args:
        paths: of the files; they may be compressed. Tabs alone separate the fields of a .tsv, else whatever fits the
            lines of commas, semicolons, tabs and bars.
        name: of the data set, for messages.
        columns: that are asked for by name: a first line with one of them is a header, whatever else stands in it.
            None for one that is still to be found.
        text: columns that are strings even where they look like numbers.

    Raises:
        RnnZooError: a row that does not fit the header, or a header that is none.
    """
    tables: list[pa.Table] = []
    separators: set[str] = set()
    for path in paths:
        table, separator = _read(path)
        if tables and table.column_names != tables[0].column_names:
            raise RnnZooError(
                f"dataset={name!r} has files with different columns: {path.name} has {', '.join(table.column_names)}, "
                f"others have {', '.join(tables[0].column_names)}"
            )
        tables.append(table)
        separators.add(separator)
    table = pa.concat_tables(tables)
    for k, header in enumerate(table.column_names):
        numbers = as_numbers(table[k], separators == {";"}) if len(table) and header not in text else None
        if (
            numbers is None
            and separators == {";"}
            and header not in text
            and as_numbers(table[k]) is not None
            and (header in columns or None in columns)
        ):
            raise RnnZooError(
                f"column={header!r} of {name!r} has numbers like {_first_pointed(table[k])!r}, whose point may be the "
                "decimal sign or set thousands apart: write all rows with decimals, and thousands together"
            )
        if numbers is not None:
            table = table.set_column(k, header, numbers)
    _check_header(table, name, columns)
    return table


def _first_pointed(column: Any) -> str:
    return next(text for text in column.to_pylist() if "." in text)


def _check_header(table: pa.Table, name: str, columns: Collection[str | None]) -> None:
    """Raises RnnZooError where the first line is a row of data: a number above numbers, or a date above dates."""
    if set(columns) & set(table.column_names):
        return
    for header, column in zip(table.column_names, table.columns, strict=True):
        numbers = is_number(header) and pa.types.is_primitive(column.type)
        dates = re.fullmatch(_DATE, header) and len(column) and re.fullmatch(_DATE, str(column[0]))
        if numbers or dates:
            raise RnnZooError(
                f"the first line of {name!r} has {header!r} where the name of a column should stand: add a line with "
                "names, or, if that is a name, choose the columns to read by theirs"
            )


def _read(path: Path) -> tuple[pa.Table, str]:
    """The table of a file as strings, and what separates its fields."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with _opened(path) as lines:
            head = list(islice(lines, _HEAD))
        check_width("".join(head).encode(), path)
        told = re.fullmatch(r"sep=(.)\s*", head[0]) if head else None  # how Excel is told the separator
        separator = told[1] if told else "\t" if ".tsv" in path.suffixes else _separator(head)
        skipped = int(told is not None)
        try:
            header, chunks = _columns(path, partial(_fitting, separator=separator, skipped=skipped))
        except (csv.Error, _Unfit):
            header, chunks = _columns(path, partial(_one_by_one, separator=separator, skipped=skipped, path=path))
    except UnicodeDecodeError:
        for _ in decoded(path):  # says where
            pass
        raise
    finally:
        csv.field_size_limit(limit)
    names = _names(header, path)
    columns = [pa.chunked_array([chunk[k] for chunk in chunks], pa.string()) for k in range(len(names))]
    # a line of spreadsheets often ends in separators with nothing between them
    used = [k for k in range(len(names)) if header[k].strip() or any(map(_has_text, columns[k].chunks))]
    return pa.table({names[k]: columns[k] for k in used}), separator


def _opened(path: Path) -> io.TextIOWrapper:
    return io.TextIOWrapper(open_unpacked(path), encoding="utf-8-sig", newline="")


def _columns(path: Path, blocks: Callable[[Iterable[str]], Iterator[list[list[str]]]]) -> tuple[list[str], list[Any]]:
    """The header of a file, and its columns in chunks; `blocks` makes rows of its lines, the header first and alone."""
    with _opened(path) as lines:
        rows = blocks(lines)
        header = next(rows, None)
        if header is None:
            raise RnnZooError(f"dataset={str(path)!r} is empty")
        return header[0], [[pa.array(c, pa.string()) for c in zip(*block, strict=True)] for block in rows]


class _Unfit(Exception):
    """Some row has another number of fields than the header."""


def _fitting(lines: Iterable[str], separator: str, skipped: int) -> Iterator[list[list[str]]]:
    """Rows that all fit the header, many at a time, which takes a tenth of the time that they take one by one."""
    reader = csv.reader(islice(lines, skipped, None), delimiter=separator, strict=True)
    header = next(reader, [])
    if not header:
        raise _Unfit
    yield [header]
    while block := list(islice(reader, _ROWS)):
        if set(map(len, block)) != {len(header)}:
            raise _Unfit
        yield block


def _one_by_one(lines: Iterable[str], separator: str, skipped: int, path: Path) -> Iterator[list[list[str]]]:
    """Rows with their empty lines looked after; an error says where it is."""
    rows = _rows(islice(lines, skipped, None), separator, path, skipped)
    yield from ([header] for header in islice(rows, 1))
    while block := list(islice(rows, _ROWS)):
        yield block


def _has_text(cells: Any) -> bool:
    return bool(pc.any(pc.not_equal(cells, "")).as_py())


def _names(header: list[str], path: Path) -> list[str]:
    names = [name.strip() or f"Unnamed: {k}" for k, name in enumerate(header)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RnnZooError(f"dataset={str(path)!r} has more than one column called {twice!r}: rename all but one")
    return names


def _separator(head: list[str]) -> str:
    """What gives every line as many fields as the header; else what gives the header the most.

    A table of one column has a comma for its separator, for it may not have one in its rows.
    """
    widths = {}
    for separator in _SEPARATORS:
        rows = []
        try:
            for row in csv.reader(head, delimiter=separator, strict=True):
                rows.append(len(row))
        except csv.Error:
            pass  # a field that goes on behind the head, or is wrongly quoted, which is told with its line later
        counts = [count for count in rows if count]
        widths[separator] = (counts[0] if counts else 0, len(set(counts)) == 1)
    for separator, (width, fits) in widths.items():
        if fits and width > 1:
            return separator
    return "," if widths[","][1] else max(reversed(_SEPARATORS), key=lambda s: widths[s][0])


def _rows(lines: Iterable[str], separator: str, path: Path, skipped: int) -> Iterator[list[str]]:
    """The rows of a table, the header first. Empty lines are values of a single column, but for those at the end."""
    reader = csv.reader(lines, delimiter=separator, strict=True)
    width, empty, start = 0, 0, 1 + skipped
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise RnnZooError(f"dataset={str(path)!r} cannot be read at line {start:,}: {error}") from error
        if not row:
            empty += width == 1
        elif width and len(row) != width:
            shown = separator.join(row)
            raise RnnZooError(
                f"dataset={str(path)!r} does not fit its header: line {start:,} has {len(row)} fields and the header "
                f"{width}, separated by {separator!r}: {shown[:60] + '...' * (len(shown) > 60)!r}; put quotes around a "
                "field that has the separator in it"
            )
        else:
            width = len(row)
            yield from ([""] for _ in range(empty))
            empty = 0
            yield row
        start = reader.line_num + 1 + skipped
