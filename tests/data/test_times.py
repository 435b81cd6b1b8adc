"""Times as files have them, read as Python's datetime and the time zones' own tables say."""

import datetime
import re
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from datasets import Dataset

from rnnzoo.data import SeriesData
from rnnzoo.data.steps import first_that_is_not_later, steps_of
from rnnzoo.data.times import dates_in_numbers, read_times
from rnnzoo.errors import RnnZooError

Write = Callable[[str, bytes | str], str]
SMALL: dict[str, Any] = {"horizon": 2, "context": 3, "season": 2, "batch_size": 2}


def steps(start: str, count: int, **step: float) -> list[datetime.datetime]:
    return [datetime.datetime.fromisoformat(start) + k * datetime.timedelta(**step) for k in range(count)]


def months(count: int, day: int = 1) -> list[datetime.datetime]:
    return [datetime.datetime(2019 + k // 12, k % 12 + 1, day) for k in range(count)]


def read(texts: list[str]) -> list[datetime.datetime]:
    return [t.to_pydatetime() for t in read_times(pd.Series(texts, dtype="str"), "time_column='t'")]


HOURS, DAYS = steps("2019-06-12", 400, hours=1), steps("2019-06-01", 40, days=1)


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%SZ", "%Y/%m/%d %H:%M", "%Y%m%dT%H%M", "%d/%m/%Y %H:%M"]
)
@pytest.mark.parametrize("more", ["%d-%m-%y, %H:%M:%S.%f", "%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M %p", "%d %B %Y %H:%M UTC"])
def test_a_form_of_times_is_found_from_all_of_them(form: str, more: str) -> None:
    for one in (form, more):
        back = read([t.strftime(one) for t in HOURS])
        assert [t.replace(tzinfo=None) for t in back] == HOURS


@pytest.mark.parametrize(
    ("times", "form"),
    [
        (DAYS, "%d/%m/%Y"),
        (DAYS, "%m/%d/%Y"),
        (DAYS, "%d.%m.%y"),
        (DAYS, "%y-%m-%d"),
        (DAYS, "%b %d, %Y"),
        (DAYS[:11], "%d.%m.%Y"),
        (months(40), "%d/%m/%Y"),  # as days of January they would increase too, but not in equal steps
        (months(40), "%m/%d/%Y"),
        (months(40), "%Y-%m"),
        (steps("2019-02-01", 200, hours=1), "%d/%m/%Y %H:%M"),
    ],
)
def test_what_comes_first_is_found_from_the_whole_column(times: list[datetime.datetime], form: str) -> None:
    assert read([t.strftime(form) for t in times]) == times


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y %H:%M"])
def test_times_that_may_be_meant_both_ways_are_refused(form: str) -> None:
    """The first eleven days of June, or the same day of eleven months."""
    with pytest.raises(
        RnnZooError, match=r"^time_column='t' has times like '.*', which all rows let be day/month/year or"
    ):
        read([t.strftime(form) for t in DAYS[:11]])


def test_isoformat_leaves_microseconds_out_where_they_are_zero() -> None:
    times = steps("2019-06-12", 40, milliseconds=250)
    texts = [t.isoformat() for t in times]
    assert len({len(text) for text in texts}) == 2
    assert read(texts) == times


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["2019-06-12", "soon"], "has 'soon' in row 1 .*, which is no date or time"),
        (
            ["2019-06-12 00:00", "2019-06-12 01:00+02:00"],
            "has .* in row 0 and .* in row 1: either all times have a zone or none",
        ),
        (["13/1/2019", "1/14/2019"], "has '.*' in row . .*, which is no date"),
        (["12/06/2019 13:00 PM", "13/06/2019 01:00 PM"], "has '12/06/2019 13:00 PM' in row 0"),
        (["2019-02-28", "2019-02-29"], "has '2019-02-29' in row 1"),
        (["2019-06-12 23:00", "2019-06-12 24:00"], "has '2019-06-12 24:00' in row 1"),
    ],
)
def test_what_is_no_time_is_named(texts: list[str], message: str) -> None:
    with pytest.raises(RnnZooError, match=f"^time_column='t' {message}"):
        read(texts)


@pytest.mark.parametrize(
    ("numbers", "first"),
    [
        ([20190630, 20190701, 20190702], datetime.datetime(2019, 6, 30)),
        ([201911, 201912, 202001], datetime.datetime(2019, 11, 1)),
        ([2019063023, 2019070100, 2019070101], datetime.datetime(2019, 6, 30, 23)),
        ([2018, 2019, 2020], None),
        ([1560297600, 1560301200, 1560304800], None),
        ([0, 1, 2], None),
        ([20190630, 20190631, 20190632], None),
    ],
)
def test_dates_that_are_written_as_numbers_are_dates(numbers: list[int], first: datetime.datetime | None) -> None:
    times = dates_in_numbers(pd.Series(numbers))
    assert (times if times is None else times[0].to_pydatetime()) == first
    column = pd.Series(numbers) if times is None else times
    assert steps_of(column)[1:3] == (0, 0)


