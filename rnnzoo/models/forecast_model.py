"""The past of series in, numbers for each of their next steps out."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import at_least_one
from rnnzoo.data.scalers import Scaler, unit_of
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


class _Seen(NamedTuple):
    """Of the past of windows.

    What the RNN says last (B, H), what is left of the newest value (B, 1), base, scale, and what further lags say of
    the steps ahead (B, horizon, lags).
    """

    last: Tensor
    newest: Tensor
    base: Tensor
    scale: Tensor
    beside: Tensor


Draw = Callable[[Outlook, int], Tensor]


class ForecastModel(nn.Module):
    """An RNN over what is left of a series when its season is taken away, and a head for every step ahead.

    ::

        d_s = y_s - y_{s-season}                              how much each value differs from a season before
        m = mean of the last `level` of d                     the shift that now holds
        base_h = y_{t+h-season} + m
        forecast_h = base_h + scale left_h

    Without a decoder, left = head(RNN((d - m) / scale)) at the last step, for all steps ahead at once. With one, what
    the RNN says last goes into a second RNN at each step ahead, and its head speaks there; so it reads what is known
    ahead of each step. An autoregressive decoder reads left of the step before as well: what came, in training, and
    what was drawn from its own forecast in `paths` (Salinas et al. 2020). Beside d the RNN reads the covariates of the
    step and, since d is a difference, how much those known ahead differ from a season before.

    Of further lags l the naive forecasts, y_{s-l} and its own shift, are read beside: what they differ by from base, in
    units; at steps ahead that lie beyond a lag, its last values again.

    A value that is missing is NaN. It counts as that of the season before, or else as the last one before it, d is
    then 0, and the RNN is told by a mask. What a cell takes besides x is `regular`; but the mask, and the time since a
    value was there, go to a cell that takes them.

    Args:
        rnn: batch_first, over `input_size` features.
        decoder: batch_first, over `decoder_size` features; None for a head for all steps at once.
        autoregressive: whether the decoder reads the value of the step before.
        horizon: steps to forecast.
        season: steps after which the series resembles itself; 1 for a series without a season.
        level: steps whose mean difference is the shift.
        outputs: O, numbers for each step ahead.
        scale: what counts as one unit of difference, in the series' own, where a window does not say.
        covariates: features beside the past, those known ahead first.
        known: how many of them are known ahead.
        variables: of the covariates, the last ones, that are values of this and of other series; they are read as what
            they differ by from a season before.
        static: features of a series.
        transform: "log": logarithms are forecast, of values above 0.
        masked: whether values may be missing.
        lags: further ones, in steps, whose naive forecasts are read.
        window_scaler: by which one unit is found anew in the past of every window.
        dropout: before the head; in [0, 1).
    """

    def __init__(
        self,
        rnn: RNN,
        decoder: RNN | None = None,
        *,
        autoregressive: bool = False,
        horizon: int,
        season: int,
        level: int,
        outputs: int,
        scale: float,
        covariates: int = 0,
        known: int = 0,
        variables: int = 0,
        static: int = 0,
        transform: Transform = "none",
        masked: bool = False,
        lags: Sequence[int] = (),
        window_scaler: Scaler | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.horizon, self.season, self.level, self.outputs = horizon, season, level, outputs
        for name in ("horizon", "season", "level"):
            at_least_one(name, getattr(self, name))
        self.covariates, self.known, self.variables, self.static = covariates, known, variables, static
        self.transform, self.masked, self.scale, self.window_scaler = transform, masked, scale, window_scaler
        self.lags, self.reach = tuple(lags), max([season, *lags])
        self.rnn, self.decoder, self.autoregressive = rnn, decoder, autoregressive
        self.dropout = nn.Dropout(dropout)
        ahead = outputs if decoder is not None else horizon * outputs
        self.head = nn.Linear((decoder or rnn).output_size, ahead)

    @staticmethod
    def input_size(covariates: int, known: int, static: int, masked: bool, lags: int = 0) -> int:
        """Features of a step of the past."""
        return 1 + covariates + known + static + masked + lags

    @staticmethod
    def decoder_size(encoder: RNN, known: int, static: int, autoregressive: bool = False, lags: int = 0) -> int:
        """Features of a step ahead: what the encoder says last, how far it is, what is known of it and before it."""
        return encoder.output_size + 1 + 2 * known + static + autoregressive + lags

    def forward(self, window: Window) -> Outlook:
        """What is said of the steps ahead of windows; by an autoregressive decoder, from the values that came.

        Differences and scaling are in the precision of the past, at least float32; only what the RNN and the head see
        is in that of their weights. So a float64 past may lie at any level.

        Raises:
            RnnZooError: values that have no logarithm; covariates that the windows have not.
        """
        seen = self._read(window)
        if self.decoder is None:
            left = self.head(self.dropout(seen.last)).view(len(seen.base), self.horizon, -1)
        else:
            ahead = self._ahead(seen, window)
            if self.autoregressive:
                came = (self.inwards(window.future.to(seen.base)) - seen.base) / seen.scale
                before = torch.cat([seen.newest, came[:, :-1].nan_to_num(0.0)], 1)
                ahead = torch.cat([ahead, before[..., None].to(ahead.dtype)], -1)
            z, _ = self.decoder(ahead, **regular(self.decoder, ahead))
            left = self.head(self.dropout(z))
        return Outlook(left.to(seen.base.dtype), seen.base, seen.scale)

    def paths(self, window: Window, draw: Draw, each: int) -> tuple[Tensor, Tensor]:
        """What may come, by an autoregressive decoder; the futures of the windows are not looked at.

        Args:
            window: B windows.
            draw: makes a value (B * each, 1) of what is said of a step; its second argument counts the steps from 0.
            each: paths of each window.

        Returns:
            The values (B * each, horizon), a window's paths side by side, in the units that the model thinks in; and
            one unit of each window (B, 1).
        """
        assert self.decoder is not None
        seen = self._read(window)
        ahead = self._ahead(seen, window).repeat_interleave(each, 0)
        base, scale, before = (part.repeat_interleave(each, 0) for part in (seen.base, seen.scale, seen.newest))
        state, values = None, []
        for k in range(self.horizon):
            x = torch.cat([ahead[:, k : k + 1], before[..., None].to(ahead.dtype)], -1)
            z, state = self.decoder(x, state, **regular(self.decoder, x, k))
            own = base[:, k : k + 1]
            values.append(draw(Outlook(self.head(z).to(base.dtype), own, scale), k))
            before = (values[-1] - own) / scale
        return torch.cat(values, 1), seen.scale

    def _read(self, window: Window) -> "_Seen":
        past = window.past
        past = past.to(torch.promote_types(past.dtype, torch.float32) if past.is_floating_point() else torch.float64)
        scale = self._unit(past, window)
        there = ~past.isnan() if self.masked else None
        if there is not None:
            past = filled(past, self.season)
        if self.transform == "log":
            past, scale = self.logarithms(past), scale / past[:, -self.season :].mean(1, keepdim=True)
        d = past[:, self.season :] - past[:, : -self.season]
        m = d[:, -self.level :].mean(1, keepdim=True)
        base = self.seasonal_naive(past) + m
        left = ((d - m) / scale)[:, self.reach - self.season :]
        x, beside = left[..., None], base.new_zeros(*base.shape, 0)
        if self.lags:
            others, ahead = zip(*(self._naive(past, lag) for lag in self.lags), strict=True)
            own = past[:, self.reach - self.season : -self.season] + m
            x = torch.cat([x, (torch.stack(others, -1) - own[..., None]) / scale[..., None]], -1)
            beside = (torch.stack(ahead, -1) - base[..., None]) / scale[..., None]
        wanted = self.head.weight.dtype
        y = self._encode(x.to(wanted), window, None if there is None else there[:, self.reach :, None])
        return _Seen(y[:, -1], left[:, -1:], base, scale, beside.to(wanted))

    def _naive(self, past: Tensor, lag: int) -> tuple[Tensor, Tensor]:
        """The naive forecast of a lag with its shift: of the steps that the RNN reads, and of the steps ahead."""
        shift = (past[:, lag:] - past[:, :-lag])[:, -self.level :].mean(1, keepdim=True)
        ahead = torch.arange(self.horizon, device=past.device) % lag
        return past[:, self.reach - lag : -lag] + shift, past[:, -lag:][:, ahead] + shift

    def _unit(self, past: Tensor, window: Window) -> Tensor:
        """One unit (B, 1) of what the series of windows differ from a season before."""
        given = window.scale if window.unit is None else window.unit
        unit = past.new_full((len(past),), self.scale) if given is None else given.to(past)
        if self.window_scaler is not None:
            own = unit_of(past, self.season, self.window_scaler)
            unit = torch.where(own > 0, own, unit)
        return unit[:, None]

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
        """What the RNN says at each step of the past, from the differences (B, T, ...) and which of them are known."""
        parts = [x]
        if self.covariates:
            covariates = self._given(window.covariates, "covariates").to(x.dtype)
            own, before = covariates[:, self.reach :], covariates[:, self.reach - self.season : -self.season]
            plain = self.covariates - self.variables
            parts += [own[..., :plain], (own - before)[..., plain:], (own - before)[..., : self.known]]
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

    def _ahead(self, seen: "_Seen", window: Window) -> Tensor:
        """The input of the decoder (B, horizon, ...), but for the value before."""
        steps, last = self.horizon, seen.last
        far = torch.arange(1, steps + 1, device=last.device, dtype=last.dtype) / steps
        parts = [last[:, None].expand(-1, steps, -1), far[None, :, None].expand(len(last), -1, -1)]
        if self.known:
            known = self._given(window.known, "covariates known ahead").to(last.dtype)
            covariates = self._given(window.covariates, "covariates").to(last.dtype)[..., : self.known]
            parts += [known, known - torch.cat([covariates[:, -self.season :], known], 1)[:, :steps]]
        if self.static:
            static = self._given(window.static, "static covariates").to(last.dtype)
            parts.append(static[:, None].expand(-1, steps, -1))
        return torch.cat([*parts, seen.beside], -1)

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
