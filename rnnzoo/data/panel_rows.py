"""A data set's rows, each a step of a series, as a panel: sorted, checked, and with what is missing treated."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from rnnzoo.data.covariates import Covariate, features_of, is_missing, is_number_column, read_covariate
from rnnzoo.data.handed import shown as shown_dataset
from rnnzoo.data.panel import Panel
from rnnzoo.data.panel_joint import VARIABLE, join
from rnnzoo.data.pieces import encoded, pieces, series_at
from rnnzoo.data.steps import clock_of, first_that_is_not_later, grid_of, places_in
from rnnzoo.data.values import choose_column, read_times_of, read_values, resolution
from rnnzoo.errors import RnnZooError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

MISSING = ("raise", "mask", "forward_fill", "interpolate")
Missing = Literal["raise", "mask", "forward_fill", "interpolate"]


@dataclass
class PanelColumns:
    """Which columns hold what.

    Args:
        target: with the values; several are a series each. None for the only one that can be meant.
        id: says which series a row belongs to; None where all rows are one.
        time: of the row; None where rows are in order of time.
        known, past, static: covariates that are known ahead, up to the present, and for the whole series.
    """

    target: str | Sequence[str] | None = None
    id: str | None = None
    time: str | None = None
    known: Sequence[str] = ()
    past: Sequence[str] = ()
    static: Sequence[str] = ()

    @property
    def targets(self) -> list[str]:
        return [] if self.target is None else [self.target] if isinstance(self.target, str) else list(self.target)

    @property
    def named(self) -> dict[str, str]:
        """The setting of each column that is named, by its name."""
        made: dict[str, str] = {}
        single: dict[str, Sequence[str | None]]
        single = {"target_column": self.targets, "id_column": [self.id], "time_column": [self.time]}
        for setting, names in {**single, "known": self.known, "past": self.past, "static": self.static}.items():
            for name in names:
                if name is None:
                    continue
                if name in made:
                    where = f"in {setting} twice" if made[name] == setting else f"both {made[name]} and {setting}"
                    raise RnnZooError(f"the column {name!r} is {where}: a column has one use")
                made[name] = setting
        return made

    def check(self, rows: "Dataset", what: str) -> None:
        """Raises RnnZooError where a column is not in the data, or has two uses."""
        for name, setting in self.named.items():
            if name not in rows.column_names:
                near = did_you_mean(name, rows.column_names)
                raise RnnZooError(f"{setting}={name!r} is not in {what}{near} it has {', '.join(rows.column_names)}")


@dataclass
class PanelRows:
    """A panel that was read, and what was found on the way.

    Args:
        panel: all series.
        counts: for each part that the data set has a split for, the steps (S,) of each series in it.
        covariates: how the numbers of the panel's covariates are made, by the covariate's name.
        resolution: what the largest value differs by from the next that its column can hold.
        target: the column of the values.
        groups: the names of the covariates in each array of the panel, "known", "past" and "static".
    """

    panel: Panel
    counts: dict[str, np.ndarray]
    covariates: dict[str, Covariate] = field(default_factory=dict)
    resolution: float = 0.0
    target: str = ""
    groups: dict[str, list[str]] = field(default_factory=dict)


def read_panel(
    splits: Mapping[str, "Dataset"],
    columns: PanelColumns,
    dataset: Any,
    missing: Missing = "raise",
    learned: Mapping[str, Covariate] | None = None,
    without_target: bool = False,
    joint: bool = False,
) -> PanelRows:
    """The panel of a data set in long form: a row is one step of one series.

    Rows are sorted by series, in the order of their first rows, and by time.

    Args:
        splits: for each part that the data set has one for, its rows; later parts are later in time.
        columns: which hold what.
        dataset: its name, for messages.
        missing: what becomes of values that are empty, and of steps that no row stands for: an error; NaN; the value
            before, or else the first; or a line between the neighbours. Covariates are filled with the value before.
        learned: covariates as they were read in training; None to learn them from the split for training.
        without_target: the values are still to come: rows of the future.
        joint: whether several targets have the past of all as covariates.

    Raises:
        RnnZooError: as `rnnzoo.data.SeriesData`.
    """
    from datasets import concatenate_datasets

    what = shown_dataset(dataset)
    first = next(iter(splits.values()))
    columns.check(first, what)
    several, with_ids = columns.targets if len(columns.targets) > 1 else [], columns.id is not None
    if several:
        first, splits, columns = _unfolded(splits, columns)
    used = [name for name in columns.named if name != columns.target]
    target = "" if without_target else choose_column(first.features, next(iter(columns.targets), None), used, what)
    rows = first if len(splits) == 1 else concatenate_datasets(list(splits.values()))
    if not len(rows):
        raise RnnZooError(f"dataset={what} has no rows")
    lengths = [len(own) for own in splits.values()]
    part = None if len(splits) == 1 else np.repeat(np.arange(len(splits), dtype=np.int8), lengths)

    # of what is as long as the rows, as little as can be is there at the same time
    ids, code = _series_of(rows, columns.id, what)
    times = None if columns.time is None else read_times_of(rows, columns.time, what)
    order = _order(code, times, rows, columns, what)
    if order is not None:
        rank_zero_info(f"dataset={what}: its rows are sorted by series and time")
        code, part = code[order], None if part is None else part[order]
        times = None if times is None else times.iloc[order].reset_index(drop=True)
    bounds = np.concatenate([[0], np.flatnonzero(code[1:] != code[:-1]) + 1, [len(code)]])
    del code
    if target:
        values = read_values(rows, target, what, missing="allow" if missing != "raise" else "refuse")
        values = values if order is None else values[order]
    else:
        values = np.full(len(rows), np.nan)
    held = resolution(rows, target, values) if target else 0.0
    clock = None if times is None else clock_of(times)
    panel = Panel(values, bounds, ids, clock, None, _clock(times))
    del values, clock
    known, panel.known = _features(rows, columns.known, "known", what, learned, order)
    past, panel.past = _features(rows, columns.past, "past", what, learned, order)
    static, panel.static = _static_features(rows, columns.static, panel, what, learned, order)
    made = {**known, **past, **static}
    if times is not None and columns.time is not None:
        column = f"time_column={columns.time!r} of {what}"
        places = _places_on_grid(panel, times, missing, column, order, partial(_offsets, rows, columns.time))
        del times
        if places is not None:
            part = _put_on_grid(panel, places, part)
            del places
    if missing not in ("raise", "mask"):
        _fill(panel.values, panel.starts, missing)
    groups = {"known": list(known), "past": list(past), "static": list(static)}
    if joint:
        made |= join(panel, several, with_ids) | {n: one for n, one in (learned or {}).items() if n in several}
        groups["past"] += several
        groups["static"].append(VARIABLE)
    _fill_covariates(panel, what, missing)
    counts = {name: np.diff(panel.starts) for name in splits}
    if part is not None:
        counts = {name: np.add.reduceat(part == k, panel.starts[:-1]) for k, name in enumerate(splits)}
        _check_order_of_parts(part, list(splits), panel, what)
    return PanelRows(panel, counts, made, held, target, groups)


def _unfolded(
    splits: Mapping[str, "Dataset"], columns: PanelColumns
) -> tuple["Dataset", dict[str, "Dataset"], PanelColumns]:
    """A wide table in long form: each column of values is a series of its own, called by its name."""
    from datasets import concatenate_datasets

    made = {}
    for part, rows in splits.items():
        others = [name for name in rows.column_names if name not in columns.targets]
        pieces = []
        for name in columns.targets:
            piece = rows.select_columns([*others, name])
            piece = piece if name == _VALUE else piece.rename_column(name, _VALUE)
            names = [name] * len(rows)
            if columns.id is not None:
                names = [f"{one}/{name}" for one in piece[columns.id]]
                piece = piece.remove_columns(columns.id)
            pieces.append(piece.add_column(columns.id or _SERIES, names))
        made[part] = concatenate_datasets(pieces)
    long = PanelColumns(_VALUE, columns.id or _SERIES, columns.time, columns.known, columns.past, columns.static)
    return next(iter(made.values())), made, long


_VALUE, _SERIES = "value", "series"


def _series_of(rows: "Dataset", column: str | None, what: str) -> tuple[list[Any], np.ndarray]:
    """The ids in the order of their first rows, and the number of each row's."""
    if column is None:
        return [], np.zeros(len(rows), np.int32)
    cells = rows.with_format("arrow")[column]
    if cells.null_count:
        k = int(np.flatnonzero(cells.is_null().to_numpy())[0])
        raise RnnZooError(f"id_column={column!r} of {what} is empty in row {k:,} (the first is row 0)")
    return encoded(cells)


