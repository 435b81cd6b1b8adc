"""What errors in series are scaled by, and what counts as one unit of each for a model."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from rnnzoo.data.panel import Panel
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
        inside = np.concatenate(
            [
                self.panel.values[start + a : start + b]
                for start, a, b in zip(self.panel.starts, self.first, self.stop, strict=False)
            ]
        )
        inside = inside[~np.isnan(inside)]
        error = float(np.median(self.scales))
        return {"mean": float(inside.mean()), "std": float(inside.std()), "seasonal_error": error, **other}

    def to_keep(self) -> dict[str, Any]:
        """By id, for a description."""
        ids = [str(one) for one in self.panel.ids]
        if not 0 < len(ids) <= _MOST:
            return {}
        made = {"scales": dict(zip(ids, self.scales.tolist(), strict=True))}
        return made if self.scaler == "seasonal" else made | {"units": dict(zip(ids, self.units.tolist(), strict=True))}

    def _by(self, scaler: Scaler) -> np.ndarray:
        return np.array([self._unit(k, scaler) for k in range(len(self.panel))])

    def _unit(self, k: int, scaler: Scaler) -> float:
        """Of series k, of what is known before its first window where it has no training part; 0 for none."""
        first, stop, begin = int(self.first[k]), int(self.stop[k]), self.panel.starts[k]
        if stop <= first:
            first, stop = 0, min(int(self.panel.lengths[k]), self.seen)
        if stop <= first:
            return 0.0
        values = self.panel.values[begin + first : begin + stop]
        return float(unit_of(torch.from_numpy(values)[None], self.season, scaler))

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
            seasonal_error = self._unit(0, "seasonal")
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
