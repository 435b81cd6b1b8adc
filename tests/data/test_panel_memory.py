"""Long panels: what they take of memory, and that reading them in pieces is reading them at once."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from datasets import Dataset

from rnnzoo.data import SeriesData, pieces
from rnnzoo.data.panel import Panel
from rnnzoo.errors import RnnZooError

SMALL: dict[str, Any] = {"id_column": "id", "time_column": "time", "target_column": "value", "horizon": 3, "context": 4}
COVARIATES: dict[str, Any] = {"known": ["price", "event"], "past": ["visits"], "static": ["region"]}


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "ROWS", 37)


def frame(lengths: tuple[int, ...], step: str = "h", seed: int = 0) -> pd.DataFrame:
    draw, parts = np.random.default_rng(seed), []
    for k, length in enumerate(lengths):
        parts.append(
            pd.DataFrame(
                {
                    "id": f"s{k}",
                    "time": pd.date_range("2024-03-20", periods=length, freq=step),
                    "value": draw.normal(100 * k, 10, length),
                    "price": draw.normal(5e6, 2, length),
                    "event": draw.choice(["none", "fair", "sale"], length),
                    "visits": draw.integers(0, 90, length),
                    "region": ["north", "south"][k % 2],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def panel_bytes(table: pa.Table, path: Path, **settings: Any) -> tuple[int, int]:
    """The bytes of a table that is mapped from a file, and the most that reading it and two batches take."""
    with pa.ipc.new_stream(path, table.schema) as stream:
        stream.write_table(table, max_chunksize=10_000)
    rows = Dataset.from_file(str(path))
    tracemalloc.start()  # numpy's arrays too
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        data = SeriesData(rows, **SMALL, season=7, known=["price"], **settings)
        assert data.description.horizon == 3
        for _, batch in zip(range(2), data.train_dataloader(), strict=False):
            assert batch.known.shape == (32, 3, 1)
        return table.nbytes, tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        pa.set_memory_pool(before)
        tracemalloc.stop()


@pytest.mark.parametrize("rows", ["by series", "by time", "with gaps"])
def test_a_panel_takes_less_than_twice_its_columns(rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "ROWS", pieces.ROWS // 8)  # as small beside this panel as they are beside a long one
    series, steps = 100, 10_000
    at = np.arange(series * steps)
    which, step = (at % series, at // series) if rows == "by time" else (at // steps, at % steps)
    draw = np.random.default_rng(0).normal(size=(2, len(at)))
    table = pa.table(
        {
            "id": pa.array([f"s{k:05}" for k in range(series)]).take(pa.array(which)),
            "time": np.datetime64("2024-01-01", "ms") + step * np.timedelta64(1, "h"),
            "value": draw[0],
            "price": draw[1],
        }
    )
    if rows == "with gaps":
        table = table.filter(pa.array(at % 10 != 5))
    columns, most = panel_bytes(table, tmp_path / "rows.arrow", missing="mask" if rows == "with gaps" else "raise")
    assert columns / 2 < most < 2 * columns  # numpy's arrays, most of it, are seen


def same(one: Panel, other: Panel) -> None:
    for name in ("values", "starts", "times"):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True), name
    for name in ("known", "past", "static"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-6)
    assert list(one.ids) == list(other.ids)
    assert one.frequency == other.frequency


def mixed(table: pd.DataFrame) -> pd.DataFrame:
    return table.sample(frac=1, random_state=0)


def with_gaps(table: pd.DataFrame) -> pd.DataFrame:
    table = table.copy()
    table.loc[table.index[40:42], "value"] = np.nan
    return table.drop(index=[60, 61, 99, 136, 203])


def as_texts(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(time=table["time"].map(lambda time: time.isoformat()))


@pytest.mark.parametrize("change", [lambda table: table, mixed, with_gaps, as_texts])
@pytest.mark.parametrize("lengths", [(60, 45, 80, 50), (300, 20, 150)])
def test_a_panel_in_pieces_is_the_same(
    lengths: tuple[int, ...], change: Callable[[pd.DataFrame], pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many short series, which pieces cut anywhere, and of long ones, which lie in several."""
    table = change(frame(lengths))
    whole = SeriesData(table, **SMALL, **COVARIATES, season=7, missing="mask").panel
    monkeypatch.setattr(pieces, "ROWS", 37)
    same(SeriesData(table, **SMALL, **COVARIATES, season=7, missing="mask").panel, whole)