def _order(code: np.ndarray, times: Any, rows: "Dataset", columns: PanelColumns, what: str) -> np.ndarray | None:
    """How rows are to be sorted; None where they are.

    Raises:
        RnnZooError: two rows of a series have the same time.
    """
    apart = bool((code[1:] < code[:-1]).any())
    if times is None:
        return np.argsort(code, kind="stable") if apart else None
    if not apart and not first_that_is_not_later(times, _starts(code)):
        return None
    order = np.lexsort((clock_of(times), code))
    if k := first_that_is_not_later(times.iloc[order].reset_index(drop=True), _starts(code[order])):
        a, b = sorted((int(order[k - 1]), int(order[k])))
        cells = rows.with_format("arrow")[columns.time]
        of = "" if columns.id is None else f" of series {rows[a][columns.id]!r}"
        hint = "" if columns.id is not None else "; if the rows are of several series, say which by id_column"
        raise RnnZooError(
            f"time_column={columns.time!r} of {what} has {cells[b]} twice{of}, in rows {a:,} and {b:,} (the first is"
            f" row 0): keep one{hint}"
        )
    return order


def _starts(code: np.ndarray) -> np.ndarray:
    return np.append(0, np.flatnonzero(code[1:] != code[:-1]) + 1)


def _features(
    rows: "Dataset",
    names: Sequence[str],
    setting: str,
    what: str,
    learned: Mapping[str, Covariate] | None,
    order: np.ndarray | None,
) -> tuple[dict[str, Covariate], np.ndarray]:
    """Covariates of each row: how they are made, and their features side by side (N, F); float64 where one is a number.

    Columns of numbers, the large ones, are read one at a time, to where they stay.
    """
    recalled = learned or {}
    columns = {
        name: read_covariate(rows, name, setting, what, recalled.get(name))
        for name in names
        if not is_number_column(rows, name, recalled.get(name))
    }
    width = len(names) - len(columns) + sum(covariate.width for covariate, _ in columns.values())
    labels = len(columns) == len(names) and all(covariate.labels is not None for covariate, _ in columns.values())
    features = np.empty((len(rows), width), np.float32 if labels else np.float64)
    covariates: dict[str, Covariate] = {}
    at = 0
    for name in names:
        if name in columns:
            covariates[name], column = columns.pop(name)
        else:
            covariates[name], column = read_covariate(rows, name, setting, what, recalled.get(name), features[:, at])
        column = column if order is None else column[order]
        end = at + covariates[name].width
        for some in pieces(len(rows)):
            features[some, at:end] = features_of(covariates[name], column[some])
        at = end
    return covariates, features


