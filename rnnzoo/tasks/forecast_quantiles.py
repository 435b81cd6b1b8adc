"""From what a forecasting model says to quantiles of every step ahead, however many there are."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnzoo.data.windows import Window
from rnnzoo.models.forecast_losses import ForecastLoss
from rnnzoo.models.forecast_model import ForecastModel, Outlook


class QuantileForecasts:
    """The quantiles of a model, in the units that it thinks in.

    Where windows have more steps ahead than the model forecasts at once, it goes on from its own medians; with an
    autoregressive decoder from each of the paths that it drew, whose quantiles are the forecast.

    Args:
        model: that forecasts.
        loss: that says what its numbers mean.
        quantiles: rising, with 0.5 among them.
        paths: of each window that are drawn.
    """

    def __init__(self, model: ForecastModel, loss: ForecastLoss, quantiles: Sequence[float], paths: int) -> None:
        self.model, self.loss, self.quantiles, self.paths = model, loss, list(quantiles), paths

    def __call__(self, window: Window, out: Outlook | None = None) -> tuple[Tensor, Tensor]:
        """Quantiles (B, K, Q), rising, and one unit of each window (B, 1).

        Args:
            window: whose future is not looked at.
            out: what the model says of it, where that is known already.
        """
        if self.model.autoregressive:
            return self._drawn(window)
        steps, horizon, median = window.future.shape[1], self.model.horizon, self.quantiles.index(0.5)
        made, unit = [], None
        for done in range(0, steps, horizon):
            out = self.model(_piece(window, done, horizon)) if out is None else out
            made.append(self.loss.quantiles(out))
            unit = out.scale if unit is None else unit
            if done + horizon < steps:
                window = _going_on(window, done, self.model.outwards(made[-1][..., median]))
            out = None
        assert unit is not None
        return torch.cat(made, 1)[:, :steps], unit

    def _drawn(self, window: Window) -> tuple[Tensor, Tensor]:
        """Of paths: of the same draws for every window, so that a forecast is the same in any batch."""
        steps, horizon = window.future.shape[1], self.model.horizon
        paths = 1 if self.loss.certain else self.paths
        generator, made, unit, ways = torch.Generator().manual_seed(0), [], None, 1
        for done in range(0, steps, horizon):
            shuffled = torch.rand(paths, horizon, generator=generator).argsort(0)
            # one level of each of `paths` equal parts of (0, 1): quantiles of few paths are steadier then
            levels = ((shuffled + 0.5) / paths).to(window.future).repeat(len(window.past) // ways, 1)

            def draw(out: Outlook, k: int, levels: Tensor = levels) -> Tensor:
                return self.loss.at(out, levels[:, k : k + 1, None])[..., 0]

            own, unit_now = self.model.paths(_piece(window, done, horizon), draw, paths // ways)
            made.append(own)
            unit = unit_now if unit is None else unit
            if done + horizon < steps:
                window = _going_on(window.repeated(paths // ways), done, self.model.outwards(own))
                ways = paths
        assert unit is not None
        values = torch.cat(made, 1)[:, :steps].unflatten(0, (-1, paths)).sort(1).values
        at = values.new_tensor(self.quantiles) * (paths - 1)
        low, high = values[:, at.floor().long()], values[:, at.ceil().long()]  # torch.quantile takes no large tensors
        return (low + (high - low) * at.frac()[:, None]).transpose(1, 2), unit


def _piece(window: Window, done: int, horizon: int) -> Window:
    """Windows of `horizon` steps ahead, of which `done` lie behind; what is not known of the last ones is as before."""
    known = window.known
    if known is not None:
        known = known[:, done : done + horizon]
        short = horizon - known.shape[1]
        known = torch.cat([known, known[:, -1:].expand(-1, short, -1)], 1) if short else known
    future = window.future.new_full((len(window.past), horizon), torch.nan)
    return window._replace(future=future, known=known)


def _going_on(window: Window, done: int, values: Tensor) -> Window:
    """Windows that end a horizon later, behind `done` steps, with forecasts for values; past covariates stay."""
    past = torch.cat([window.past, values.to(window.past)], 1)[:, -window.past.shape[1] :]
    covariates = window.covariates
    if covariates is not None:
        steps = values.shape[1]
        ahead = covariates[:, -1:].expand(-1, steps, -1).clone()
        if window.known is not None:
            own = window.known[:, done : done + steps]
            ahead[:, : own.shape[1], : own.shape[2]] = own
        covariates = torch.cat([covariates, ahead], 1)[:, -covariates.shape[1] :]
    return window._replace(past=past, covariates=covariates)
