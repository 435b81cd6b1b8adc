"""Series in long form: as pandas sorts, fills and groups the same rows."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars
import pytest
import torch
from datasets import Dataset, DatasetDict

from rnnzoo.data import SeriesData
from rnnzoo.errors import RnnZooError

SMALL: dict[str, Any] = {"horizon": 3, "context": 4, "season": 7, "batch_size": 8}
LONG: dict[str, Any] = {"id_column": "shop", "time_column": "day", "target_column": "sold", **SMALL}
COVARIATES: dict[str, Any] = {"known": ["price", "event"], "past": ["visits"], "static": ["region"]}


def frame(lengths: tuple[int, ...] = (60, 45, 80), seed: int = 0) -> pd.DataFrame:
    """Sales of shops, a row a day, each shop from a day of its own on."""
    draw, parts = np.random.default_rng(seed), []
    for k, length in enumerate(lengths):
        days = pd.date_range("2024-01-01", periods=length) + pd.Timedelta(days=3 * k)
        parts.append(
            pd.DataFrame(
                {
                    "shop": f"s{k}",
                    "day": days,
                    "sold": draw.normal(100 * (k + 1), 10, length).round(3),
                    "price": draw.normal(5, 2, length),
                    "event": draw.choice(["none", "fair", "sale"], length),
                    "visits": draw.normal(1000, 50, length),
                    "region": ["north", "south"][k % 2],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def windows(data: SeriesData, part: str) -> list[dict[str, Any]]:
    loader = data.loader(part, training=False)
    return [
        {name: None if field is None else field[k] for name, field in vars(batch).items()}
        for batch in loader
        for k in range(len(batch.origin))
    ]


def test_each_window_is_a_slice_of_its_series_with_its_covariates() -> None:
    table = frame()
    data = SeriesData(table, **LONG, **COVARIATES)
    seen = windows(data, "test")
    assert len(seen) == sum(round(n * 1.0) - round(n * 0.81) - 2 for n in (60, 45, 80))
    shops = [table[table["shop"] == f"s{k}"].reset_index(drop=True) for k in range(3)]
    train = pd.concat([shop[: round(len(shop) * 0.7)] for shop in shops])
    for window in seen:
        shop, origin = shops[int(window["series"])], int(window["origin"])
        before, after = shop[origin - 11 : origin], shop[origin : origin + 3]
        assert window["past"].tolist() == before["sold"].tolist()
        assert window["future"].tolist() == after["sold"].tolist()
        assert window["time"].tolist() == after["day"].astype("datetime64[ns]").astype("int64").tolist()
        price = (shop["price"] - train["price"].mean()) / train["price"].std(ddof=0)
        visits = (shop["visits"] - train["visits"].mean()) / train["visits"].std(ddof=0)
        events = np.stack([shop["event"] == name for name in ("fair", "none", "sale")], 1).astype(float)
        known = np.column_stack([price, events])
        np.testing.assert_allclose(window["known"], known[origin : origin + 3], atol=1e-5)
        beside = np.column_stack([known, visits])[origin - 11 : origin]
        np.testing.assert_allclose(window["covariates"], beside, atol=1e-5)
        assert window["static"].tolist() == ([1, 0] if shop["region"][0] == "north" else [0, 1])
        own = shop["sold"][: round(len(shop) * 0.7)].to_numpy()
        assert window["scale"] == pytest.approx(np.abs(own[7:] - own[:-7]).mean())


@pytest.mark.parametrize("kind", ["csv", "parquet", "pandas", "polars", "dataset"])
def test_any_source_and_any_order_of_rows_gives_the_same_panel(kind: str, tmp_path: Path) -> None:
    table = frame()
    mixed = table.sample(frac=1, random_state=0)
    expected = SeriesData(table, **LONG, **COVARIATES).panel
    given: Any = mixed
    if kind in ("csv", "parquet"):
        given = str(tmp_path / f"a.{kind}")
        mixed.to_csv(given, index=False) if kind == "csv" else mixed.to_parquet(given)
    elif kind == "polars":
        given = polars.from_pandas(mixed)
    elif kind == "dataset":
        given = Dataset.from_pandas(mixed, preserve_index=False)
    panel = SeriesData(given, **LONG, **COVARIATES).panel
    for k, name in enumerate(panel.ids):
        there = list(expected.ids).index(name)
        np.testing.assert_allclose(panel.series(k), expected.series(there), rtol=1e-12)
        for field in ("known", "past"):
            a, b = (getattr(p, field)[p.starts[j] : p.starts[j + 1]] for p, j in ((panel, k), (expected, there)))
            np.testing.assert_allclose(a, b, atol=1e-4)
        assert panel.static[k].tolist() == expected.static[there].tolist()


@pytest.mark.parametrize("how", ["forward_fill", "interpolate", "mask"])
def test_steps_without_a_row_and_empty_values_are_treated_as_pandas_does(how: str) -> None:
    table = frame()
    table.loc[table.index[20:23], "sold"] = np.nan
    holes = table.drop(index=[5, 30, 31, 70, 100, 101, 102])
    data = SeriesData(holes, **LONG, known=["price"], missing=how)  # type: ignore[arg-type]
    for k in range(3):
        shop = holes[holes["shop"] == f"s{k}"].set_index("day").asfreq("D")
        sold = shop["sold"].ffill() if how == "forward_fill" else shop["sold"]
        sold = sold.interpolate() if how == "interpolate" else sold
        np.testing.assert_allclose(data.panel.series(k), sold, rtol=1e-12)
        begin, end = data.panel.starts[k : k + 2]
        assert (data.panel.times[begin:end] == shop.index.astype("datetime64[ns]").astype("int64")).all()  # type: ignore[index]
        raw = data.panel.known[begin:end, 0]
        assert np.corrcoef(raw, shop["price"].ffill())[0, 1] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("start", ["2024-01-31", "2024-01-15", "2024-01-01"])
def test_months_that_are_missing_are_put_in(start: str) -> None:
    freq = {"31": "ME", "15": pd.DateOffset(months=1), "01": "MS"}[start[-2:]]
    days = pd.date_range(start, periods=60, freq=freq)
    table = pd.DataFrame({"day": days, "sold": np.arange(60.0)}).drop(index=[7, 8, 30])
    data = SeriesData(table, time_column="day", missing="interpolate", **{**SMALL, "season": None})
    assert data.season == 12
    assert data.series.tolist() == list(range(60))
    assert (data.panel.times == days.astype("datetime64[ns]").astype("int64")).all()


@pytest.mark.parametrize(
    ("freq", "season"),
    [("h", 24), ("30min", 48), ("D", 7), ("B", 5), ("W", 52), ("MS", 12), ("QE", 4), ("YS", 1), ("15min", 96)],
)
def test_the_season_is_what_is_usual_for_the_frequency_and_time_goes_on_behind_the_end(freq: str, season: int) -> None:
    days = pd.date_range("2020-01-06", periods=120 if freq == "YS" else 300, freq=freq)
    table = pd.DataFrame({"t": days[:-5], "y": np.random.default_rng(0).random(len(days) - 5)})
    data = SeriesData(table, time_column="t", horizon=5, context=3, predict_split="future")
    assert data.season == season
    (batch,) = data.predict_dataloader()
    assert batch.time[0].tolist() == days[-5:].astype("datetime64[ns]").astype("int64").tolist()


def test_a_wide_table_is_a_series_a_column() -> None:
    days = pd.date_range("2024-01-01", periods=60)
    draw = np.random.default_rng(0)
    table = pd.DataFrame({"day": days, "a": draw.random(60), "b": draw.random(60), "price": draw.random(60)})
    data = SeriesData(table, target_column=["a", "b"], time_column="day", known=["price"], **SMALL)
    assert list(data.panel.ids) == ["a", "b"]
    assert data.panel.series(1).tolist() == table["b"].tolist()
    assert (data.panel.known[:60] == data.panel.known[60:]).all()


def test_own_splits_go_on_from_one_another_series_by_series() -> None:
    table = frame()
    first = table.groupby("shop").cumcount()
    parts = {"train": table[first < 30], "validation": table[(first >= 30) & (first < 37)], "test": table[first >= 37]}
    rows = DatasetDict({name: Dataset.from_pandas(part, preserve_index=False) for name, part in parts.items()})
    data = SeriesData(rows, **LONG)
    assert {name: sorted(int(w["origin"]) for w in windows(data, name) if int(w["series"]) == 1) for name in parts} == {
        "train": list(range(11, 28)),
        "validation": list(range(30, 35)),
        "test": list(range(37, 43)),
    }
    late = DatasetDict({**rows, "train": rows["test"], "test": rows["train"]})
    with pytest.raises(
        RnnZooError, match="overlap in time: in series 's0' a row of test lies before one of validation"
    ):
        SeriesData(late, **LONG).setup()


def test_the_last_steps_of_each_series_may_be_the_parts() -> None:
    data = SeriesData(frame(), **LONG, validation_steps=5, test_steps=6, eval_stride=3)
    assert [(int(w["series"]), int(w["origin"])) for w in windows(data, "test")] == [
        (k, n - 6 + 3 * j) for k, n in enumerate((60, 45, 80)) for j in range(2)
    ]


@pytest.mark.parametrize("split_by", ["series", "both"])
def test_series_can_be_split_too(split_by: str) -> None:
    data = SeriesData(frame((50,) * 20), **LONG, split_by=split_by, split_seed=3)  # type: ignore[arg-type]
    own = {part: {int(w["series"]) for w in windows(data, part)} for part in ("train", "validation", "test")}
    assert [len(series) for series in own.values()] == [14, 2, 4]
    assert set.union(*own.values()) == set(range(20))
    begins = {part: min(int(w["origin"]) for w in windows(data, part)) for part in own}
    assert begins == {"train": 11, "validation": 35, "test": 40} if split_by == "both" else dict.fromkeys(own, 11)


@pytest.mark.parametrize("zone", ["Australia/Melbourne", "Europe/Berlin"])
def test_calendar_features_are_those_of_the_clock_on_the_wall(zone: str) -> None:
    utc = pd.date_range("2024-03-20", periods=1500, freq="h", tz="UTC")
    table = pd.DataFrame({"t": utc, "y": np.random.default_rng(0).random(1500)})
    names = ["hour", "weekday", "month", "month_day", "year_day"]
    data = SeriesData(table, time_column="t", calendar=names, timezone=zone, **{**SMALL, "season": 24})
    for window in windows(data, "test")[::40]:
        for k in range(3):
            wall = utc[int(window["origin"]) + k].tz_convert(zone)
            angle = [
                wall.hour / 24,
                (wall.month - 1) / 12,
                (wall.day - 1) / wall.days_in_month,
                (wall.day_of_year - 1 + wall.hour / 24) / (366 if wall.is_leap_year else 365),
            ]
            circles = [[np.sin(2 * np.pi * a), np.cos(2 * np.pi * a)] for a in angle]
            week = [float(d == wall.weekday()) for d in range(7)]
            expected = [*circles[0], *week, *circles[1], *circles[2], *circles[3]]
            np.testing.assert_allclose(window["known"][k], expected, atol=1e-5)
        assert torch.equal(window["covariates"][-1].isnan(), torch.zeros(15, dtype=torch.bool))


def changed(where: Any, column: str, value: Any) -> pd.DataFrame:
    table = frame()
    table[column] = table[column].astype(object) if isinstance(value, str | None) else table[column]
    table.loc[where, column] = value
    return table


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (
            changed(3, "sold", np.nan),
            {},
            r"target_column='sold' .* is nan in row 3 .*or say missing=mask, forward_fill",
        ),
        (changed(3, "sold", np.inf), {"missing": "mask"}, r"target_column='sold' .* is inf in row 3"),
        (
            frame().drop(index=9),
            {},
            r"lacks 1 of 185 rows at steps of 1 day, the first behind row 8 .*, 2024-01-09 .* of series 's0",
        ),
        (
            changed(9, "day", pd.Timestamp("2024-01-10 07:00")),
            {},
            r"has no frequency: .* are no multiple of 1 day, the f",
        ),
        (
            changed(70, "day", pd.Timestamp("2024-01-13")),
            {},
            r"has 2024-01-13 .* twice of series 's1', in rows 69 and 70 ",
        ),
        (
            frame().assign(
                day=lambda rows: [f"{day}T00:00:00+0{1 + k % 2}:00" for k, day in enumerate(frame()["day"].dt.date)]
            ),
            {},
            r"has no frequency: .*; its times have the offsets \+01:00, \+02:00, by which they were taken to UTC",
        ),
        (frame(), {"id_column": None}, r"twice, in rows .*; if the rows are of several series, say which by id_column"),
        (frame(), {"id_column": "store"}, r"^id_column='store' is not in <DataFrame>.* it has shop, day, sold"),
        (frame(), {"known": ["prise"]}, r"^known='prise' is not in <DataFrame>; did you mean 'price'\?"),
        (frame(), {"known": ["price", "price"]}, "the column 'price' is in known twice: a column has one use"),
        (frame(), {"known": ["price"], "past": ["price"]}, "the column 'price' is both known and past"),
        (frame(), {"known": ["sold"]}, "the column 'sold' is both target_column and known"),
        (
            changed(70, "region", "east"),
            {"static": ["region"]},
            r"static='region' .* changes within a series: row 10 of s",
        ),
        (
            changed(5, "price", np.nan),
            {"known": ["price"]},
            r"known of .* has a covariate that is missing in step 5 of ser",
        ),
        (changed(5, "price", -np.inf), {"known": ["price"]}, r"^known='price' of .* is -inf in row 5"),
        (changed(5, "shop", None), {}, r"id_column='shop' of .* is empty in row 5"),
        (
            changed(5, "sold", "many"),
            {},
            "^dataset=<DataFrame> cannot be read: Could not convert 'many' with type str: .* for column sold",
        ),
        (frame(), {"test_steps": 5}, "validation_steps=None and test_steps=5: give both"),
        (frame(), {"calendar": ["hours"]}, "calendar has 'hours'; did you mean 'hour'"),
        (frame(), {"missing": "fill"}, "missing='fill' must be one of raise, mask, forward_fill, interpolate"),
        (frame(), {"split_by": "series"}, "3 series are too few for three parts"),
        (
            frame((14, 14, 14)),
            {},
            r"the train part of <DataFrame> \(series 's0', the longest\) ends after 10 values and has 10",
        ),
    ],
)
def test_bad_input_is_one_line(table: pd.DataFrame, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RnnZooError, match=message) as caught:
        SeriesData(table, **{**LONG, **options}).train_dataloader()
    assert "\n" not in str(caught.value)


def test_a_series_that_is_too_short_is_left_out_with_a_word() -> None:
    data = SeriesData(frame((60, 8, 80)), **LONG)
    data.setup()
    with pytest.warns(
        UserWarning, match=r"1 of 3 series of <DataFrame> have no window for test, series 's1' the first"
    ):
        assert {int(w["series"]) for w in windows(data, "test")} == {0, 2}


def test_a_series_of_one_row_is_left_out_of_the_training_with_a_word() -> None:
    alone = pd.concat([frame(), frame().iloc[:1].assign(shop="lone")], ignore_index=True)
    data = SeriesData(alone, **LONG)
    with pytest.warns(
        UserWarning, match=r"1 of 4 series of <DataFrame> have no window, series 'lone' the first, of 1 values: too few"
    ):
        series = torch.cat([batch.series for batch in data.train_dataloader()])
    assert sorted({data.panel.ids[k] for k in series.tolist()}) == ["s0", "s1", "s2"]


def test_rows_in_the_wrong_order_are_not_mistaken_for_a_clock_set_back() -> None:
    hours = [datetime.datetime(2024, 6, 1) + datetime.timedelta(hours=k) for k in range(200)]
    table = pd.DataFrame({"t": hours, "y": np.arange(200.0) ** 1.5})
    swapped = table.iloc[[*range(50), 51, 50, *range(52, 200)]]
    assert SeriesData(swapped, time_column="t", **SMALL).series.tolist() == table["y"].tolist()


def test_a_frame_is_no_name_in_a_message() -> None:
    with pytest.raises(
        RnnZooError, match=r"batch_size=9999 is larger than the .* training windows of <DataFrame>: batch"
    ):
        SeriesData(frame(), **{**LONG, "batch_size": 9999}).train_dataloader()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Melbourne", None])
def test_rows_that_are_missing_are_not_taken_for_a_clock_that_was_set(zone: str | None) -> None:
    """A year of half-hours on a clock on the wall, of which 40 % of the rows are gone."""
    times = pd.date_range("2014-01-01", periods=17_520, freq="30min", tz=None if zone is None else "UTC")
    wall = times if zone is None else times.tz_convert(zone).tz_localize(None)
    there = np.random.default_rng(1).random(len(times)) < 0.6
    there[[0, -1]] = True
    hours = np.convolve(np.diff(wall) != np.timedelta64(30, "m"), np.ones(9))[: len(times)] > 0
    there[hours] = True  # but around the clock's being set
    there[np.flatnonzero(hours) - 8] = True
    table = pd.DataFrame({"t": wall, "y": np.arange(17_520.0)})[there].reset_index(drop=True)
    data = SeriesData(table, target_column="y", time_column="t", missing="mask", horizon=4, context=8, season=48)
    if zone is None:
        assert len(data.series) == 17_520
        assert data.series[there].tolist() == np.flatnonzero(there).tolist()
    else:
        assert abs(len(data.series) - 17_520) <= 2  # an hour may count as missing, where another Sunday's night does