@pytest.mark.usefixtures("few_at_once")
def test_an_hour_that_daylight_saving_repeats_is_found_in_any_piece() -> None:
    walls = pd.date_range("2023-03-01", periods=9000, freq="h", tz="Europe/Berlin").tz_localize(None)
    table = pd.DataFrame({"time": walls, "value": np.random.default_rng(0).random(9000)})
    assert table["time"].duplicated().sum() == 1
    settings = {**SMALL, "id_column": None}
    assert len(SeriesData(table, **settings).panel.values) == 9000
    holes = table.drop(index=[500, 4000, 4001, 8000])
    panel = SeriesData(holes, **settings, missing="mask").panel
    assert np.flatnonzero(np.isnan(panel.values)).tolist() == [500, 4000, 4001, 8000]
    with pytest.raises(RnnZooError, match=r"lacks 4 of 9,000 rows at steps of 1 hour, the first behind row 499 "):
        SeriesData(holes, **settings).setup()
    table.loc[7000, "time"] = table.loc[6999, "time"]
    with pytest.raises(RnnZooError, match=r" twice, in rows 6,999 and 7,000 "):
        SeriesData(table, **settings).setup()


def changed(row: int, column: str, value: Any) -> pd.DataFrame:
    table = frame((60, 90, 45))
    table[column] = table[column].astype(object if isinstance(value, str | None) else table[column].dtype)
    table.loc[row, column] = value
    return table


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize(
    ("table", "message"),
    [
        (changed(123, "value", np.nan), r"target_column='value' .* is nan in row 123 "),
        (changed(123, "price", np.inf), r"known='price' .* is inf in row 123 "),
        (changed(123, "price", np.nan), r"known .* is missing in step 63 of series 's1'"),
        (changed(123, "region", "east"), r"static='region' .* row 63 of series 's1'"),
        (changed(123, "id", None), "id_column='id' .* is empty in row 123 "),
        (
            changed(123, "time", pd.Timestamp("2300-03-01")),
            r"time_column='time' .* has 2300-03-01 .* in row 123 .*2261",
        ),
    ],
)
def test_the_row_of_a_fault_is_that_of_all_pieces(table: pd.DataFrame, message: str) -> None:
    if str(table["time"].dtype).startswith("datetime"):
        table["time"] = table["time"].astype("datetime64[ms]")
    with pytest.raises(RnnZooError, match=message):
        SeriesData(table, **SMALL, **COVARIATES, season=7).setup()


@pytest.mark.usefixtures("few_at_once")
def test_a_category_that_was_not_there_in_training_is_named_by_its_first_row() -> None:
    from rnnzoo.data.covariates import Covariate, read_covariate

    rows = Dataset.from_dict({"event": ["a", "b", None, " "] * 30 + ["c", "a"] * 10})
    covariate, column = read_covariate(rows, "event", "known", "x")
    assert covariate.labels == ("a", "b", "c")
    assert column.tolist() == [0, 1, -1, -1] * 30 + [2, 0] * 10
    with pytest.raises(RnnZooError, match=r"known='event' of x has 'c' in row 120 "):
        read_covariate(rows, "event", "known", "x", Covariate(("a", "b")))


@pytest.mark.usefixtures("few_at_once")
def test_means_and_ranges_in_pieces_are_those_of_numpy() -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(1000, 3, 500)
    values[[5, 100, 400]] = np.nan
    starts, first, stop = np.array([0, 40, 41, 300, 500]), np.array([0, 0, 20, 9]), np.array([20, 0, 240, 9])
    inside = np.zeros(500, bool)
    for k in range(4):
        inside[starts[k] + first[k] : starts[k] + stop[k]] = True
    where = pieces.rows_within(starts, first, stop)
    assert where.tolist() == inside.tolist()
    own = values[inside & ~np.isnan(values)]
    assert pieces.mean_and_std(values, where) == pytest.approx((own.mean(), own.std()), rel=1e-12)
    assert np.isnan(pieces.mean_and_std(values, where & False)).all()
    which = np.concatenate([pieces.series_at(rows, starts) for rows in pieces.pieces(500)])
    assert which.tolist() == np.repeat(range(4), np.diff(starts)).tolist()
