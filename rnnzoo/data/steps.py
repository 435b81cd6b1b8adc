"""The steps from one time of a series to the next: whether time goes on, and how many steps are missing."""

from typing import NamedTuple

import numpy as np
import pandas as pd

_NAMES = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}
_HOUR, _DAY = np.timedelta64(1, "h"), np.timedelta64(1, "D")
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


def goes_on(times: "pd.Series") -> bool:
    """Whether each time is later than the one before, but for an hour that daylight saving repeats."""
    return not first_that_is_not_later(times)


def is_even(times: "pd.Series") -> bool:
    """Whether all steps are equal, in days or hours, in months, or from one business day to the next."""
    if not goes_on(times):
        return False
    steps = steps_of(times)
    return not steps.missing and not steps.uneven


def first_that_is_not_later(times: "pd.Series") -> int:
    """The first row whose time is not later than the one before; 0 where there is none."""
    clock = _without_daylight_saving(times)
    later = clock[1:] > clock[:-1]
    return int(np.argmin(later)) + 1 if not later.all() else 0


def steps_of(times: "pd.Series") -> Steps:
    """The steps of times that increase, numbers or timestamps."""
    places, unit = _places(times)
    length, missing, uneven = _most_common(np.diff(places))
    wrong = np.flatnonzero((missing > 0) | uneven)
    return Steps(_in_words(length, unit), int(missing.sum()), int(uneven.sum()), int(wrong[0]) if wrong.size else 0)


def _places(times: "pd.Series") -> tuple[np.ndarray, str]:
    """Times as numbers, of which equal steps differ by the same, and what one of it is called."""
    if not pd.api.types.is_datetime64_any_dtype(times):
        return times.to_numpy().astype(np.float64), ""
    clock = _without_daylight_saving(times)
    seconds = (clock - clock[0]) / np.timedelta64(1, "s")
    if len(times) < 3:
        return seconds, "second"
    length = np.timedelta64(round(_most_common(np.diff(seconds))[0] * 1e6), "us")
    ends = times.dt.is_month_end | (times.dt.day == times.dt.day.max())
    if length >= _MONTH and ends.all():
        return (times.dt.year * 12 + times.dt.month).to_numpy().astype(np.float64), "month"
    if length == _DAY and (times.dt.day_of_week < 5).all() and len(times) > 5:
        days = clock.astype("datetime64[D]")
        return np.busday_count(days[0], days).astype(np.float64), "business day"
    return seconds, "second"


def _without_daylight_saving(times: "pd.Series") -> np.ndarray:
    """Times by a clock that is not set back in autumn and forward in spring; numbers as they are.

    Where steps are an hour or less, and times have no zone, one that falls by an hour in a Sunday's first hours is
    read as the clock that was set, and so is one that jumps by an hour.
    """
    if not pd.api.types.is_datetime64_any_dtype(times):
        return times.to_numpy()
    clock = times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy() if times.dt.tz else times.to_numpy()
    if times.dt.tz or len(times) < 3:
        return clock
    steps = np.diff(clock)
    values, counts = np.unique(steps, return_counts=True)
    length = values[counts.argmax()]
    if not np.timedelta64(0) < length <= _HOUR:
        return clock
    night = (times.dt.day_of_week == 6) & (times.dt.hour <= 4)
    night = night.to_numpy()[1:] & times.dt.month.isin([3, 4, 9, 10, 11]).to_numpy()[1:]
    back, forward = night & (steps == length - _HOUR), night & (steps == length + _HOUR)
    return np.concatenate([clock[:1], clock[1:] + _HOUR * np.cumsum(back.astype(int) - forward.astype(int))])


def _most_common(steps: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The most common of the steps; how many of it each leaves out; and whether each is no multiple of it."""
    if not len(steps):
        return 0.0, np.zeros(0, int), np.zeros(0, bool)
    middle = float(np.median(steps))
    values, counts = np.unique(np.round(steps / middle, 6), return_counts=True)
    length = middle * float(values[counts.argmax()])
    multiple = steps / length
    uneven = np.abs(multiple - np.round(multiple)) > 1e-4
    return length, np.where(uneven, 0, np.round(multiple).astype(int) - 1), uneven


def _in_words(length: float, unit: str) -> str:
    if unit == "second":
        unit, size = next(((n, s) for n, s in _NAMES.items() if length % s == 0), ("second", 1))
        length /= size
    return f"{length:g} {unit}{'s' * (length != 1 and unit != '')}".strip()