def _static_features(
    rows: "Dataset",
    names: Sequence[str],
    panel: Panel,
    what: str,
    learned: Mapping[str, Covariate] | None,
    order: np.ndarray | None,
) -> tuple[dict[str, Covariate], np.ndarray]:
    """Covariates of each series: how they are made, and their features side by side (S, F)."""
    covariates, features = {}, [np.zeros((len(panel), 0), np.float32)]
    for name in names:
        covariates[name], column = read_covariate(rows, name, "static", what, (learned or {}).get(name))
        column = column if order is None else column[order]
        first = column[panel.starts[:-1]]
        for some in pieces(len(column)):
            which = series_at(some, panel.starts)
            same = (column[some] == first[which]) | is_missing(column[some])
            if not same.all():
                k = int(np.flatnonzero(~same)[0])
                row = some.start + k - panel.starts[which[k]]
                of = f" of {panel.name(which[k])}" if len(panel.ids) else ""
                raise RnnZooError(
                    f"static={name!r} of {what} changes within a series: row {row:,}{of} (the first is row 0, in order"
                    " of time) differs from the first; give it as known or past"
                )
        features.append(features_of(covariates[name], first))
    return covariates, np.concatenate(features, 1)


def _offsets(rows: "Dataset", column: str) -> str:
    """What to say of times that are texts with several offsets from UTC, which may be why they have no frequency."""
    import pyarrow.compute as pc

    if str(getattr(rows.features[column], "dtype", "")) not in ("string", "large_string"):
        return ""
    found = pc.extract_regex(rows.with_format("arrow")[column], r"(?P<offset>[+-]\d\d:?\d\d)$")
    offsets = sorted(one for one in pc.unique(pc.struct_field(found, 0)).to_pylist() if one)
    if len(offsets) < 2:
        return ""
    return f"; its times have the offsets {', '.join(offsets)}, by which they were taken to UTC: give them without any"


def _places_on_grid(
    panel: Panel, times: Any, missing: str, what: str, order: np.ndarray | None, offsets: Callable[[], str]
) -> np.ndarray | None:
    """Of each row, how many steps it lies behind the first of its series; None where no step is missing."""
    starts = panel.starts[:-1]
    grid = grid_of(times, starts)
    panel.frequency = grid.frequency
    if len(times) < 3 or (not grid.missing and not grid.uneven):
        return None
    k = grid.first
    which = int(np.searchsorted(starts, k, side="right")) - 1
    row = k if order is None else int(order[k])
    where = f"the first behind row {row:,} (the first is row 0), {times.iloc[k]}"
    where += f" of {panel.name(which)}" if len(panel.ids) else ""
    if grid.uneven:
        raise RnnZooError(
            f"{what} has no frequency: {grid.uneven:,} of {len(times):,} steps are no multiple of {grid.frequency},"
            f" {where}; without a time_column all rows count as equally far apart{offsets()}"
        )
    if missing == "raise":
        raise RnnZooError(
            f"{what} lacks {grid.missing:,} of {len(times) + grid.missing:,} rows at steps of {grid.frequency},"
            f" {where}: fill them in, or say missing=mask, forward_fill or interpolate{offsets()}"
        )
    return places_in(times, starts, grid.frequency)


