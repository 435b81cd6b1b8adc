"""Times that are written in a column of text: ISO 8601, days or months first, names of months."""

import re
import warnings

import numpy as np
import pandas as pd

from rnnzoo.data.pieces import pieces
from rnnzoo.data.steps import goes_on, is_even
from rnnzoo.errors import RnnZooError

_MONTHS = r"(?i)\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_ZONE = r":\d{2}.*(?:Z|[+-]\d{2}:?\d{2})$"
_DATE = re.compile(  # three numbers, the clock, its half of the day, and its zone
    r"^(\d{1,2})([./-])(\d{1,2})[./-](\d{4}|\d{2})"
    r"(?:[T ,]+(\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?)(?: ?([AaPp])\.?[Mm]\.?)?(?: ?(Z|[+-]\d{2}:?\d{2}))?)?$"
)
_DIGITS = {6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


def read_times(texts: "pd.Series[str]", what: str) -> "pd.Series[pd.Timestamp]":
    """Times out of text, in UTC where they have a zone, else without one.

    Whether days, months or years come first in 01/02/03 is found from the whole column: the one way in which all are
    times, they increase, and their steps are equal; the last two count only where more than one is left.

    Args:
        texts: the column, of which no row is empty.
        what: it is, for messages.

    Raises:
        RnnZooError: a text that is no time, times that may be meant in several ways, or of which only some have a zone.
    """
    texts, zoned = _with_zones(texts)
    if zoned.any() and not zoned.all():
        k = int(np.flatnonzero(zoned != zoned[0])[0])
        raise RnnZooError(
            f"{what} has {texts[0]!r} in row 0 and {texts[k]!r} in row {k:,}: either all times have a zone or none has"
        )
    times = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True)
    if times.isna().any():
        parts = texts.str.extract(_DATE)
        if parts[0].notna().sum() > len(texts) // 2:
            times = _days_and_months(texts, parts, what)
        elif texts.str.contains(rf"{_MONTHS}|^\d{{4}}", regex=True).all():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it looks at each row by itself
                times = pd.to_datetime(texts, errors="coerce", utc=True)
    _refuse_first(times.isna(), texts, what)
    return times if zoned.all() else times.dt.tz_localize(None)


def read_iso(texts: "pd.Series[str]") -> "tuple[pd.Series[pd.Timestamp], bool] | None":
    """Times by ISO 8601, in UTC, and whether they have a zone; None where a text is none, or only some have a zone.

    Such times are read alike whatever stands in the rest of the column.
    """
    texts, zoned = _with_zones(texts)
    times = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True)
    if times.isna().any() or zoned.any() != zoned.all():
        return None
    return times, bool(zoned.all())


def _with_zones(texts: "pd.Series[str]") -> "tuple[pd.Series[str], pd.Series[bool]]":
    """The texts in the form that zones are read in, and which have one."""
    texts = texts.str.strip().str.replace(r" ?(UTC|GMT)$", "Z", regex=True)
    return texts, texts.str.contains(_ZONE, regex=True)


def dates_in_numbers(numbers: "pd.Series[int]") -> "pd.Series[pd.Timestamp] | None":
    """Whole numbers like 20190612 as the times they stand for, to a month or a second; None where they are others."""
    if not len(numbers):
        return None
    low, high = int(numbers.min()), int(numbers.max())
    digits = len(str(low))
    # before any text is made of them, which takes ten times their memory
    if digits != len(str(high)) or digits not in _DIGITS or not f"{low}"[:2] >= "19" or not f"{high}"[:2] <= "20":
        return None
    made = []
    for rows in pieces(len(numbers)):
        texts = numbers.iloc[rows].astype(str)
        made.append(pd.to_datetime(texts, format=_DIGITS[digits], errors="coerce"))
        if made[-1].isna().any():
            return None
    return pd.concat(made)


def _days_and_months(texts: "pd.Series[str]", parts: "pd.DataFrame", what: str) -> "pd.Series[pd.Timestamp]":
    first, second, third = (pd.to_numeric(parts[k]) for k in (0, 2, 3))
    orders = {"day/month/year": (third, second, first)}
    if not (parts[1] == ".").all():  # with points between them, days come first everywhere
        orders["month/day/year"] = (third, first, second)
    if (parts[3].str.len() == 2).all():
        orders["year/month/day"] = (first, second, third)
    readings = {name: _put_together(*order, parts) for name, order in orders.items()}
    left = {name: times for name, times in readings.items() if times.notna().all()}
    for test in (goes_on, is_even):
        if len(left) > 1:
            left = {name: times for name, times in left.items() if test(times)} or left
    if not left:
        return max(readings.values(), key=lambda times: int(times.notna().sum()))
    if len(left) > 1 and len({tuple(times) for times in left.values()}) > 1:
        raise RnnZooError(
            f"{what} has times like {texts[0]!r}, which all rows let be {' or '.join(left)}: write them as 2026-01-31 "
            "23:30"
        )
    return next(iter(left.values()))


def _put_together(
    year: "pd.Series[int]", month: "pd.Series[int]", day: "pd.Series[int]", parts: "pd.DataFrame"
) -> "pd.Series[pd.Timestamp]":
    year = year.where(year >= 100, year + np.where(year < 70, 2000, 1900))
    numbers = [n.fillna(0).astype(int).astype(str).str.zfill(w) for n, w in ((year, 4), (month, 2), (day, 2))]
    clock = parts[4].fillna("0:00").str.replace(",", ".").str.zfill(5)
    zone = parts[6].fillna("Z")
    times = pd.to_datetime(
        numbers[0] + "-" + numbers[1] + "-" + numbers[2] + "T" + clock + zone,
        format="ISO8601",
        errors="coerce",
        utc=True,
    )
    half = parts[5].str.lower()
    hour = times.dt.hour
    wrong = half.notna() & ((pd.to_numeric(clock.str[:2]) > 12) | (pd.to_numeric(clock.str[:2]) == 0))
    shift = np.where((half == "p") & (hour != 12), 12, np.where((half == "a") & (hour == 12), -12, 0))
    return (times + pd.to_timedelta(shift, unit="h")).mask(wrong)


def _refuse_first(wrong: "pd.Series[bool]", texts: "pd.Series[str]", what: str) -> None:
    if wrong.any():
        k = int(np.flatnonzero(wrong)[0])
        raise RnnZooError(
            f"{what} has {texts[k]!r} in row {k:,} (the first is row 0), which is no date or time like those of the "
            "others, for example 2026-01-31 23:30"
        )
