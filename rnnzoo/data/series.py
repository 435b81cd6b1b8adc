"""Univariate time series for forecasters."""

from typing import Literal

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from rnnzoo.data.base import ExampleData
from rnnzoo.data.effects import warn_without_effect
from rnnzoo.data.sources import load_splits
from rnnzoo.data.splits import check_fractions, check_parts, cut, own_splits
from rnnzoo.data.values import check_times, choose_column, read_values, resolution
from rnnzoo.data.windows import Windows
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError


class SeriesData(ExampleData):
    """One series in windows of `context` + `season` values of the past and `horizon` values of the future, unscaled.

    The series is split by time. The futures of a part lie wholly in it; their pasts may reach back into the parts
    before, which is known by then. `scaling` is of the training part alone.

    A data set's own splits train, validation (or valid, val, dev) and test are used as they are, in this order of
    time. One that is missing is the end of the one before it.

    Args:
        dataset: "taylor", the half-hourly electricity demand of rnnzoo[demo]; or a CSV, Parquet, JSON or Arrow file, a
            folder of such files, a folder that `save_to_disk` wrote, or a name on the HuggingFace hub.
        subset: the configuration, for a data set on the hub that has several.
        column: the column with the values; may be left out where only one holds numbers.
        time_column: a column of dates or numbers that must increase from row to row; it is only checked. Steps that are
            missing are a warning.
        horizon: values to forecast.
        context: values of the past that a forecast sees, besides a season before them.
        season: values in a period of the series, a week for example.
        split: fractions of the series for training, validation and test, in this order.
        stride: from one training window to the next.
        eval_stride: from one window of validation, test or prediction to the next.
        batch_size: windows in a batch, over all processes.
        num_workers: processes that load data, for each loader.
        predict_split: what `predict` reads; "future" is the one window at the end of the series, whose future is NaN.
        cache_dir: folder for what `datasets` prepares; by default its own.

    Raises:
        RnnZooError: for whatever is wrong with an argument or the series, where it is first used.
    """

    provides, named = ("scaling", "horizon", "season", "context"), "windows"

    def __init__(
        self,
        dataset: str = "taylor",
        subset: str | None = None,
        column: str | None = None,
        time_column: str | None = None,
        horizon: int = 48,
        context: int = 336,
        season: int = 336,
        split: tuple[float, float, float] = (0.7, 0.11, 0.19),
        stride: int = 1,
        eval_stride: int = 1,
        batch_size: int = 32,
        num_workers: int = 0,
        predict_split: Literal["train", "validation", "test", "future"] = "test",
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        self.dataset, self.subset, self.column, self.time_column = dataset, subset, column, time_column
        self.horizon, self.context, self.season, self.split = horizon, context, season, check_fractions(split)
        self.stride, self.eval_stride, self.batch_size = stride, eval_stride, batch_size
        self.num_workers, self.predict_split, self.cache_dir = num_workers, predict_split, cache_dir
        self.check_at_least(horizon=1, context=1, season=1, stride=1, eval_stride=1, batch_size=1, num_workers=0)
        self.check_predict_split("future")
        self._loaded: tuple[np.ndarray, dict[str, range]] | None = None
        self._resolution = 0.0  # what the largest value differs by from the next that its column can hold

    @property
    def series(self) -> np.ndarray:
        """All values in the order of time, (N,) float64."""
        return self._load()[0]

    @property
    def parts(self) -> dict[str, range]:
        """Where training, validation and test lie in the series."""
        return self._load()[1]

    @property
    def scaling(self) -> dict[str, float]:
        """Of the training part, in the unit of the series; reads it, and can be asked for before `setup`.

        `mean` and `std` of its values; `seasonal_error`: the mean of |y_t - y_{t - season}|, what MASE is scaled by.

        Raises:
            RnnZooError: one of the two scales is zero, or the numbers are too large to be told apart.
        """
        part = self.parts["train"]
        y = self.series[part.start : part.stop]
        if len(y) <= self.season:
            raise RnnZooError(
                f"season={self.season} is longer than the {len(y):,} values that {self.dataset!r} has for training"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            seasonal_error = float(np.abs(y[self.season :] - y[: -self.season]).mean())
            mean, std = float(y.mean()), float(y.std())
        if y.min() == y.max():
            raise RnnZooError(f"{self.dataset!r} is constant in the training part, {y[0]} throughout: nothing to learn")
        if seasonal_error == 0:
            raise RnnZooError(
                f"the training part of {self.dataset!r} repeats itself exactly after season={self.season} values: "
                "MASE has nothing to compare with; choose another season"
            )
        largest = np.abs(y).max()
        if not np.isfinite([mean, std, seasonal_error]).all():
            raise RnnZooError(f"{self.dataset!r} has values up to {largest:g}, too large to add up: rescale it")
        if self._resolution > 0.01 * seasonal_error:
            raise RnnZooError(
                f"{self.dataset!r} has values up to {largest:g}, which are held to {self._resolution:g} at best: "
                f"too coarse for differences of {seasonal_error:g} from a season before; subtract a constant from it"
            )
        return {"mean": mean, "std": std, "seasonal_error": seasonal_error}

    @property
    def description(self) -> Description:
        """What a task has to know: scaling, horizon and season; reads the series, as `scaling`."""
        return Description(
            source=type(self).__name__,
            scaling=self.scaling,
            horizon=self.horizon,
            season=self.season,
            context=self.context,
        )

    def setup(self, stage: str | None = None) -> None:
        self._load()

    def read(self, part: str, training: bool) -> Windows:
        return self._windows(part, self.stride if training else self.eval_stride)

    def _windows(self, part: str, stride: int) -> Windows:
        y, parts = self._load()
        past = self.context + self.season
        if part == "future":
            where, origins = range(len(y)), range(len(y), len(y) + 1)
        else:
            where = parts[part]
            origins = range(max(where.start, past), where.stop - self.horizon + 1, stride)
        if not origins or past > len(y):
            raise RnnZooError(
                f"the {part} part of {self.dataset!r} ends after {where.stop:,} values and has {len(where):,}, too "
                f"few for a window: context={self.context} + season={self.season} before horizon={self.horizon} in it"
            )
        return Windows(y, past, self.horizon, origins)

    def _load(self) -> tuple[np.ndarray, dict[str, range]]:
        if self._loaded is None:
            values = self._values()
            y = np.concatenate(list(values.values()))
            if not len(y):
                raise RnnZooError(f"dataset={self.dataset!r} has no rows")
            if y.min() == y.max():
                raise RnnZooError(f"{self.dataset!r} is constant, {y[0]} throughout: there is nothing to forecast")
            parts = cut({part: len(v) for part, v in values.items()}, self.split)
            check_parts(parts, self.dataset, "values")
            self._loaded = y, parts
        return self._loaded

    def _values(self) -> dict[str, np.ndarray]:
        """For each part that the data set has a split for, the values of that split."""
        if self.dataset == "taylor":
            names = ("subset", "column", "time_column", "cache_dir")
            warn_without_effect(self, names, "dataset='taylor' is one series of a package")
            return {"train": _taylor()}
        splits, _ = load_splits(
            self.dataset,
            self.subset,
            bundled="taylor",
            columns=(self.column, *([] if self.time_column is None else [self.time_column])),
            cache_dir=self.cache_dir,
        )
        own = {part: splits[name] for part, name in own_splits(list(splits), self.dataset).items()}
        column = choose_column(own["train"].features, self.column, self.time_column, self.dataset)
        if self.time_column is not None:
            from datasets import concatenate_datasets

            check_times(concatenate_datasets(list(own.values())), self.time_column, self.dataset, rank_zero_warn)
        values = {part: read_values(rows, column, self.dataset) for part, rows in own.items()}
        self._resolution = max(resolution(own[part], column, values[part]) for part in own)
        return values


def _taylor() -> np.ndarray:
    try:
        from pmdarima.datasets import load_taylor
    except ImportError as error:
        raise RnnZooError("dataset='taylor' comes with a package: pip install 'rnnzoo[demo]'") from error
    return np.asarray(load_taylor(), dtype=np.float64)
