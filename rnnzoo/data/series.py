"""Time series for forecasters: one or many, with covariates, in windows."""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from rnnzoo.data.base import ExampleData
from rnnzoo.data.calendars import check_calendar
from rnnzoo.data.covariates import Covariate
from rnnzoo.data.handed import shown
from rnnzoo.data.panel import Panel
from rnnzoo.data.panel_future import with_future
from rnnzoo.data.panel_joint import for_each
from rnnzoo.data.panel_rows import MISSING, Missing, PanelColumns, PanelRows, read_panel
from rnnzoo.data.pieces import extent
from rnnzoo.data.scalers import Scaler, check_scaler
from rnnzoo.data.series_parts import SplitBy, check_steps, ranges_of
from rnnzoo.data.series_scales import SeriesScales, TrainedScales
from rnnzoo.data.sources import load_splits
from rnnzoo.data.splits import check_fractions, own_splits
from rnnzoo.data.standardising import standardise, standardised
from rnnzoo.data.windows import Origins, Windows
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset

# where a bundled data set comes from, and what holds in it where nothing else is said
_BUNDLED: dict[str, tuple[str, dict[str, Any]]] = {
    "taylor": ("rnnzoo.data.taylor:taylor", {"season": 336}),
    "elecdemand": (
        "rnnzoo.data.rdatasets_series:elecdemand",
        {"target_column": "demand", "time_column": "time", "season": 336},
    ),
    "us_employment": (
        "rnnzoo.data.rdatasets_series:us_employment",
        {"target_column": "employed", "time_column": "month", "id_column": "series"},
    ),
}


ONE_STEP = ("anomaly", "imputation")  # what `predict` reads step by step
# settings that another data set is read by for the same model
_TO_READ_ALIKE = (
    "target_column",
    "joint",
    "id_column",
    "time_column",
    "known",
    "past",
    "static",
    "calendar",
    "timezone",
    "scaler",
)


