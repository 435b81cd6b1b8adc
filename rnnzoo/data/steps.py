"""The steps from one time of a series to the next: how long they are, whether time goes on, and what is missing."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from rnnzoo.data import pieces

_NAMES = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}
_HOUR, _DAY = np.timedelta64(1, "h"), np.timedelta64(1, "D")
_TEN_MONTHS = np.timedelta64(300, "D")
_MONTH = 28 * _DAY


class Steps(NamedTuple):
    """What a column of times says.

    `length`: the most common step, in words; `missing`: how many steps are not there, in gaps of whole steps;
    `uneven`: how many differ from it in another way; `first`: the row before the first gap or uneven step.
    """

    length: str
    missing: int
    uneven: int
    first: int


@dataclass(frozen=True)
class Frequency:
    """A step in time: so many of a unit.

    Args:
        size: how many.
        unit: "ns", "month", "business day", or "" for numbers.
        day: of the month, where the unit is a month; 0 for its last day.
    """

    size: float
    unit: str
    day: int = 1

    def __str__(self) -> str:
        return _in_words(self.size / 1e9, "second") if self.unit == "ns" else _in_words(self.size, self.unit)

    @property
    def season(self) -> int:
        """Steps after which such series often resemble themselves: a day of hours, a week of days, a year of months.

        1 where nothing is usual.
        """
        if self.unit == "month":
            return max(1, round(12 / self.size))
        if self.unit == "business day":
            return 5
        if self.unit != "ns":
            return 1
        seconds = self.size / 1e9
        for period, longest in ((86400, 12 * 3600), (7 * 86400, 86400), (364 * 86400, 7 * 86400)):
            if seconds <= longest:
                return max(1, round(period / seconds))
        return 1

    def after(self, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """The times that lie so many steps behind `times`, which are nanoseconds since 1970, or numbers."""
        if self.unit == "month":
            month = times.astype("datetime64[ns]").astype("datetime64[M]")
            clock = times - month.astype("datetime64[ns]").astype(np.int64)
            later = month + (steps * round(self.size)).astype("timedelta64[M]")
            if self.day:
                return later.astype("datetime64[ns]").astype(np.int64) + clock
            ends = (later + 1).astype("datetime64[D]") - np.timedelta64(1, "D")
            return ends.astype("datetime64[ns]").astype(np.int64) + clock % 86_400_000_000_000
        if self.unit == "business day":
            day = times.astype("datetime64[ns]").astype("datetime64[D]")
            clock = times - day.astype("datetime64[ns]").astype(np.int64)
            later = np.busday_offset(day, steps, roll="forward")
            return later.astype("datetime64[ns]").astype(np.int64) + clock
        distance = steps * self.size
        return times + (distance if times.dtype == np.float64 else np.round(distance).astype(np.int64))


@dataclass(frozen=True)
class Grid:
    """How rows lie in the regular steps of their series.

    Args:
        frequency: of all series.
        missing: steps that no row stands for.
        uneven: rows that lie between two steps.
        first: the row before the first gap or uneven step; -1 for none.
    """

    frequency: Frequency
    missing: int
    uneven: int
    first: int


def goes_on(times: "pd.Series") -> bool:
    """Whether each time is later than the one before, but for an hour that daylight saving repeats."""
    return not first_that_is_not_later(times)


def is_even(times: "pd.Series") -> bool:
    """Whether all steps are equal, in days or hours, in months, or from one business day to the next."""
    if not goes_on(times):
        return False
    steps = steps_of(times)
    return not steps.missing and not steps.uneven


def first_that_is_not_later(times: "pd.Series", starts: np.ndarray | None = None) -> int:
    """The first row whose time is not later than the one before in its series; 0 where there is none.

    Args:
        times: of all rows, series after series.
        starts: the first row of each series; all rows are one by default.
    """
    for rows, own in _groups(len(times), starts):
        clock = _without_daylight_saving(_part(times, rows), own)
        later = clock[1:] > clock[:-1]
        later[own[1:] - 1] = True
        if not later.all():
            return rows.start + int(np.argmin(later)) + 1
    return 0


def steps_of(times: "pd.Series") -> Steps:
    """The steps of times that increase, numbers or timestamps."""
    grid = grid_of(times)
    return Steps(str(grid.frequency), grid.missing, grid.uneven, max(grid.first, 0))


def grid_of(times: "pd.Series", starts: np.ndarray | None = None) -> Grid:
    """The steps of series whose times increase, numbers or timestamps.

    Args:
        times: of all rows, series after series.
        starts: the first row of each series; all rows are one by default.
    """
    unit, length, day = "", 0.0, 1
    missing, uneven, first = 0, 0, -1
    for rows, own in _groups(len(times), starts):
        some = _part(times, rows)
        if not rows.start:
            unit = _unit(some, own)
            length = _most_common(np.diff(_places(some, own, unit)), own)
            if unit == "month":
                day = 0 if some.dt.is_month_end.all() else int(some.dt.day.max())
        gaps, odd = _compared(np.diff(_places(some, own, unit)), own, length)
        if first < 0 and (wrong := np.flatnonzero((gaps > 0) | odd)).size:
            first = rows.start + int(wrong[0])
        missing, uneven = missing + int(gaps.sum()), uneven + int(odd.sum())
    return Grid(Frequency(length, unit, day), missing, uneven, first)


def places_in(times: "pd.Series", starts: np.ndarray, frequency: Frequency) -> np.ndarray:
    """Of each row, how many steps it lies behind the first of its series, (N,) int64."""
    made, done = np.empty(len(times), np.int64), 0
    for rows, own in _groups(len(times), starts):
        before = made[rows.start] if rows.start < done else 0  # of a series that began in the rows before
        places = _places(_part(times, rows), own, frequency.unit)
        lengths = np.diff(np.append(own, len(places)))
        made[rows.start : rows.stop] = np.round((places - np.repeat(places[own], lengths)) / frequency.size)
        made[rows.start : rows.start + lengths[0]] += before
        done = rows.stop
    return made


def clock_of(times: "pd.Series") -> np.ndarray:
    """Times in nanoseconds since 1970, (N,) int64; numbers as int64 where they are whole, else as float64."""
    if pd.api.types.is_datetime64_any_dtype(times):
        stamps: Any = times.array
        clock: np.ndarray = (stamps if stamps.unit == "ns" else stamps.as_unit("ns")).asi8
        return clock
    numbers = times.to_numpy()
    if np.issubdtype(numbers.dtype, np.integer):
        return numbers.astype(np.int64, copy=False)
    whole = numbers.astype(np.int64)
    return whole if (whole == numbers).all() else numbers.astype(np.float64, copy=False)


def _groups(count: int, starts: np.ndarray | None) -> Iterator[tuple[range, np.ndarray]]:
    """Rows of whole series, many at a time, for little memory; and where series begin among them.

    A series that is longer comes in parts, each of which begins with the last row of the one before.
    """
    begins = np.zeros(1, np.int64) if starts is None else starts
    first = 0
    while first < len(begins):
        end = max(int(np.searchsorted(begins, begins[first] + pieces.ROWS)), first + 1)
        stop = int(begins[end]) if end < len(begins) else count
        if stop - begins[first] > 2 * pieces.ROWS and end > first + 1:  # the last is a long one
            end, stop = end - 1, int(begins[end - 1])
        begin = int(begins[first])
        while stop - begin > 2 * pieces.ROWS:
            yield range(begin, begin + pieces.ROWS), np.zeros(1, np.int64)
            begin += pieces.ROWS - 1
        yield range(begin, stop), np.maximum(begins[first:end] - begin, 0)
        first = end


def _part(times: "pd.Series", rows: range) -> "pd.Series":
    return times.iloc[rows.start : rows.stop].reset_index(drop=True)


def _unit(times: "pd.Series", starts: np.ndarray) -> str:
    """The unit in which the steps of times are equal: "" for numbers, else "ns", "month" or "business day"."""
    if not pd.api.types.is_datetime64_any_dtype(times):
        return ""
    places = _places(times, starts, "ns")
    if len(places) - len(starts) < 2:
        return "ns"
    length = np.timedelta64(round(_most_common(np.diff(places), starts) / 1e3), "us")
    if length >= _MONTH and (times.dt.is_month_end | (times.dt.day == times.dt.day.max())).all():
        return "month"
    if length == _DAY and len(times) > 5 and (times.dt.day_of_week < 5).all():
        return "business day"
    return "ns"


def _places(times: "pd.Series", starts: np.ndarray, unit: str) -> np.ndarray:
    """Times as numbers (N,) float64, of which one step of a unit is 1, or a nanosecond."""
    if unit == "":
        return times.to_numpy().astype(np.float64)
    if unit == "month":
        return (times.dt.year * 12 + times.dt.month).to_numpy().astype(np.float64)
    clock = _without_daylight_saving(times, starts)
    if unit == "business day":
        days = clock.astype("datetime64[D]")
        return np.busday_count(days[0], days).astype(np.float64)
    nanoseconds = clock.astype("datetime64[ns]").astype(np.int64)
    return (nanoseconds - nanoseconds[0]).astype(np.float64)


def _without_daylight_saving(times: "pd.Series", starts: np.ndarray) -> np.ndarray:
    """Times by a clock that is not set back in autumn and forward in spring; numbers as they are.

    Where steps are an hour or less, and times have no zone, one that falls by an hour in a Sunday's first hours is
    read as the clock that was set, and so is one that jumps by an hour, to a whole one, where that is no row that is
    missing: the only such jump of its year, in a series whose clock is set back too or that is shorter than ten months.
    """
    if not pd.api.types.is_datetime64_any_dtype(times):
        return times.to_numpy()
    clock = times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy() if times.dt.tz else times.to_numpy()
    if times.dt.tz or len(times) < 3:
        return clock
    steps = np.diff(clock)
    inside = _inside(len(steps), starts)
    values, counts = np.unique(steps[inside], return_counts=True)
    if not len(values):
        return clock
    length = values[counts.argmax()]
    if not np.timedelta64(0) < length <= _HOUR:
        return clock
    odd = inside & ((steps == length - _HOUR) | (steps == length + _HOUR))
    if not odd.any():
        return clock
    night = (times.dt.day_of_week == 6) & (times.dt.hour <= 4)
    odd &= night.to_numpy()[1:] & times.dt.month.isin([3, 4, 9, 10, 11]).to_numpy()[1:]
    odd &= (steps < length) | _set_forward(times, odd & (steps > length), odd & (steps < length), starts)
    shift = np.concatenate([[0], np.cumsum(np.where(odd, np.where(steps == length - _HOUR, 1, -1), 0))])
    shift -= np.repeat(shift[starts], np.diff([*starts, len(clock)]))  # each series has a clock of its own
    return clock + _HOUR * shift


def _set_forward(times: "pd.Series", jumps: np.ndarray, falls: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Which of the steps (N - 1,) that jump by an hour are clocks set forward, and no missing rows."""
    clock = times.to_numpy()
    bounds = np.append(starts, len(clock))
    later = clock[1:]
    made = jumps & (later == later.astype("datetime64[h]"))
    for first in np.unique(np.searchsorted(starts, np.flatnonzero(made) + 1, side="right") - 1):
        own = slice(bounds[first], bounds[first + 1] - 1)
        at = np.flatnonzero(made[own]) + own.start
        years, counts = np.unique(later[at].astype("datetime64[Y]"), return_counts=True)
        made[at] = ~np.isin(later[at].astype("datetime64[Y]"), years[counts > 1])
        if clock[own.stop] - clock[own.start] > _TEN_MONTHS and not falls[own].any():
            made[at] = False
    return made


def _inside(count: int, starts: np.ndarray) -> np.ndarray:
    """Of the steps from row to row, which are within a series."""
    inside = np.ones(count, bool)
    inside[starts[1:] - 1] = False
    return inside


def _most_common(steps: np.ndarray, starts: np.ndarray) -> float:
    """The most common of the steps within series; 0 where there are none."""
    own = steps[_inside(len(steps), starts)]
    if not len(own):
        return 0.0
    middle = float(np.median(own))
    values, counts = np.unique(np.round(own / middle, 6), return_counts=True)
    return middle * float(values[counts.argmax()])


def _compared(steps: np.ndarray, starts: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray]:
    """How many steps of `length` each leaves out, and whether each is no multiple of it."""
    multiple = np.where(_inside(len(steps), starts), steps / (length or 1.0), 1.0)
    uneven = np.abs(multiple - np.round(multiple)) > 1e-4
    return np.where(uneven, 0, np.round(multiple).astype(int) - 1), uneven


def _in_words(length: float, unit: str) -> str:
    if unit == "second":
        unit, size = next(((n, s) for n, s in _NAMES.items() if length % s == 0), ("second", 1))
        length /= size
    return f"{length:g} {unit}{'s' * (length != 1 and unit != '')}".strip()
