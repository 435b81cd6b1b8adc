"""What errors in series are scaled by, and what counts as one unit of each for a model."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from rnnzoo.data.panel import Panel
from rnnzoo.data.pieces import ROWS, mean_and_std, rows_within
from rnnzoo.data.scalers import Scaler, unit_of
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError

_MOST = 10_000  # series whose units a description keeps


@dataclass
class TrainedScales:
    """As a model's series were scaled in its training.

    Args:
        scales, units: of series, by id.
        usual_scale, usual_unit: of those that it was not trained on.
    """

    scales: dict[str, float] = field(default_factory=dict)
    units: dict[str, float] = field(default_factory=dict)
    usual_scale: float | None = None
    usual_unit: float | None = None

    @classmethod
    def of(cls, description: Description) -> "TrainedScales":
        """From the description of a training's data."""
        more, scaling = description.more, description.scaling or {}
        usual = scaling.get("seasonal_error")
        return cls(more.get("scales", {}), more.get("units", {}), usual, scaling.get("unit"))


@dataclass
class SeriesScales:
    """The scales of a panel's S series, learned of their training parts alone.

    Args:
        panel: the series.
        first, stop: (S,) of the training part of each.
        season: steps of the difference that "seasonal" takes.
        seen: steps before the first window of a series, which a series without a training part is scaled by.
        scaler: of `units`.
        dataset: its name, for messages.
        resolution: what the largest value differs by from the next that its column can hold.
        trained: by a model, whose scales hold.
    """

    panel: Panel
    first: np.ndarray
    stop: np.ndarray
    season: int
    seen: int
    scaler: Scaler
    dataset: str
    resolution: float
    trained: TrainedScales = field(default_factory=TrainedScales)

    @cached_property
    def scales(self) -> np.ndarray:
        """One unit of error in each series, (S,) float64: what the mean absolute scaled error is scaled by.

        It is the mean of |y_t - y_{t - season}|. Where that is 0 or has no such pair, it is the median of the others,
        and a warning; of a single series it is an error.
        """
        made = self._as_trained(self._by("seasonal"), self.trained.scales, self.trained.usual_scale)
        if not len(self.panel.ids) and not made[0] > 0:
            self._check()
        return self._without_zeros(
            made, f"two values in their training part that lie season={self.season} apart and differ"
        )

    @cached_property
    def units(self) -> np.ndarray:
        """One unit of each series, (S,) float64, for the model; 0 and what cannot be told as in `scales`."""
        if self.scaler == "seasonal":
            return self.scales
        made = self._as_trained(self._by(self.scaler), self.trained.units, self.trained.usual_unit)
        return self._without_zeros(made, f"a unit above 0 by scaler={self.scaler} in their training part")

    def scaling(self) -> dict[str, float]:
        """As `rnnzoo.data.SeriesData.scaling`."""
        other = {} if self.scaler == "seasonal" else {"unit": float(np.median(self.units))}
        if not len(self.panel.ids):
            return self._check() | other
        training = rows_within(self.panel.starts, self.first, self.stop)
        mean, std = mean_and_std(self.panel.values, training)
        return {"mean": mean, "std": std, "seasonal_error": float(np.median(self.scales)), **other}

    def to_keep(self) -> dict[str, Any]:
        """By id, for a description."""
        ids = [str(one) for one in self.panel.ids]
        if not 0 < len(ids) <= _MOST:
            return {}
        made = {"scales": dict(zip(ids, self.scales.tolist(), strict=True))}
        return made if self.scaler == "seasonal" else made | {"units": dict(zip(ids, self.units.tolist(), strict=True))}

    def _by(self, scaler: Scaler) -> np.ndarray:
        """Of each series, of what is known before its first window where it has no training part; 0 for none."""
        untrained = self.stop <= self.first
        first = np.where(untrained, 0, self.first)
        stop = np.where(untrained, np.minimum(self.panel.lengths, self.seen), self.stop)
        lengths, made = np.maximum(stop - first, 0), np.zeros(len(self.panel))
        order = np.argsort(lengths, kind="stable")
        for equal in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
            length = int(lengths[equal[0]])
            at_once = max(ROWS // max(length, 1), 1)  # many short series: a call for each would take minutes
            for k in range(0, len(equal) if length else 0, at_once):
                which = equal[k : k + at_once]
                begin = (self.panel.starts[which] + first[which])[:, None]
                one = slice(int(begin[0, 0]), int(begin[0, 0]) + length)
                values = (
                    self.panel.values[one][None] if len(which) == 1 else self.panel.values[begin + np.arange(length)]
                )
                made[which] = unit_of(torch.from_numpy(values), self.season, scaler)
        return made

    def _as_trained(self, made: np.ndarray, known: dict[str, float], usual: float | None) -> np.ndarray:
        if usual is None:
            return made
        trained = np.array([known.get(str(one), 0.0) for one in self.panel.ids] or [usual])
        return np.where(trained > 0, trained, np.where(made > 0, made, usual))

    def _without_zeros(self, units: np.ndarray, why: str) -> np.ndarray:
        flat = ~(units > 0)
        if not flat.any():
            return units
        if flat.all():
            raise RnnZooError(f"no series of {self.dataset} has a scale: none has {why}")
        which = int(np.flatnonzero(flat)[0])
        rank_zero_warn(
            f"{flat.sum():,} of {len(units):,} series of {self.dataset}, {self.panel.name(which)} the first, do not"
            f" have {why}: they are scaled by the median of the other series' scales"
        )
        return np.where(flat, np.median(units[~flat]), units)

    def _check(self) -> dict[str, float]:
        """The scaling of a single series, where one can be told."""
        first, stop = int(self.first[0]), int(self.stop[0])
        y, name = self.panel.series(0)[first:stop], self.dataset
        if len(y) <= self.season:
            raise RnnZooError(f"season={self.season} is longer than the {len(y):,} values that {name} has for training")
        known = y[~np.isnan(y)]
        with np.errstate(over="ignore", invalid="ignore"):
            seasonal_error = float(self._by("seasonal")[0])
            mean, std = float(known.mean()), float(known.std())
        if known.min() == known.max():
            raise RnnZooError(f"{name} is constant in the training part, {known[0]} throughout: nothing to learn")
        if seasonal_error == 0:
            raise RnnZooError(
                f"the training part of {name} repeats itself exactly after season={self.season} values: "
                "MASE has nothing to compare with; choose another season"
            )
        largest = np.abs(known).max()
        if not np.isfinite([mean, std, seasonal_error]).all():
            raise RnnZooError(f"{name} has values up to {largest:g}, too large to add up: rescale it")
        if self.resolution > 0.01 * seasonal_error:
            raise RnnZooError(
                f"{name} has values up to {largest:g}, which are held to {self.resolution:g} at best: "
                f"too coarse for differences of {seasonal_error:g} from a season before; subtract a constant from it"
            )
        return {"mean": mean, "std": std, "seasonal_error": seasonal_error}