class SeriesData(ExampleData):
    """Series in windows of `context` + `season` values of the past and `horizon` values of the future, unscaled.

    A data set is in long form, a row for each step of a series; or wide, with a column for each series.

    Series are split by time: the futures of a part lie wholly in it, and their pasts may reach back into the parts
    before, which are known by then. What is learned of the data, the scale of a series and the mean of a covariate for
    example, is of the training part alone.

    A data set's own splits train, validation (or valid, val, dev) and test are used as they are, in this order of
    time. One that is missing is the end of the one before it.

    Args:
        dataset: "taylor", half-hourly electricity demand; "elecdemand", the same with temperature and working days;
            "us_employment", many monthly series: of rnnzoo[demo]. Or a CSV, Parquet, JSON or Arrow file, a folder of
            such files, a folder that `save_to_disk` wrote, or a name on the HuggingFace hub. In Python a Dataset, or a
            frame of pandas or polars, too.
        subset: the configuration, for a data set on the hub that has several.
        target_column: with the values; may be left out where only one holds numbers. Several are a series each.
        joint: whether each of several target columns is forecast from the past of all: from what each differs by from a
            season before, in units of its spread in the training part.
        id_column: says which series a row is of; None where all are of one.
        time_column: with dates or whole numbers. Without it rows are taken to be in order of time.
        known: columns of covariates that are known ahead, a price for example. Numbers are standardised; texts are
            categories.
        past: columns of covariates that are known up to the present.
        static: columns of covariates that do not change within a series.
        calendar: features of the time that are known ahead: "hour", "weekday", "month", "month_day", "year_day",
            and "holidays:COUNTRY" or "holidays:COUNTRY-PART" by the library `holidays`.
        timezone: of the clock that `calendar` goes by where times have a zone, "Australia/Melbourne" for example; UTC
            by default.
        missing: what becomes of a value that is empty, or a step that has no row: "raise", an error; "mask", NaN, which
            the model is told of; "forward_fill", the value before; "interpolate", a line between its neighbours,
            of which the later one may lie behind the origin of a window.
        scaler: what counts as one unit of each series for the model, of the training part: "seasonal", the mean of
            |y_t - y_{t - season}|; "standard", the standard deviation; "robust", the range between the quartiles;
            "mean", the mean of |y|; or "none", 1. A forecaster takes the season before from a series, so that its level
            goes of itself.
        horizon: values to forecast.
        context: values of the past that a forecast sees, besides a season before them.
        season: values in a period of the series, a week for example; by default what is usual for its frequency.
        split: fractions of the series for training, validation and test, in this order.
        validation_steps, test_steps: instead, so many steps at the end of each series.
        split_by: "time"; or "series", by which a part has series of its own, from their beginnings to their ends; or
            "both", by which it has series of its own, in a time of its own.
        split_seed: of the draw of series, where they are split.
        stride: from one training window to the next.
        eval_stride: from one window of validation, test or prediction to the next.
        batch_size: windows in a batch, over all processes.
        num_workers: processes that load data, for each loader.
        predict_split: what `predict` reads; "future" is the one window at the end of each series, whose future is not
            known; "backtest" the last windows before it, with rolling origins; "anomaly" every step that has a whole
            past, from the step before it; "imputation" those steps whose values are missing.
        future: a data set with the covariates known ahead for the steps to be forecast, in the same columns.
        backtest_windows: how many windows "backtest" has of each series.
        backtest_step: from one of them to the next; by default the horizon.
        leave_out: steps at the end of each series whose values are taken for not known yet.
        checkpoint: a checkpoint whose covariates are taken; given by the command line.
        cache_dir: folder for what `datasets` prepares; by default its own.
        column: an older name of `target_column`.

    Raises:
        RnnZooError: for whatever is wrong with an argument or the series, where it is first used.
    """

    provides, named = ("scaling", "horizon", "season", "context"), "windows"
    predict_split_of_others: ClassVar[str] = "future"

    def __init__(
        self,
        dataset: str = "taylor",
        subset: str | None = None,
        target_column: str | list[str] | None = None,
        joint: bool = False,
        id_column: str | None = None,
        time_column: str | None = None,
        known: list[str] = [],  # noqa: B006  # never changed; a list is what YAML gives
        past: list[str] = [],  # noqa: B006
        static: list[str] = [],  # noqa: B006
        calendar: list[str] = [],  # noqa: B006
        timezone: str | None = None,
        missing: Missing = "raise",
        scaler: Scaler = "seasonal",
        horizon: int = 48,
        context: int = 336,
        season: int | None = None,
        split: tuple[float, float, float] = (0.7, 0.11, 0.19),
        validation_steps: int | None = None,
        test_steps: int | None = None,
        split_by: SplitBy = "time",
        split_seed: int = 0,
        stride: int = 1,
        eval_stride: int = 1,
        batch_size: int = 32,
        num_workers: int = 0,
        predict_split: Literal["train", "validation", "test", "future", "backtest", "anomaly", "imputation"] = "test",
        future: str | None = None,
        backtest_windows: int = 1,
        backtest_step: int | None = None,
        leave_out: int = 0,
        checkpoint: str | None = None,
        cache_dir: str | None = None,
        column: str | None = None,
    ) -> None:
        super().__init__()
        if column is not None:
            rank_zero_warn("column is an older name: it is target_column now")
            target_column = target_column or column
        self.dataset, self.subset, self.cache_dir = dataset, subset, cache_dir
        source, usual = _BUNDLED.get(dataset, ("", {})) if isinstance(dataset, str) else ("", {})
        self._source = source
        self.target_column = target_column or usual.get("target_column")
        self.id_column, self.time_column = id_column or usual.get("id_column"), time_column or usual.get("time_column")
        self.known, self.past, self.static = list(known), list(past), list(static)
        self.columns = PanelColumns(
            self.target_column, self.id_column, self.time_column, self.known, self.past, self.static
        )
        self.joint = joint
        self.calendar, self.timezone, self.missing = list(calendar), timezone, missing
        self.scaler = scaler
        self.horizon, self.context = horizon, context
        self._season = usual.get("season") if season is None else season
        self.split, self.split_by, self.split_seed = check_fractions(split), split_by, split_seed
        self.validation_steps, self.test_steps = validation_steps, test_steps
        self.stride, self.eval_stride, self.batch_size = stride, eval_stride, batch_size
        self.num_workers, self.predict_split = num_workers, predict_split
        self.future, self.checkpoint = future, checkpoint
        self.backtest_windows, self.backtest_step, self.leave_out = backtest_windows, backtest_step, leave_out
        if future is not None:
            self.predict_split = "future"
        self.check_at_least(
            horizon=1, context=1, stride=1, eval_stride=1, batch_size=1, num_workers=0, backtest_windows=1, leave_out=0
        )
        if backtest_step is not None:
            self.check_at_least(backtest_step=1)
        if season is not None and season < 1:
            raise RnnZooError(f"season={season} must be at least 1")
        self.check_predict_split("future", "backtest", *ONE_STEP)
        check_steps(validation_steps, test_steps)
        check_scaler("scaler", scaler)
        if joint and len(self.columns.targets) < 2:
            raise RnnZooError(f"joint=true is for several target columns, but target_column={self.target_column!r}")
        _ = self.columns.named
        check_calendar(self.calendar)
        if missing not in MISSING:
            raise RnnZooError(f"missing={missing!r} must be one of {', '.join(MISSING)}")
        self.hold_out_test = True  # False where a backtest judges instead
        self._rows: PanelRows | None = None
        self._ranges: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._scales: SeriesScales | None = None
        self._covariates: dict[str, Covariate] = {}
        self._coming: np.ndarray | None = None  # the series that `future` has steps of
        self._recalled: dict[str, Covariate] | None = None  # how a model's covariates were made
        self._trained = TrainedScales()

    @classmethod
    def alike(cls, description: Description, dataset: Any, **settings: Any) -> "SeriesData":
        """The data of another data set, in the same columns, for a model that was trained on data of `description`.

        Args:
            description: of the data of the training.
            dataset: as of `SeriesData`.
            settings: of `SeriesData`, which go before those of the training.
        """
        more = description.more
        same = {name: more[name] for name in (*_TO_READ_ALIKE, "missing") if name in more}
        sizes = {name: getattr(description, name) for name in ("horizon", "context", "season")}
        made = cls(dataset, **{**same, **{name: size for name, size in sizes.items() if size}, **settings})
        made._recall(description)
        return made

    def _recall(self, description: Description) -> None:
        """Takes how covariates and series are scaled from the description of a training's data."""
        more = description.more
        for setting in ("known", "past", "static", "calendar"):
            own, trained = getattr(self, setting), list(more.get(setting, []))
            if own != trained:
                raise RnnZooError(
                    f"data.{setting} is [{', '.join(own)}], but the model was trained with [{', '.join(trained)}]: the"
                    " same features are needed, in the same order"
                )
        if self.joint != bool(more.get("joint")):
            raise RnnZooError(f"data.joint is {self.joint}, but the model was trained with {bool(more.get('joint'))}")
        masked = more.get("missing") == "mask"
        if (self.missing == "mask") != masked:
            trained_with = more.get("missing", "raise")
            raise RnnZooError(f"data.missing is {self.missing}, but the model was trained with {trained_with}")
        self._recalled = {name: Covariate.of(one) for name, one in more.get("covariates", {}).items()}
        self._trained = TrainedScales.of(description)

    # ---- the series

    @property
    def panel(self) -> Panel:
        """All series, with their covariates standardised."""
        return self._load().panel

    @property
    def series(self) -> np.ndarray:
        """The values of the first series in the order of time, (N,) float64."""
        return self.panel.series(0)

    @property
    def parts(self) -> dict[str, range]:
        """Where training, validation and test lie in the first series."""
        self._load()
        return {part: range(int(first[0]), int(stop[0])) for part, (first, stop) in self._ranges.items()}

    @property
    def season(self) -> int:
        """Steps after which a series resembles itself."""
        if self._season is None:
            frequency = self.panel.frequency
            self._season = 1 if frequency is None else frequency.season
            if frequency is None:
                rank_zero_warn(
                    f"season=1, for {shown(self.dataset)} has no time_column to know a season by: season says how many"
                    " steps it has, 24 for a day of hours"
                )
        return self._season

    @property
    def scales(self) -> np.ndarray:
        """One unit of error in each series, (S,) float64: what the mean absolute scaled error is scaled by.

        It is the mean of |y_t - y_{t - season}| in the training part. Where that is 0 or has no such pair, it is the
        median of the others, and a warning; of a single series it is an error.
        """
        return self._scaled().scales

    @property
    def units(self) -> np.ndarray:
        """One unit of each series, (S,) float64, for the model: by `scaler`, of the training part."""
        return self._scaled().units

    def _scaled(self) -> SeriesScales:
        if self._scales is None:
            rows = self._load()
            first, stop = self._ranges["train"]
            seen, name = self.context + self.season, shown(self.dataset)
            self._scales = SeriesScales(
                rows.panel, first, stop, self.season, seen, self.scaler, name, rows.resolution, self._trained
            )
        return self._scales

    @property
    def scaling(self) -> dict[str, float]:
        """Of the training part, in the unit of the series; reads it, and can be asked for before `setup`.

        `mean` and `std` of its values; `seasonal_error`: the mean of |y_t - y_{t - season}|, what MASE is scaled by; of
        many series, their median; `unit` likewise, by another `scaler`.

        Raises:
            RnnZooError: one of the two scales of a single series is zero, or the numbers are too large to be told
                apart.
        """
        return self._scaled().scaling()

    @property
    def description(self) -> Description:
        """What a task has to know: scaling, horizon, season and covariates; reads the series, as `scaling`."""
        scaling, panel = self.scaling, self.panel
        more: dict[str, Any] = {}
        calendar = check_calendar(self.calendar)
        sizes = {
            "known_size": panel.known.shape[1] + calendar,
            "past_size": panel.past.shape[1],
            "static_size": panel.static.shape[1],
            "variables": len(self.columns.targets) if self.joint else 0,
        }
        more |= {name: size for name, size in sizes.items() if size}
        if self._covariates:
            more["covariates"] = {name: one.to_json() for name, one in self._covariates.items()}
        same = {name: getattr(self, name) for name in _TO_READ_ALIKE}
        more |= {name: value for name, value in same.items() if value and value != "seasonal"}
        if self.missing != "raise":
            more["missing"] = self.missing
        more |= self._scaled().to_keep()
        return Description(
            source=type(self).__name__,
            scaling=scaling,
            horizon=self.horizon,
            season=self.season,
            context=self.context,
            more=more,
        )

    # ---- windows

    def setup(self, stage: str | None = None) -> None:
        self._load()

    def _read_steps(self, part: str) -> Windows:
        """Every step that has a whole past, or every one of them whose value is missing, one step ahead."""
        panel, past = self.panel, self.context + self.season
        lengths = panel.lengths
        series, first, stop = np.arange(len(panel)), np.minimum(past, lengths), lengths
        if part == "imputation":
            if self.missing != "mask":
                raise RnnZooError(
                    f"predict_split=imputation needs missing=mask: with missing={self.missing} no value is missing"
                )
            at = np.flatnonzero(np.isnan(panel.values))
            series = np.searchsorted(panel.starts, at, side="right") - 1
            place = at - panel.starts[series]
            late = (place >= past) & (place < lengths[series])
            early = int((place < past).sum())
            if early:
                rank_zero_warn(
                    f"{early:,} missing values of {shown(self.dataset)} have fewer than context={self.context} +"
                    f" season={self.season} steps before them: they are left out"
                )
            series, first, stop = series[late], place[late], place[late] + 1
        if not (stop > first).any():
            what = "missing value" if part == "imputation" else "step"
            raise RnnZooError(
                f"{shown(self.dataset)} has no {what} with context={self.context} + season={self.season} steps"
                " before it"
            )
        return self._windows(Origins(series, first, stop), self.horizon, np.ones(len(panel), np.int64))

    def _windows(self, origins: Origins, horizon: int, asked: np.ndarray | None = None) -> Windows:
        units = None if self.scaler == "seasonal" else self.units
        past = self.context + self.season
        return Windows(self.panel, past, horizon, origins, self.scales, self.calendar, self.timezone, asked, units)

    def read(self, part: str, training: bool) -> Windows:
        if part in ONE_STEP:
            return self._read_steps(part)
        panel, past = self.panel, self.context + self.season
        lengths = panel.lengths
        horizon, asked = self.horizon, None
        if part == "future":
            first, stop, stride = lengths, lengths + 1, 1
            if self._coming is not None:
                stop = np.where(panel.ahead > 0, stop, first)
                horizon, asked = int(panel.ahead.max()), panel.ahead
            elif panel.known.shape[1] and self.leave_out < horizon:
                names = ", ".join(self.columns.known)
                raise RnnZooError(
                    f"known={names} must be known of the steps to be forecast: give --data.future a file that has them,"
                    f" the {self.horizon} steps behind the end of each series"
                )
            wanted = stop > first
        elif part == "backtest":
            wanted = np.ones(len(panel), dtype=bool)
            stride = self.backtest_step or horizon
            first = lengths - horizon - stride * (self.backtest_windows - 1)
            stop = lengths - horizon + 1
            if (early := first < past).all():
                k = int(lengths.argmax())
                raise RnnZooError(
                    f"a backtest of {self.backtest_windows} windows by steps of {stride} goes back"
                    f" {lengths[k] - first[k]:,} steps, and needs context={self.context} + season={self.season} before"
                    f" them, but {panel.name(k)} of {shown(self.dataset)} has {lengths[k]:,} values"
                )
            stop = np.where(early, first, stop)
        else:
            first, stop = self._ranges[part]
            wanted = stop > first
            stop, stride = stop - horizon + 1, self.stride if training else self.eval_stride
        begin = np.maximum(first, past)
        long = (stop > begin) & (stop > first)
        if not long.any():
            self._refuse(part, past)
        # for training a part of a series may be too short, the whole of it is worth a word
        short = lengths < past + horizon if training else ~long & wanted
        if short.any():
            where = "" if training else f" for {part}"
            which = int(np.flatnonzero(short)[0])
            rank_zero_warn(
                f"{short.sum():,} of {len(panel):,} series of {shown(self.dataset)} have no window{where},"
                f" {panel.name(which)} the first, of {lengths[which]:,} values: too few for context={self.context} +"
                f" season={self.season} before horizon={self.horizon}"
            )
        return self._windows(Origins(np.arange(len(panel)), begin, stop, stride), horizon, asked)

    def _refuse(self, part: str, past: int) -> None:
        lengths = self.panel.lengths
        if part == "future":
            longest = int(lengths.argmax())
            end = count = int(lengths[longest])
        else:
            first, stop = self._ranges[part]
            longest = int((stop - first).argmax())
            end, count = int(stop[longest]), int(stop[longest] - first[longest])
        of = f" ({self.panel.name(longest)}, the longest)" if len(self.panel.ids) else ""
        raise RnnZooError(
            f"the {part} part of {shown(self.dataset)}{of} ends after {end:,} values and has {count:,}, too "
            f"few for a window: context={self.context} + season={self.season} before horizon={self.horizon} in it"
        )

    # ---- reading

    def _load(self) -> PanelRows:
        if self._rows is None:
            splits = self._splits()
            own = {part: splits[name] for part, name in own_splits(list(splits), shown(self.dataset)).items()}
            learned = self._learned()
            rows = read_panel(own, self.columns, self.dataset, self.missing, learned, joint=self.joint)
            panel = rows.panel
            low, high = extent(panel.values)
            if np.isnan(low):
                raise RnnZooError(f"{shown(self.dataset)} has no values in column {rows.target!r}")
            if low == high:
                raise RnnZooError(f"{shown(self.dataset)} is constant, {low} throughout: there is nothing to forecast")
            counts = rows.counts
            if self.leave_out:
                last = list(counts)[-1]
                counts = {**counts, last: np.maximum(counts[last] - self.leave_out, 0)}
            ranges = ranges_of(
                counts,
                self.split,
                (self.validation_steps, self.test_steps),
                self.split_by,
                self.split_seed,
                shown(self.dataset),
                self.hold_out_test,
            )
            self._ranges = ranges
            self._covariates = self._standardise(rows, *ranges["train"], learned)
            if self.leave_out:
                rows.panel.ahead = np.minimum(rows.panel.ahead + self.leave_out, np.diff(rows.panel.starts))
            if self.future is not None:
                rows.panel, self._coming = self._with_future(rows.panel)
            self._rows = rows
        return self._rows

    _standardise = staticmethod(standardise)

    def _with_future(self, panel: Panel) -> tuple[Panel, np.ndarray]:
        splits, _ = load_splits(
            self.future, bundled="taylor", columns=list(self.columns.named), cache_dir=self.cache_dir
        )
        columns = PanelColumns(None, self.id_column, self.time_column, self.columns.known)
        learned = {name: self._covariates[name] for name in self.columns.known}
        coming = read_panel(splits, columns, self.future, self.missing, learned, without_target=True).panel
        coming = standardised(coming, learned)
        several = self.columns.targets
        return with_future(panel, for_each(coming, several) if len(several) > 1 else coming, self.future)

    def _splits(self) -> "Mapping[str, Dataset]":
        if self._source:
            module, _, function = self._source.partition(":")
            made: Mapping[str, Dataset] = getattr(import_module(module), function)()
            return made
        return load_splits(
            self.dataset,
            self.subset,
            bundled="taylor",
            columns=list(self.columns.named),
            cache_dir=self.cache_dir,
        )[0]

    def _learned(self) -> dict[str, Covariate] | None:
        """The covariates of a checkpoint."""
        if self.checkpoint is not None and self._recalled is None:
            from rnnzoo.data.text_examples import description_of

            self._recall(description_of(self.checkpoint, "checkpoint"))
        return self._recalled