def _put_on_grid(panel: Panel, places: np.ndarray, part: np.ndarray | None) -> np.ndarray | None:
    """Gives a panel a step for each that is missing; `part` of each row becomes that of each step.

    Args:
        panel: which is changed.
        places: (N,), of which this makes places among all steps.
        part: (N,), of each row.
    """
    assert panel.times is not None
    assert panel.frequency is not None
    bounds = np.concatenate([[0], np.cumsum(places[panel.starts[1:] - 1] + 1)])
    for rows in pieces(len(places)):
        places[rows] += bounds[series_at(rows, panel.starts)]
    size = int(bounds[-1])
    times, parts = np.empty(size, panel.times.dtype), None if part is None else np.empty(size, part.dtype)
    for steps in pieces(size):
        there = np.arange(steps.start, steps.stop)
        from_row = np.searchsorted(places, there, side="right") - 1
        times[steps] = panel.frequency.after(panel.times[from_row], there - places[from_row])
        if parts is not None and part is not None:
            parts[steps] = part[from_row]
    panel.times, panel.starts = times, bounds
    # one by one, so that the old one is gone before the next is made
    panel.values = _spread(panel.values, places, size)
    panel.known = _spread(panel.known, places, size)
    panel.past = _spread(panel.past, places, size)
    return parts


def _spread(numbers: np.ndarray, places: np.ndarray, size: int) -> np.ndarray:
    """Rows of numbers at their places among `size` rows, of which the others are NaN."""
    made = np.full((size, *numbers.shape[1:]), np.nan, numbers.dtype)
    made[places] = numbers
    return made


def _clock(times: Any) -> str:
    """What times are, as `Panel` has it."""
    zone = getattr(times, "dtype", None)
    if times is None or not str(zone).startswith("datetime64"):
        return "number"
    return "utc" if getattr(zone, "tz", None) is not None else "timestamp"


def _fill(values: np.ndarray, starts: np.ndarray, how: str) -> None:
    """Fills what is missing in place, series by series; what lies before the first value gets it."""
    empty = np.isnan(values)
    for a, b in pairwise(starts):
        own = empty[a:b]
        if not own.any() or own.all():
            continue
        there = np.flatnonzero(~own)
        if how == "interpolate":
            values[a:b][own] = np.interp(np.flatnonzero(own), there, values[a:b][there])
        else:
            before = np.maximum(np.searchsorted(there, np.arange(b - a), side="right") - 1, 0)
            values[a:b] = values[a:b][there[before]]


def _fill_covariates(panel: Panel, what: str, missing: str) -> None:
    for setting, numbers in (("known", panel.known), ("past", panel.past), ("static", panel.static)):
        if not numbers.size or not np.isnan(numbers.min()):  # the least is NaN where one is
            continue
        row, _ = (int(k[0]) for k in np.nonzero(np.isnan(numbers)))
        which = row if setting == "static" else int(np.searchsorted(panel.starts, row, side="right")) - 1
        place = "" if setting == "static" else f" in step {row - panel.starts[which]:,}"
        if missing == "raise":
            raise RnnZooError(
                f"{setting} of {what} has a covariate that is missing{place} of {panel.name(which)} (the first is step"
                " 0): fill it in, or say missing=mask, forward_fill or interpolate"
            )
        if setting == "static":
            numbers[np.isnan(numbers)] = 0.0  # the mean, in standardised units
            continue
        for column in numbers.T:
            _fill(column, panel.starts, "forward_fill")
        numbers[np.isnan(numbers)] = 0.0


def _check_order_of_parts(part: np.ndarray, names: Sequence[str], panel: Panel, what: str) -> None:
    back = np.diff(part) < 0
    back[panel.starts[1:-1] - 1] = False
    if back.any():
        k = int(np.flatnonzero(back)[0])
        which = int(np.searchsorted(panel.starts, k, side="right")) - 1
        raise RnnZooError(
            f"the splits of {what} overlap in time: in {panel.name(which)} a row of {names[part[k]]} lies before one of"
            f" {names[part[k + 1]]}"
        )
