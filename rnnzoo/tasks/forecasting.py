"""Forecasts of a series as quantiles, judged beside the seasonal-naive forecast."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rnnzoo.data.windows import Window
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError
from rnnzoo.models.forecast_model import ForecastModel
from rnnzoo.tasks import suggestions
from rnnzoo.tasks.base import Judged, Task
from rnnzoo.training.progress import digits


class Forecaster(Task):
    """Forecasts `horizon` steps of a series as quantiles, by the pinball loss (Koenker & Bassett 1978).

    Logs the mean absolute scaled error of the median (``val_mase``, ``test_mase``; Hyndman & Koehler 2006), scaled by
    the error in the training part of repeating the season before, and that of the seasonal-naive forecast on the
    same windows (``..._mase_naive``).

    Args:
        description: of the data: its scaling, and what it has for the next two.
        horizon: steps to forecast; the data's by default.
        season: steps after which the series resembles itself, 1 for a series without a season; the data's by default.
        level: steps, the last ones, over which the shift from one season before is averaged.
        quantiles: to forecast, rising, each in (0, 1), 0.5 among them.
        settings: those that all tasks share.

    Raises:
        RnnZooError: an argument out of range, or a cell that cannot be had.
    """

    needs = ("scaling",)
    means = ("mase", "mase_naive")
    older_description, example_config = "scaling", "configs/forecast.yaml"
    prediction_order: ClassVar = ("origin", "step")

    def __init__(
        self,
        description: Description | None = None,
        *,
        horizon: int | None = None,
        season: int | None = None,
        level: int = 48,
        quantiles: list[float] = [0.1, 0.5, 0.9],  # noqa: B006  # never changed; a list is what YAML gives
        **settings: Any,
    ):
        super().__init__(description, **settings)
        scaling = self.description.scaling or {}
        if "seasonal_error" not in scaling:
            raise RnnZooError(
                f"scaling={dict(scaling)} must have the seasonal_error of a series, which rnnzoo.data.SeriesData has"
            )
        quantiles = list(quantiles)
        if 0.5 not in quantiles or sorted(set(quantiles)) != quantiles or not 0 < quantiles[0] <= quantiles[-1] < 1:
            raise RnnZooError(f"quantiles must rise, lie in (0, 1) and have 0.5 among them, not {quantiles}")
        self.scale = float(scaling["seasonal_error"])
        self.model = ForecastModel(
            self.settings.rnn(1),
            horizon=self._as_the_data("horizon", horizon),
            season=self._as_the_data("season", season),
            level=level,
            quantiles=quantiles,
            scale=self.scale,
            dropout=self.settings.dropout,
        )
        self.quantiles = quantiles
        self.median = quantiles.index(0.5)

    def _as_the_data(self, name: str, given: int | None) -> int:
        its: int | None = getattr(self.description, name)
        if given is None and its is None:
            raise RnnZooError(f"{name} is not given, and {self.description.source or 'the description'} has none")
        if given is not None and its is not None and given != its:
            raise RnnZooError(
                f"model.{name} is {given} but data.{name} is {its}: they must be the same; give --data.{name} alone"
            )
        value = its if given is None else given
        assert value is not None
        return value

    def forward(self, past: Tensor) -> Tensor:
        """Quantiles (B, horizon, Q), rising, from the series' `past` (B, context + season), in the series' unit."""
        return self.model(past).sort(-1).values

    def predict_step(self, batch: Window, index: int) -> dict[str, Tensor]:
        """Of every step ahead: the window's origin, the step (1 the first), and a column for each quantile."""
        _check_windows(batch)
        forecast = self(batch.past)
        step = torch.arange(1, forecast.shape[1] + 1, device=self.device)
        columns = {"origin": batch.origin.repeat_interleave(len(step)), "step": step.repeat(len(batch.origin))}
        return columns | {f"q{q:g}": forecast[..., k].flatten() for k, q in enumerate(self.quantiles)}

    def batch_of(self, inputs: Any) -> Window:
        """The end of a series (N,), or of several (B, N), as windows whose future is not known.

        Args:
            inputs: an array, a list, a pandas or polars Series, or a frame with a column for each series; the last
                context and season of it are read, or what there is of them: a season and one value at least.

        Raises:
            RnnZooError: too short, or values that are no numbers or missing.
        """
        values = inputs.to_numpy() if hasattr(inputs, "to_numpy") else np.asarray(inputs)
        if hasattr(inputs, "columns"):
            values = values.T
        try:
            values = np.atleast_2d(values.astype(np.float64))
        except (TypeError, ValueError) as error:
            raise RnnZooError(f"a series must be of numbers: {error}") from error
        season = self.model.season
        if values.ndim != 2 or values.shape[1] <= season:
            raise RnnZooError(
                f"a series of {values.shape[-1]:,} values is too short: a forecast needs season={season} and one more"
            )
        values = values[:, -(season + (self.description.context or values.shape[1])) :]
        if not np.isfinite(values).all():
            raise RnnZooError("the end of the series has values that are missing or infinite")
        future = torch.full((len(values), self.model.horizon), torch.nan, dtype=torch.float64)
        return Window(torch.from_numpy(np.ascontiguousarray(values)), future, torch.arange(len(values)))

    def predict(self, inputs: Any) -> pd.DataFrame:
        """The forecast behind the end of a series, in its unit: a row a step ahead, a column for each quantile.

        Args:
            inputs: as `batch_of`.

        Returns:
            Columns "step" (1 the first) and "q0.1", ...; of several series "series" (its number) before them.

        Raises:
            RnnZooError: as `batch_of`.
        """
        made = super().predict(inputs).rename(columns={"origin": "series"})
        return made if made["series"].nunique() > 1 else made.drop(columns="series")

    def _pinball(self, forecast: Tensor, future: Tensor) -> Tensor:
        """The mean pinball loss, in units of the seasonal error, over the steps ahead that are known; 0 for none.

        Raises:
            RnnZooError: the model forecasts another number of steps than the windows have.
        """
        if forecast.shape[1] != future.shape[1]:
            raise RnnZooError(
                f"model.horizon is {forecast.shape[1]}, but the windows of the data have horizon={future.shape[1]}:"
                " give both the same"
            )
        error = (future[..., None] - forecast) / self.scale
        q = error.new_tensor(self.quantiles)  # no buffer: that would be rounded with the weights
        loss = torch.maximum(q * error, (q - 1) * error)
        return _mean_of_known(loss, future)

    def judge(self, batch: Window, stage: str) -> Judged:
        _check_windows(batch)
        forecast, known = self.model(batch.past), _known(batch.future)
        if stage == "train":
            return Judged(self._pinball(forecast, batch.future), known)
        forecast = forecast.sort(-1).values
        points = {"mase": forecast[..., self.median], "mase_naive": self.model.seasonal_naive(batch.past)}
        errors = {
            name: _mean_of_known((batch.future - point).abs(), batch.future) / self.scale
            for name, point in points.items()
        }
        return Judged(self._pinball(forecast, batch.future), known, errors)

    def reached(self, metrics: Mapping[str, float]) -> list[str]:
        return [
            f"held-out MASE: {digits(metrics['test_mase'])}",
            f"the seasonal-naive forecast's: {digits(metrics['test_mase_naive'])}"
            " (1 is the error of repeating the season before, in the training part)",
        ]

    def suggest(self, data: Any, checkpoint: str) -> list[str]:
        return [suggestions.predict(checkpoint, "--data.predict_split future")]


def _check_windows(batch: Any) -> None:
    if not isinstance(batch, Window):
        raise RnnZooError(
            f"a Forecaster takes windows of a series, such as rnnzoo.data.SeriesData gives, not {type(batch).__name__}"
        )


def _mean_of_known(errors: Tensor, future: Tensor) -> Tensor:
    """The mean of errors (B, horizon, ...) over the steps that are known; a forecast of NaN is no step unknown."""
    known = ~future.isnan().view(*future.shape, *[1] * (errors.dim() - future.dim()))
    count = _known(future) * (errors.numel() // max(future.numel(), 1))
    return torch.where(known, errors, 0.0).sum() / count.clamp(min=1)


def _known(future: Tensor) -> Tensor:
    """How many steps ahead are known."""
    return (~future.isnan()).sum()
