"""Forecasts of series as quantiles, judged beside the seasonal-naive forecast."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rnnzoo.cells.contract import at_least_one
from rnnzoo.data.panel import Panel
from rnnzoo.data.pieces import pieces
from rnnzoo.data.scalers import Scaler, check_scaler
from rnnzoo.data.series import SeriesData
from rnnzoo.data.windows import Window
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError
from rnnzoo.models.forecast_losses import make_loss
from rnnzoo.models.forecast_model import ForecastModel, Outlook, Transform
from rnnzoo.tasks import suggestions
from rnnzoo.tasks.base import Judged, Task, evaluating
from rnnzoo.tasks.calibration import Calibration
from rnnzoo.tasks.forecast_quantiles import QuantileForecasts
from rnnzoo.tasks.forecast_tables import forecast_columns
from rnnzoo.training.predictions import OF_THE_ORDER, table_columns
from rnnzoo.training.progress import digits


class Forecaster(Task):
    """Forecasts `horizon` steps of series as quantiles.

    Logs, of the steps ahead that are known, ``val_mase``, the mean absolute scaled error of the median (Hyndman &
    Koehler 2006), scaled by the error of repeating the season before in the training part; ``val_mase_naive``, that of
    the seasonal-naive forecast on the same windows; ``val_crps``, twice the mean pinball loss over the quantiles, which
    the continuous ranked probability score is for many of them, in units of the same scale; and of the band between
    the outer quantiles ``val_coverage``, the part of the values that lie in it, and its mean ``val_width`` in the same
    unit. ``test_...`` likewise.

    After each validation the quantiles are calibrated on it (`Calibration`); they are calibrated in testing and
    prediction, and not in validation, which would judge itself.

    Args:
        description: of the data: its scaling, what it has for the next two, and the sizes of covariates.
        horizon: steps to forecast; the data's by default.
        season: steps after which the series resembles itself, 1 for a series without a season; the data's by default.
        level: steps, the last ones, over which the shift from one season before is averaged; 48 by default.
        lags: further ones than `season`, whose naive forecasts the model reads: [24] beside a season of 168 hours, or
            [336] for two weeks before as well. They take from the past: the layers read context + season - the largest.
        quantiles: to forecast, rising, each in (0, 1), 0.5 among them.
        loss: "quantile"; "mse", "mae" or "huber" of a point; or a distribution, "normal", "student_t",
            "normal_mixture", and for counts "poisson" or "negative_binomial".
        decoder: "direct", one head for all steps ahead at once; "recurrent", layers in both directions over them, which
            read the covariates known ahead; by default the latter where there are such covariates, or lags. Or
            "autoregressive", layers that read the value of the step before: quantiles are those of paths that are
            drawn.
        paths: of each window that an autoregressive decoder draws.
        transform: "log": logarithms are forecast, of values above 0.
        window_scaler: what counts as one unit, found anew in the past of every window: "seasonal", "standard",
            "robust", "mean" or "none", as the data's `scaler` has it for each series, which is the default.
        calibrate: whether quantiles are calibrated on the validation part.
        settings: those that all tasks share.

    Raises:
        RnnZooError: an argument out of range, or a cell that cannot be had.
    """

    needs = ("scaling",)
    means = ("mase", "mase_naive", "crps", "coverage", "width")
    older_description, example_config = "scaling", "configs/forecast.yaml"
    prediction_order: ClassVar = (f"series{OF_THE_ORDER}", f"origin{OF_THE_ORDER}", "step")
    calibration: Tensor

    def __init__(
        self,
        description: Description | None = None,
        *,
        horizon: int | None = None,
        season: int | None = None,
        level: int = 48,
        lags: list[int] = [],  # noqa: B006  # never changed; a list is what YAML gives
        quantiles: list[float] = [0.1, 0.5, 0.9],  # noqa: B006  # never changed; a list is what YAML gives
        loss: str = "quantile",
        decoder: Literal["direct", "recurrent", "autoregressive"] | None = None,
        paths: int = 100,
        transform: Transform = "none",
        window_scaler: Scaler | None = None,
        calibrate: bool = True,
        **settings: Any,
    ):
        super().__init__(description, **settings)
        about = self.description
        scaling = about.scaling or {}
        if "seasonal_error" not in scaling:
            raise RnnZooError(
                f"scaling={dict(scaling)} must have the seasonal_error of a series, which rnnzoo.data.SeriesData has"
            )
        quantiles = list(quantiles)
        if 0.5 not in quantiles or sorted(set(quantiles)) != quantiles or not 0 < quantiles[0] <= quantiles[-1] < 1:
            raise RnnZooError(f"quantiles must rise, lie in (0, 1) and have 0.5 among them, not {quantiles}")
        if decoder not in (None, *_DECODERS):
            raise RnnZooError(f"decoder must be one of {', '.join(_DECODERS)}, not {decoder!r}")
        at_least_one("paths", paths)
        if window_scaler is not None:
            check_scaler("window_scaler", window_scaler)
        if transform not in ("none", "log"):
            raise RnnZooError(f"transform must be 'none' or 'log', not {transform!r}")
        self.scale = float(scaling["seasonal_error"])
        self.quantiles, self.median = quantiles, quantiles.index(0.5)
        self.loss = make_loss(loss, quantiles)
        known, past, static = (int(about.more.get(f"{name}_size", 0)) for name in ("known", "past", "static"))
        masked = about.more.get("missing") == "mask"
        horizon, season = self._as_the_data("horizon", horizon), self._as_the_data("season", season)
        lags = self._checked_lags(lags, season)
        encoder = self.settings.rnn(ForecastModel.input_size(known + past, known, static, masked, len(lags)))
        autoregressive = decoder == "autoregressive"
        recurrent = decoder == "recurrent" or (decoder is None and (known > 0 or bool(lags)))
        ahead = replace(self.settings, num_layers=1, bidirectional=not autoregressive, block=None, block_args=None)
        size = ForecastModel.decoder_size(encoder, known, static, autoregressive, len(lags))
        self.model = ForecastModel(
            encoder,
            ahead.rnn(size) if recurrent or autoregressive else None,
            autoregressive=autoregressive,
            horizon=horizon,
            season=season,
            level=level,
            outputs=self.loss.outputs,
            scale=float(scaling.get("unit", self.scale)),
            covariates=known + past,
            known=known,
            variables=int(about.more.get("variables", 0)),
            static=static,
            transform=transform,
            masked=masked,
            lags=lags,
            window_scaler=window_scaler,
            dropout=self.settings.dropout,
        )
        self.quantiles_of = QuantileForecasts(self.model, self.loss, quantiles, paths)
        self.calibrate = calibrate
        self.register_buffer("calibration", torch.zeros(horizon, len(quantiles)))
        self.calibrator = Calibration(quantiles)

    def _checked_lags(self, lags: list[int], season: int) -> list[int]:
        lags, context = list(lags), self.description.context
        for lag in lags:
            if lag < 1 or lags.count(lag) > 1 or lag == season:
                raise RnnZooError(f"lags={lags} must be at least 1, each another, and none of them season={season}")
            if context is not None and lag >= context + season:
                raise RnnZooError(
                    f"lags={lags} must be below context={context} + season={season}, the past that a forecast sees"
                )
        return lags

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

    def forward(self, past: Tensor | Window) -> Tensor:
        """Quantiles (B, horizon, Q), rising, in the series' unit.

        Args:
            past: windows; or the past (B, context + season) alone, in the unit of the series that was trained on.
                Where windows have more steps ahead than the model forecasts at once, it goes on from its own medians.
        """
        window = past if isinstance(past, Window) else self._unanswered(past)
        return self.model.outwards(self._calibrated(*self.quantiles_of(window)))

    def _calibrated(self, raw: Tensor, unit: Tensor) -> Tensor:
        """Quantiles (B, K, Q), rising; for steps beyond the horizon the offsets of its steps are taken again."""
        offsets = self.calibration.to(raw)[torch.arange(raw.shape[1], device=raw.device) % self.model.horizon]
        return (raw + unit[..., None] * offsets).sort(-1).values

    def _unanswered(self, past: Tensor) -> Window:
        """Windows of pasts (B, L) whose futures are not known."""
        future = past.new_full((len(past), self.model.horizon), torch.nan, dtype=torch.float64)
        return Window(past, future, torch.arange(len(past), device=past.device))

    # ---- training and evaluation

    def judge(self, batch: Window, stage: str) -> Judged:
        _check_windows(batch)
        out, count = self.model(batch), _known(batch.future)
        loss = self._loss(out, batch.future)
        if stage == "train":
            return Judged(loss, count)
        future, scale = batch.future, self._scale(batch)
        naive = self.model.seasonal_naive(batch.past)
        raw, unit = self.quantiles_of(batch, out)
        if stage == "val" and self.calibrate:
            self.calibrator.update((self.model.inwards(future)[..., None] - raw) / unit[..., None])
        if stage == "test":
            raw = self._calibrated(raw, unit)
        forecast = self.model.outwards(raw)
        low, high = forecast[..., 0], forecast[..., -1]
        q = forecast.new_tensor(self.quantiles)
        errors = future[..., None] - forecast
        figures = {
            "mase": (future - forecast[..., self.median]).abs() / scale,
            "mase_naive": (future - naive).abs() / scale,
            "crps": 2 * torch.maximum(q * errors, (q - 1) * errors).mean(-1) / scale,
            "coverage": ((future >= low) & (future <= high)).to(future.dtype),
            "width": (high - low) / scale,
        }
        means: dict[str, Any] = {name: _mean_of_known(figure, future) for name, figure in figures.items()}
        seen = ~(future.isnan() | naive.isnan())
        means["mase_naive"] = torch.where(seen, figures["mase_naive"], 0.0).sum() / seen.sum().clamp(min=1), seen.sum()
        return Judged(loss, count, means)

    def _loss(self, out: Outlook, future: Tensor) -> Tensor:
        """The mean loss over the steps ahead that are known; 0 for none.

        Raises:
            RnnZooError: the model forecasts another number of steps than the windows have.
        """
        if out.base.shape[1] != future.shape[1]:
            raise RnnZooError(
                f"model.horizon is {out.base.shape[1]}, but the windows of the data have horizon={future.shape[1]}:"
                " give both the same"
            )
        known = ~future.isnan()
        y = self.model.inwards(future)
        # not NaN: where it is left out of the sum, the gradient would still be one
        each = self.loss.loss(out, torch.where(known, y, out.base.detach().round()))
        return torch.where(known, each, 0.0).sum() / known.sum().clamp(min=1)

    def _scale(self, batch: Window) -> Tensor:
        """One unit of error of each window, (B, 1)."""
        if batch.scale is None:
            return batch.past.new_full((len(batch.past), 1), self.scale)
        return batch.scale[:, None]

    def on_fit_start(self) -> None:
        """Refuses a series of what is no count, where the loss is for counts, also where no window forecasts it."""
        panel = getattr(getattr(self.trainer, "datamodule", None), "panel", None)
        if self.loss.counts and panel is not None:
            check_counts(panel)

    def on_validation_epoch_start(self) -> None:
        self.calibrator.reset()

    def on_validation_epoch_end(self) -> None:
        """Calibrates the quantiles on what was seen."""
        if self.calibrate and self.calibrator.update_called and not self.trainer.sanity_checking:
            self.calibration.copy_(self.calibrator.compute())
            self.calibrator.reset()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.setdefault(f"{prefix}calibration", torch.zeros_like(self.calibration))  # of an earlier version
        super()._load_from_state_dict(state_dict, prefix, *args)

    # ---- predictions

    def predict_step(self, batch: Window, index: int) -> dict[str, Tensor]:
        """Of every step ahead that is asked for, a column each: its window's series and origin, the step (1 the first),
        its time and the last one that was known where there are times, what came, and the quantiles.
        """
        _check_windows(batch)
        forecast = self(batch)
        count, steps = forecast.shape[:2]
        step = torch.arange(1, steps + 1, device=self.device).expand(count, -1)
        asked = torch.ones_like(step, dtype=torch.bool) if batch.asked is None else step <= batch.asked[:, None]
        series = torch.zeros_like(batch.origin) if batch.series is None else batch.series
        of_window = {f"series{OF_THE_ORDER}": series, f"origin{OF_THE_ORDER}": batch.origin}
        of_step = {"step": step, "y": batch.future}
        if batch.time is not None and batch.cutoff is not None:
            of_window["cutoff"] = batch.cutoff
            of_step["time"] = batch.time
        columns = {name: column[:, None].expand(-1, steps)[asked] for name, column in of_window.items()}
        columns |= {name: column[asked] for name, column in of_step.items()}
        return columns | {f"q{q:g}": forecast[..., k][asked] for k, q in enumerate(self.quantiles)}

    def describe_predictions(self, columns: dict[str, Any]) -> dict[str, Any]:
        """As `forecast_columns`."""
        data = None if self._trainer is None else getattr(self.trainer, "datamodule", None)
        return forecast_columns(columns, data, self.description, self.quantiles)

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
        season, reach = self.model.season, self.model.reach
        if values.ndim != 2 or values.shape[1] <= reach:
            name = "season" if reach == season else "lag"
            raise RnnZooError(
                f"a series of {values.shape[-1]:,} values is too short: a forecast needs {name}={reach} and one more"
            )
        values = values[:, -(season + (self.description.context or values.shape[1])) :]
        if not np.isfinite(values).all():
            raise RnnZooError("the end of the series has values that are missing or infinite")
        return self._unanswered(torch.from_numpy(np.ascontiguousarray(values)))

    def predict(self, inputs: Any, future: Any = None) -> pd.DataFrame:
        """The forecast behind the end of series, in their units: a row a step ahead, a column for each quantile.

        Args:
            inputs: a frame in the columns of the training, a row for each step of a series; or as `batch_of`.
            future: with such a frame, another one with the covariates known ahead.

        Returns:
            The id and the time by the names of the training, "step" (1 the first) and "q0.1", ...; of plain numbers
            "step", and of several series "series" (its number) before it.

        Raises:
            RnnZooError: as `batch_of`, or `rnnzoo.data.SeriesData`.
        """
        if self._is_long(inputs):
            return self.table_of(SeriesData.alike(self.description, inputs, predict_split="future", future=future))
        if future is not None:
            raise RnnZooError(
                "future goes with a frame in the columns of the training, a row for each step of a series"
            )
        made = super().predict(inputs)
        made = made.rename(columns={"origin": "series"}).drop(columns=[n for n in made if n.endswith(OF_THE_ORDER)])
        return made if made["series"].nunique() > 1 else made.drop(columns="series")

    def backtest(self, inputs: Any, windows: int = 1, step: int | None = None) -> pd.DataFrame:
        """Forecasts of the last windows of series, from rolling origins, beside what came.

        Args:
            inputs: a frame in the columns of the training, a row for each step of a series.
            windows: of each series.
            step: from one origin to the next; by default the horizon.

        Returns:
            As `predict`, with "cutoff", the last time that was known, or "origin" without times, and "y", what came.

        Raises:
            RnnZooError: as `rnnzoo.data.SeriesData`; windows that go further back than the series.
        """
        settings = {"predict_split": "backtest", "backtest_windows": windows, "backtest_step": step}
        return self.table_of(SeriesData.alike(self.description, inputs, **settings))

    def anomalies(self, inputs: Any) -> pd.DataFrame:
        """How far every step of series lies from the forecast of the step before it.

        Args:
            inputs: a frame in the columns of the training, a row for each step of a series.

        Returns:
            As `backtest`, without a cutoff, and "score": 0 at the median, 1 at the outer quantile on the value's side.
            A fault has an echo a season later, whose forecast begins with it.
        """
        return self.table_of(SeriesData.alike(self.description, inputs, predict_split="anomaly"))

    def impute(self, inputs: Any) -> pd.DataFrame:
        """What is missing in series, each step as the forecast from what lies before it.

        Args:
            inputs: a frame in the columns of the training, whose values are NaN, or whose rows are not there.

        Returns:
            As `predict`, a row for each step whose value is missing.
        """
        return self.table_of(SeriesData.alike(self.description, inputs, predict_split="imputation"))

    def _is_long(self, inputs: Any) -> bool:
        names = list(getattr(inputs, "columns", ()))
        columns = [self.description.more.get(f"{name}_column") for name in ("id", "time")]
        return any(column is not None for column in columns) and all(c in names for c in columns if c is not None)

    def table_of(self, data: SeriesData) -> pd.DataFrame:
        """The predictions for `predict_split` of data, as a frame."""
        frames, name = [], type(self).__name__
        with evaluating(self):
            for batch in data.predict_dataloader():
                columns = self.predict_step(batch.to(self.device), 0)
                frames.append(
                    pd.DataFrame(forecast_columns(table_columns(columns, name), data, self.description, self.quantiles))
                )
        made = pd.concat(frames, ignore_index=True)
        return made.drop(columns=[name for name in made if name.endswith(OF_THE_ORDER)])

    def reached(self, metrics: Mapping[str, float]) -> list[str]:
        lines = [
            f"held-out MASE: {digits(metrics['test_mase'])}",
            f"the seasonal-naive forecast's: {digits(metrics['test_mase_naive'])}"
            " (1 is the error of repeating the season before, in the training part)",
            f"held-out CRPS: {digits(metrics['test_crps'])}",
        ]
        if len(self.quantiles) > 1:
            band = f"of the {self.quantiles[-1] - self.quantiles[0]:.0%} band"
            lines.append(f"held-out coverage {band}: {digits(metrics['test_coverage'])}")
            lines.append(f"held-out width {band}: {digits(metrics['test_width'])}")
        return lines

    def suggest(self, data: Any, checkpoint: str) -> list[str]:
        if self.description.more.get("known"):  # the future needs a file, which a command can not be printed for
            return [f"rnnzoo backtest --ckpt_path {shlex.quote(checkpoint)} --windows 3"]
        return [suggestions.predict(checkpoint, "--data.predict_split future")]


_DECODERS = ("direct", "recurrent", "autoregressive")


def check_counts(panel: Panel) -> None:
    """Raises RnnZooError for the first value of a panel that is no count."""
    for rows in pieces(len(panel.values)):
        values = panel.values[rows]
        wrong = np.flatnonzero((values < 0) | ((values != values.round()) & ~np.isnan(values)))
        if len(wrong):
            place = rows.start + int(wrong[0])
            k = int(np.searchsorted(panel.starts, place, side="right")) - 1
            raise RnnZooError(
                f"loss='poisson' and 'negative_binomial' are for counts, 0, 1, 2 and so on, but step"
                f" {place - panel.starts[k]:,} of {panel.name(k)} (the first is step 0) is {panel.values[place]:g}"
            )


def _check_windows(batch: Any) -> None:
    if not isinstance(batch, Window):
        raise RnnZooError(
            f"a Forecaster takes windows of a series, such as rnnzoo.data.SeriesData gives, not {type(batch).__name__}"
        )


def _mean_of_known(errors: Tensor, future: Tensor) -> Tensor:
    """The mean of errors (B, K) over the steps that are known; a forecast of NaN is no step unknown."""
    return torch.where(~future.isnan(), errors, 0.0).sum() / _known(future).clamp(min=1)


def _known(future: Tensor) -> Tensor:
    """How many steps ahead are known."""
    return (~future.isnan()).sum()
