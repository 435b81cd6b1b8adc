"""Numbers that are written in a column of text: with a point or a comma, and with thousands set apart."""

import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

MISSING = ("", "na", "n/a", "nan", "null", "none")  # in any case, beside numbers

_POINT = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity)"
_APART = ". '\u2019\u00a0\u202f"  # what sets thousands apart where a comma is the decimal sign
_COMMA = rf"[+-]?((\d+|[1-9]\d{{0,2}}([{_APART}]\d{{3}})+)(,\d*)?|,\d+)([eE][+-]?\d+)?"
_THOUSANDS = r"[+-]?(\d+|[1-9]\d{0,2}(,\d{3})+)(\.\d*)?"
_ANY, _HOW = f"{_POINT}|{_COMMA}|{_THOUSANDS}", re.ASCII | re.IGNORECASE


def as_numbers(column: Any, semicolons: bool = False) -> Any | None:
    """A column of strings as int64, or as float64, with null for what is missing; None where they are no numbers.

    A comma is a decimal sign or sets thousands apart, whichever fits every row of the column. Where both do, as in
    "1,234", it is a decimal sign if the table separates by semicolons and every row has a comma, else they are none.
    In such a table "1.234" beside "987" is none either.

    Args:
        column: a pyarrow ChunkedArray of strings.
        semicolons: whether they stood in a table whose separator is a semicolon.
    """
    if any(not (_is_missing(text) or is_number(text)) for text in column.slice(0, 1000).to_pylist()):
        return None  # spares long texts what follows
    cells = pc.utf8_trim_whitespace(column.cast(pa.string()))
    missing = pc.is_in(pc.utf8_lower(cells), value_set=pa.array(MISSING))
    cells = pc.if_else(missing, pa.scalar(None, pa.string()), cells)
    if cells.null_count == len(cells):
        return None
    if _all(cells, _POINT) and not (semicolons and _mixes_thousands(cells)):
        return _cast(pc.replace_substring_regex(cells, r"^\+", ""))
    decimal, thousands = _all(cells, _COMMA), _all(cells, _THOUSANDS)
    if decimal and thousands and semicolons:
        thousands = not pc.all(pc.match_substring(cells, ",")).as_py()
    if decimal == thousands:
        return None
    cells = pc.replace_substring_regex(cells, rf"^\+|[{_APART}]" if decimal else r"^\+|,", "")
    return _cast(pc.replace_substring(cells, ",", "."))


def first_wrong(column: Any) -> tuple[int, str]:
    """The row and the text of the first cell that is no number in any way; else of the first that may be two."""
    cells = column.to_pylist()
    for pattern in (_ANY, r"[+-]?\d+"):
        for row, text in enumerate(cells):
            if not _is_missing(text) and not re.fullmatch(pattern, text.strip(), _HOW):
                return row, text
    raise AssertionError("every cell is a whole number")  # then as_numbers has them


def is_number(text: str | None) -> bool:
    """Whether a single text is a number, in any of the ways."""
    return text is not None and bool(re.fullmatch(_ANY, text.strip(), _HOW))


def _is_missing(text: str | None) -> bool:
    return text is None or text.strip().lower() in MISSING


def _all(cells: Any, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(cells, f"^({pattern})$", ignore_case=True)).as_py())


def _mixes_thousands(cells: Any) -> bool:
    """Whether every point may set thousands apart, and some rows are too small to have one."""
    pointed = cells.filter(pc.match_substring(cells, "."))
    return 0 < len(pointed) < len(cells) - cells.null_count and _all(pointed, r"[+-]?[1-9]\d{0,2}(\.\d{3})+")


def _cast(cells: Any) -> Any:
    """Whole numbers stay whole: a float64 holds them up to 2 ** 53 only."""
    try:
        return cells.cast(pa.int64())
    except pa.ArrowInvalid:
        return cells.cast(pa.float64())
