"""Features of the time itself: the hour, the day of the week, the month, holidays."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from rnnzoo.errors import RnnZooError, did_you_mean

_DAY = 86_400_000_000_000  # nanoseconds


def _days(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[ns]").astype("datetime64[D]")


def _of_a_circle(part: np.ndarray) -> np.ndarray:
    """A part of a period, in [0, 1), as a point of a circle: (..., 2)."""
    angle = 2 * np.pi * part
    return np.stack([np.sin(angle), np.cos(angle)], -1)


def _hour(times: np.ndarray) -> np.ndarray:
    return _of_a_circle(times % _DAY / _DAY)


def _weekday(times: np.ndarray) -> np.ndarray:
    day = (_days(times).astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday; 0 is Monday
    return np.eye(7)[day]


def _month(times: np.ndarray) -> np.ndarray:
    return _of_a_circle(times.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64) % 12 / 12)


def _year(times: np.ndarray) -> np.ndarray:
    year = _days(times).astype("datetime64[Y]")
    begin = year.astype("datetime64[D]")
    length = ((year + 1).astype("datetime64[D]") - begin).astype(np.int64)
    day = (_days(times) - begin).astype(np.int64) + times % _DAY / _DAY
    return _of_a_circle(day / length)


def _month_day(times: np.ndarray) -> np.ndarray:
    days = _days(times)
    month = days.astype("datetime64[M]")
    length = ((month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64)
    return _of_a_circle((days - month.astype("datetime64[D]")).astype(np.int64) / length)


# a name, what it makes of times in nanoseconds, and how many features these are
CALENDAR: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
    "hour": (_hour, 2),  # of the day, as a circle, to the nanosecond
    "weekday": (_weekday, 7),  # one of seven
    "month": (_month, 2),  # of the year, as a circle
    "month_day": (_month_day, 2),  # the day of the month, as a circle
    "year_day": (_year, 2),  # the day of the year, as a circle
}
_HOLIDAYS = "holidays:"


def check_calendar(names: Sequence[str]) -> int:
    """How many features a calendar of these names has.

    Raises:
        RnnZooError: a name that is not known; holidays of a country that the library `holidays` does not know.
    """
    count = 0
    for name in names:
        if name.startswith(_HOLIDAYS):
            _holidays(name, 2020)
            count += 1
        elif name in CALENDAR:
            count += CALENDAR[name][1]
        else:
            known = [*CALENDAR, f"{_HOLIDAYS}COUNTRY"]
            raise RnnZooError(f"calendar has {name!r}{did_you_mean(name, known)} there are: {', '.join(known)}")
    return count


def calendar_features(times: np.ndarray, names: Sequence[str], zone: str | None = None) -> np.ndarray:
    """Features (..., F) float32 of `times`, int64 nanoseconds since 1970.

    Args:
        times: by the clock on the wall, or in UTC where `zone` is given.
        names: of `CALENDAR`, or "holidays:AU-VIC", 1 on the days of a country's, or a part's, public holidays.
        zone: whose clock counts, as "Australia/Melbourne".
    """
    if zone is not None:
        times = _local(times, zone)
    made = [_is_holiday(times, name) if name.startswith(_HOLIDAYS) else CALENDAR[name][0](times) for name in names]
    return np.concatenate(made, -1).astype(np.float32)


def _local(times: np.ndarray, zone: str) -> np.ndarray:
    import pandas as pd

    flat = pd.to_datetime(times.ravel(), utc=True).tz_convert(zone).tz_localize(None)
    return flat.to_numpy().astype("datetime64[ns]").astype(np.int64).reshape(times.shape)


def _is_holiday(times: np.ndarray, name: str) -> np.ndarray:
    days = _days(times)
    years = np.unique(days.astype("datetime64[Y]").astype(np.int64) + 1970)
    dates = np.concatenate([_holidays(name, int(year)) for year in years])
    return np.isin(days, dates)[..., None]


@cache
def _holidays(name: str, year: int) -> np.ndarray:
    """The days of a year's holidays."""
    try:
        import holidays
    except ImportError as error:
        raise RnnZooError(f"calendar={name!r} needs a library: pip install holidays") from error
    country, _, part = name.removeprefix(_HOLIDAYS).partition("-")
    try:
        days = holidays.country_holidays(country, subdiv=part or None, years=year)
    except NotImplementedError as error:
        raise RnnZooError(f"calendar={name!r}: {' '.join(str(error).split())}") from error
    return np.array(sorted(days), dtype="datetime64[D]")
