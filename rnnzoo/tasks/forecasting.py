"""Forecasts of a series as quantiles, judged beside the seasonal-naive forecast."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from rnnzoo.data.windows import Window
from rnnzoo.errors import RnnZooError
from rnnzoo.models.forecast_model import ForecastModel
from rnnzoo.rnn import RNN
from rnnzoo.tasks import suggestions
from rnnzoo.tasks.base import Schedule, Task, cell_and_constants, rnn_options
from rnnzoo.tasks.means import ExactMean
from rnnzoo.training.progress import digits


class Forecaster(Task):
    """Forecasts `horizon` steps of a series as quantiles, by the pinball loss (Koenker & Bassett 1978).

    Logs the mean absolute scaled error of the median (``val_mase``, ``test_mase``; Hyndman & Koehler 2006), scaled by
    the error in the training part of repeating the season before, and that of the seasonal-naive forecast on the
    same windows (``..._mase_naive``).

    Args:
        scaling: of the training part, in the series' unit: "mean", "std", and "seasonal_error", the mean absolute
            difference from one season before; from the data on the command line.
        cell: a cell's registered name or import path.
        cell_args: the cell's own arguments.
        rnn_args: further arguments of the RNN: "transforms" by name, {"Zoneout": {"p": 0.1}}, "connect" and "dilation".
        hidden_size: features of the hidden state.
        num_layers: cells on top of each other.
        dropout: between layers and before the head; in [0, 1).
        kernel: what runs the RNN: "auto" or a kernel's name.
        horizon: steps to forecast.
        season: steps after which the series resembles itself; 1 for a series without a season.
        level: steps, the last ones, over which the shift from one season before is averaged.
        quantiles: to forecast, rising, each in (0, 1), 0.5 among them.
        learning_rate: the highest of the schedule.
        weight_decay: AdamW's.
        schedule: of the learning rate over the whole run.

    Raises:
        RnnZooError: an argument out of range, or a cell that cannot be had.
    """

    prediction_order: ClassVar = ("origin", "step")

    def __init__(
        self,
        scaling: dict[str, float],
        cell: str = "gru",
        cell_args: dict[str, Any] | None = None,
        rnn_args: dict[str, Any] | None = None,
        hidden_size: int = 64,
        num_layers: int = 1,
        dropout: float = 0.0,
        kernel: str = "auto",
        horizon: int = 48,
        season: int = 336,
        level: int = 48,
        quantiles: list[float] = [0.1, 0.5, 0.9],  # noqa: B006  # never changed; a list is what YAML gives
        learning_rate: float = 2e-3,
        weight_decay: float = 0.01,
        schedule: Schedule = "one_cycle",
    ):
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, schedule=schedule)
        if not scaling or "seasonal_error" not in scaling:
            raise RnnZooError(
                f"scaling={scaling} must have the seasonal_error of a series, which rnnzoo.data.SeriesData has: a "
                "Forecaster takes no other data"
            )
        quantiles = list(quantiles)
        if 0.5 not in quantiles or sorted(set(quantiles)) != quantiles or not 0 < quantiles[0] <= quantiles[-1] < 1:
            raise RnnZooError(f"quantiles must rise, lie in (0, 1) and have 0.5 among them, not {quantiles}")
        cell, constants = cell_and_constants(cell, cell_args)
        self.save_hyperparameters()
        self.scale = float(scaling["seasonal_error"])
        self.model = ForecastModel(
            cell,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
            kernel=kernel,
            horizon=horizon,
            season=season,
            level=level,
            quantiles=quantiles,
            scale=self.scale,
            **constants,
            **rnn_options(rnn_args),
        )
        self.quantiles = quantiles
        self.median = quantiles.index(0.5)
        names = [f"{stage}_{name}" for stage in ("val", "test") for name in ("mase", "mase_naive")]
        self.errors = MetricCollection({name: ExactMean() for name in names}, compute_groups=False)

    @property
    def rnn(self) -> RNN:
        return self.model.rnn

    def forward(self, past: Tensor) -> Tensor:
        """Quantiles (B, horizon, Q), rising, from the series' `past` (B, context + season), in the series' unit."""
        return self.model(past).sort(-1).values

    def training_step(self, batch: Window, index: int) -> Tensor:
        _check_windows(batch)
        loss = self._pinball(self.model(batch.past), batch.future)
        return self.train_loss(loss, _known(batch.future))

    def predict_step(self, batch: Window, index: int) -> dict[str, Tensor]:
        """Of every step ahead: the window's origin, the step (1 the first), and a column for each quantile."""
        _check_windows(batch)
        forecast = self(batch.past)
        step = torch.arange(1, forecast.shape[1] + 1, device=self.device)
        columns = {"origin": batch.origin.repeat_interleave(len(step)), "step": step.repeat(len(batch.origin))}
        return columns | {f"q{q:g}": forecast[..., k].flatten() for k, q in enumerate(self.quantiles)}

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

    def evaluate(self, batch: Window, stage: str) -> None:
        _check_windows(batch)
        forecast, known = self(batch.past), _known(batch.future)
        self.log_eval(stage, self._pinball(forecast, batch.future), known)
        naive = self.model.seasonal_naive(batch.past)
        for name, point in ((f"{stage}_mase", forecast[..., self.median]), (f"{stage}_mase_naive", naive)):
            self.errors[name].update(_mean_of_known((batch.future - point).abs(), batch.future) / self.scale, known)
            self.log(name, self.errors[name], prog_bar=stage == "val", on_epoch=True)

    def closing_lines(self, metrics: dict[str, float], data: Any, checkpoint: str) -> list[str]:
        return [
            f"held-out MASE: {digits(metrics['test_mase'])};"
            f" the seasonal-naive forecast's: {digits(metrics['test_mase_naive'])}"
            " (1 is the error of repeating the season before, in the training part)",
            f"checkpoint: {checkpoint}",
            "",
            "Try next:",
            f"  {suggestions.predict(checkpoint, '--data.predict_split future')}",
            f"  {suggestions.more(self.trainer, checkpoint)}",
            f"  {suggestions.another_cell('configs/forecast.yaml', checkpoint, data, self.hparams)}",
        ]


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
