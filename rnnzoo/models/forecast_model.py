"""The past of series in, numbers for each of their next steps out."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import at_least_one
from rnnzoo.data.windows import Window
from rnnzoo.errors import RnnZooError
from rnnzoo.models.regular import regular
from rnnzoo.rnn import RNN

Transform = Literal["none", "log"]


class Outlook(NamedTuple):
    """What is said of the steps ahead, in the units that the model thinks in: of values, or of their logarithms.

    `left`, (B, K, O): the numbers of each step, in units of `scale`.
    `base`, (B, K): the season before, shifted, to which what is left is added.
    `scale`, (B, 1): one unit.
    """

    left: Tensor
    base: Tensor
    scale: Tensor


class ForecastModel(nn.Module):
    """An RNN over what is left of a series when its season is taken away, and a head for every step ahead.

    ::

        d_s = y_s - y_{s-season}                              how much each value differs from a season before
        m = mean of the last `level` of d                     the shift that now holds
        base_h = y_{t+h-season} + m
        forecast_h = base_h + scale left_h

    Without a decoder, left = head(RNN((d - m) / scale)) at the last step, for all steps ahead at once. With one, what
    the RNN says last goes into a second RNN at each step ahead, and its head speaks there; so it reads what is known
    ahead of each step. Beside d the RNN reads the covariates of the step and, since d is a difference, how
    much those known ahead differ from a season before.

    A value that is missing is NaN. It counts as that of the season before, or else as the last one before it, d is
    then 0, and the RNN is told by a mask. What a cell takes besides x is `regular`; but the mask, and the time since a
    value was there, go to a cell that takes them.

    Args:
        rnn: batch_first, over `input_size` features.
        decoder: batch_first, over `decoder_size` features; None for a head for all steps at once.
        horizon: steps to forecast.
        season: steps after which the series resembles itself; 1 for a series without a season.
        level: steps whose mean difference is the shift.
        outputs: O, numbers for each step ahead.
        scale: what counts as one unit of difference, in the series' own, where a window does not say.
        covariates: features beside the past, those known ahead first.
        known: how many of them are known ahead.
        static: features of a series.
        transform: "log": logarithms are forecast, of values above 0.
        masked: whether values may be missing.
        dropout: before the head; in [0, 1).
    """

    def __init__(
        self,
        rnn: RNN,
        decoder: RNN | None = None,
        *,
        horizon: int,
        season: int,
        level: int,
        outputs: int,
        scale: float,
        covariates: int = 0,
        known: int = 0,
        static: int = 0,
        transform: Transform = "none",
        masked: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.horizon, self.season, self.level, self.outputs = horizon, season, level, outputs
        for name in ("horizon", "season", "level"):
            at_least_one(name, getattr(self, name))
        self.covariates, self.known, self.static = covariates, known, static
        self.transform, self.masked, self.scale = transform, masked, scale
        self.rnn, self.decoder = rnn, decoder
        self.dropout = nn.Dropout(dropout)
        ahead = outputs if decoder is not None else horizon * outputs
        self.head = nn.Linear((decoder or rnn).output_size, ahead)

    @staticmethod
    def input_size(covariates: int, known: int, static: int, masked: bool) -> int:
        """Features of a step of the past."""
        return 1 + covariates + known + static + masked

    @staticmethod
    def decoder_size(encoder: RNN, known: int, static: int) -> int:
        """Features of a step ahead: what the encoder says last, how far it is, what is known of it."""
        return encoder.output_size + 1 + 2 * known + static

    def forward(self, window: Window) -> Outlook:
        """What is said of the steps ahead of windows.

        Differences and scaling are in the precision of the past, at least float32; only what the RNN and the head see
        is in that of their weights. So a float64 past may lie at any level.

        Raises:
            RnnZooError: values that have no logarithm; covariates that the windows have not.
        """
        past = window.past
        past = past.to(torch.promote_types(past.dtype, torch.float32) if past.is_floating_point() else torch.float64)
        scale = past.new_full((len(past), 1), self.scale) if window.scale is None else window.scale.to(past)[:, None]
        there = ~past.isnan() if self.masked else None
        if there is not None:
            past = filled(past, self.season)
        if self.transform == "log":
            past, scale = self.logarithms(past), scale / past[:, -self.season :].mean(1, keepdim=True)
        d = past[:, self.season :] - past[:, : -self.season]
        m = d[:, -self.level :].mean(1, keepdim=True)
        base = self.seasonal_naive(past) + m
        x = ((d - m) / scale)[..., None].to(self.head.weight.dtype)
        y = self._encode(x, window, None if there is None else there[:, self.season :, None])
        if self.decoder is None:
            left = self.head(self.dropout(y[:, -1])).view(len(past), self.horizon, -1)
        else:
            ahead = self._ahead(y[:, -1], window)
            z, _ = self.decoder(ahead, **regular(self.decoder, ahead))
            left = self.head(self.dropout(z))
        return Outlook(left.to(past.dtype), base, scale)

    def logarithms(self, values: Tensor) -> Tensor:
        """Of values above 0.

        Raises:
            RnnZooError: one is not.
        """
        if values.device.type == "cpu" and (values <= 0).any():
            raise RnnZooError(f"transform='log' needs values above 0, not {float(values[values <= 0][0]):g}")
        return values.log()

    def inwards(self, values: Tensor) -> Tensor:
        """Values of the series in the units that the model thinks in; NaN stays NaN."""
        return self.logarithms(values) if self.transform == "log" else values

    def outwards(self, values: Tensor) -> Tensor:
        """The inverse of `inwards`."""
        return values.exp() if self.transform == "log" else values

    def _encode(self, x: Tensor, window: Window, there: Tensor | None) -> Tensor:
        """What the RNN says at each step of the past, from the differences (B, T, 1) and which of them are known."""
        parts = [x]
        if self.covariates:
            covariates = self._given(window.covariates, "covariates").to(x.dtype)
            own, before = covariates[:, self.season :], covariates[:, : -self.season, : self.known]
            parts += [own, own[..., : self.known] - before]
        if self.static:
            static = self._given(window.static, "static covariates").to(x.dtype)
            parts.append(static[:, None].expand(-1, x.shape[1], -1))
        if there is not None:
            parts.append(there.to(x.dtype))
        x = torch.cat(parts, -1) if len(parts) > 1 else x
        beside = regular(self.rnn, x)
        if there is not None and "mask" in beside:
            beside["mask"] = there.to(x.dtype)
        if there is not None and "dt" in beside:
            beside["dt"] = since(there).to(x.dtype)
        return self.rnn(x, **beside)[0]

    def _ahead(self, last: Tensor, window: Window) -> Tensor:
        """The input of the decoder (B, horizon, ...), with what the encoder says last (B, H)."""
        steps = self.horizon
        far = torch.arange(1, steps + 1, device=last.device, dtype=last.dtype) / steps
        parts = [last[:, None].expand(-1, steps, -1), far[None, :, None].expand(len(last), -1, -1)]
        if self.known:
            known = self._given(window.known, "covariates known ahead").to(last.dtype)
            covariates = self._given(window.covariates, "covariates").to(last.dtype)[..., : self.known]
            parts += [known, known - torch.cat([covariates[:, -self.season :], known], 1)[:, :steps]]
        if self.static:
            static = self._given(window.static, "static covariates").to(last.dtype)
            parts.append(static[:, None].expand(-1, steps, -1))
        return torch.cat(parts, -1)

    @staticmethod
    def _given(part: Tensor | None, what: str) -> Tensor:
        if part is None:
            raise RnnZooError(f"the windows have no {what}, which the model was made for")
        return part

    def seasonal_naive(self, past: Tensor) -> Tensor:
        """The values of one season before, (B, horizon)."""
        ahead = torch.arange(self.horizon, device=past.device) % self.season
        return past[:, -self.season :][:, ahead]


def filled(past: Tensor, season: int) -> Tensor:
    """Values (B, L) with those of a season before where they are NaN; or else the last before; or else the first."""
    made = past.clone()
    for start in range(season, past.shape[1], season):
        block = made[:, start : start + season]
        before = made[:, start - season : start][:, : block.shape[1]]
        made[:, start : start + season] = torch.where(block.isnan(), before, block)
    there = ~made.isnan()
    step = torch.arange(past.shape[1], device=past.device)
    last = torch.where(there, step, -1).cummax(1).values
    first = there.int().argmax(1, keepdim=True)
    return made.gather(1, torch.where(last >= 0, last, first)).nan_to_num(0.0)  # 0 where nothing is there at all


def since(there: Tensor) -> Tensor:
    """Steps (B, T, 1) since the last before each at which a value was there; 1 where that was the step before."""
    step = torch.arange(there.shape[1], device=there.device)[None, :, None]
    last = torch.where(there, step, -1).cummax(1).values
    before = torch.cat([torch.full_like(last[:, :1], -1), last[:, :-1]], 1)
    return step - before