ZONES = ["Europe/Berlin", "Europe/London", "America/New_York", "Australia/Sydney", "Pacific/Auckland", "Asia/Tokyo"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("minutes", [15, 30, 60])
def test_the_hour_that_daylight_saving_repeats_is_no_step_back(zone: str, minutes: int) -> None:
    """A year of regular steps, by the clock on the wall: an hour comes twice, and another not at all."""
    start = datetime.datetime(2019, 1, 20, tzinfo=datetime.UTC)
    count = 366 * 24 * 60 // minutes
    local = [(start + k * datetime.timedelta(minutes=minutes)).astimezone(ZoneInfo(zone)) for k in range(count)]
    walls = [t.replace(tzinfo=None) for t in local]
    assert (len(set(walls)) == count) == (zone == "Asia/Tokyo")
    for texts in (
        [t.isoformat(" ") for t in walls],
        [t.strftime("%d.%m.%Y %H:%M") for t in walls],
        [t.isoformat() for t in local],
    ):
        times = read_times(pd.Series(texts, dtype="str"), "t")
        assert first_that_is_not_later(times) == 0
        assert steps_of(times)[1:3] == (0, 0)
    walls[777] = walls[776]
    assert first_that_is_not_later(pd.Series(walls)) == 777


def test_an_hour_that_comes_twice_on_any_other_day_is_refused() -> None:
    hours = steps("2019-06-12", 100, hours=1)
    assert first_that_is_not_later(pd.Series([*hours[:50], *hours[49:]])) == 50
    sunday = steps("2019-10-26", 60, hours=1)
    assert first_that_is_not_later(pd.Series([*sunday[:27], *sunday[26:]])) == 0
    assert first_that_is_not_later(pd.Series([*sunday[:27], *sunday[25:]])) == 27
    assert first_that_is_not_later(pd.Series([*sunday[:40], *sunday[39:]])) == 40


def series(times: list[Any], write: Write) -> str:
    draw = np.random.default_rng(0).random(len(times)).tolist()
    return write("a.csv", "Datum,kW\n" + "".join(f"{t},{y}\n" for t, y in zip(times, draw, strict=True)))


BUSINESS = [t for t in steps("2019-06-03", 400, days=1) if t.weekday() < 5]


@pytest.mark.parametrize(
    ("times", "without", "message"),
    [
        (
            steps("2019-06-12", 935, days=1),
            [*range(17, 50), 500, 800],
            "lacks 35 of 935 rows at steps of 1 day, the first behind row 16 (the first is row 0), 2019-06-28 ",
        ),
        (HOURS, [7], "lacks 1 of 400 rows at steps of 1 hour, the first behind row 6 "),
        (
            steps("2019-06-12", 90, minutes=5),
            [80, 81],
            "lacks 2 of 90 rows at steps of 5 minutes, the first behind row 79 ",
        ),
        (months(60), [12], "lacks 1 of 60 rows at steps of 1 month, the first behind row 11 "),
        (BUSINESS, [5], "lacks 1 of 286 rows at steps of 1 business day, the first behind row 4 "),
        (list(range(100)), [10, 11, 12], "lacks 3 of 100 rows at steps of 1, the first behind row 9 "),
        ([k / 10 for k in range(100)], [10, 11, 12], "lacks 3 of 100 rows at steps of 0.1, the first behind row 9 "),
        (
            [*HOURS[:50], HOURS[49] + datetime.timedelta(minutes=7), *HOURS[50:]],
            [],
            "has no frequency: 2 of 401 steps are no multiple of 1 h",
        ),
        (months(60), [], None),
        (BUSINESS, [], None),
        ([t.date() for t in DAYS], [], None),
        ([20190601 + k for k in range(30)] + [20190701 + k for k in range(31)], [], None),
        ([201901 + k for k in range(12)] + [202001 + k for k in range(12)], [], None),
        ([k / 10 for k in range(100)], [], None),
        (
            [
                "2019-01-31",
                "2019-02-28",
                "2019-03-31",
                *(f"2019-{m:02}-{30 + (m in (5, 7, 8, 10, 12))}" for m in range(4, 13)),
            ],
            [],
            None,
        ),
        ([f"{year}-01-01" for year in range(1980, 2020)], [], None),
    ],
)
def test_steps_that_are_missing_are_counted_and_the_first_is_named(
    times: list[Any], without: list[int], message: str | None, write: Write
) -> None:
    path = series([t for k, t in enumerate(times) if k not in without], write)
    data = SeriesData(path, target_column="kW", time_column="Datum", **SMALL)
    if message is None:
        data.setup("fit")
        return
    with pytest.raises(RnnZooError, match="^" + re.escape(f"time_column='Datum' of {path!r} {message}")):
        data.setup("fit")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([t.date() for t in DAYS]),
        pa.array(DAYS, pa.timestamp("us")),
        pa.array([t.astimezone(ZoneInfo("Europe/Berlin")) for t in HOURS[:40]], pa.timestamp("s", "Europe/Berlin")),
        pa.array(DAYS, pa.date64()),
        pa.array(range(0, 400, 10), pa.duration("s")),
        pa.array(range(0, 400, 10), pa.time32("s")),
    ],
)
def test_times_of_parquet_have_types_of_their_own(column: Any, tmp_path: Any) -> None:
    table = pa.table({"t": column, "kW": np.random.default_rng(0).random(len(column))})
    Dataset(table).to_parquet(str(tmp_path / "a.parquet"))
    SeriesData(str(tmp_path / "a.parquet"), time_column="t", **SMALL).setup()
    Dataset(table.take([*range(20), *range(23, 40)])).to_parquet(str(tmp_path / "b.parquet"))
    with pytest.raises(RnnZooError, match="lacks 3 of 40 rows"):
        SeriesData(str(tmp_path / "b.parquet"), time_column="t", **SMALL).setup()
