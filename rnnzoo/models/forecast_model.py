"""The past of a series in, quantiles of its next steps out, all at once."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import at_least_one
from rnnzoo.models.regular import regular
from rnnzoo.rnn import RNN


class ForecastModel(nn.Module):
    """An RNN over what is left of a series when its season is taken away, and a direct head for every step ahead.

    ::

        d_s = y_s - y_{s-season}                              how much each value differs from a season before
        m = mean of the last `level` of d                     the shift that now holds
        forecast_h = y_{t+h-season} + m + scale RNN((d - m) / scale)_h

    What a cell takes besides x is `regular`.

    Args:
        rnn: batch_first, over one feature.
        horizon: steps to forecast.
        season: steps after which the series resembles itself; 1 for a series without a season.
        level: steps whose mean difference is the shift.
        quantiles: to forecast, each in (0, 1).
        scale: what counts as one unit of difference, in the series' own.
        dropout: before the head; in [0, 1).
    """

    def __init__(
        self,
        rnn: RNN,
        *,
        horizon: int,
        season: int,
        level: int,
        quantiles: Sequence[float],
        scale: float,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.horizon, self.season, self.level = horizon, season, level
        for name in ("horizon", "season", "level"):
            at_least_one(name, getattr(self, name))
        self.rnn = rnn
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(rnn.output_size, horizon * len(quantiles))
        self.scale = scale

    def forward(self, past: Tensor) -> Tensor:
        """Quantiles (B, horizon, Q) in the series' own unit, from its `past` (B, context + season).

        Differences, scaling and the forecast are in `past`'s precision, at least float32; only what the RNN and the
        head see is in that of their weights. So a float64 `past` may lie at any level.
        """
        past = past.to(torch.promote_types(past.dtype, torch.float32) if past.is_floating_point() else torch.float64)
        d = past[:, self.season :] - past[:, : -self.season]
        m = d[:, -self.level :].mean(1, keepdim=True)
        x = ((d - m) / self.scale)[..., None].to(self.head.weight.dtype)
        y, _ = self.rnn(x, **regular(self.rnn, x))
        left = self.head(self.dropout(y[:, -1])).to(past.dtype).view(len(past), self.horizon, -1)
        return (self.seasonal_naive(past) + m)[..., None] + self.scale * left

    def seasonal_naive(self, past: Tensor) -> Tensor:
        """The values of one season before, (B, horizon)."""
        ahead = torch.arange(self.horizon, device=past.device) % self.season
        return past[:, -self.season :][:, ahead]
