"""Series as windows: what is known at some time, and what comes next."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from rnnzoo.data.calendars import calendar_features
from rnnzoo.data.panel import Panel


class Window:
    """Windows of series in their own units: B windows; L values of the past, K of the future.

    No tuple: Lightning rounds every tensor that it finds in one to the trainer's precision, and where the level of a
    series is high beside its variation, nothing of the variation would be left.

    Args:
        past: (B, L) float64: the values before the origin; the last is the newest. NaN where one is missing.
        future: (B, K) float64: the values from the origin on; NaN where they are not known yet.
        origin: (B,) int64: the place in its series of the first value of `future`.
        series: (B,) int64: which series it is; None where there is but one.
        scale: (B,) float64: one unit of error in each series; None for the task's own.
        covariates: (B, L, F + P) float32: beside the past, those known ahead first; None for none.
        known: (B, K, F) float32: those known ahead, beside the future; None for none.
        static: (B, C) float32: of the series; None for none.
        time: (B, K) int64: of the future, in nanoseconds since 1970, or numbers; None without times.
        cutoff: (B,) int64: of the last value of the past, likewise.
        asked: (B,) int64: how many steps ahead are asked for; None for all.
        unit: (B,) float64: one unit of each series for the model; None for `scale`.
    """

    def __init__(
        self,
        past: Tensor,
        future: Tensor,
        origin: Tensor,
        series: Tensor | None = None,
        scale: Tensor | None = None,
        covariates: Tensor | None = None,
        known: Tensor | None = None,
        static: Tensor | None = None,
        time: Tensor | None = None,
        cutoff: Tensor | None = None,
        asked: Tensor | None = None,
        unit: Tensor | None = None,
    ) -> None:
        self.past, self.future, self.origin, self.series, self.scale = past, future, origin, series, scale
        self.covariates, self.known, self.static = covariates, known, static
        self.time, self.cutoff, self.asked, self.unit = time, cutoff, asked, unit

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.past, self.future, self.origin))

    def _replace(self, **fields: Any) -> Self:
        """As a named tuple's: the same windows with other fields."""
        return type(self)(**{**vars(self), **fields})

    def unanswered(self) -> Self:
        """The same windows without their futures, which then count for nothing."""
        return self._replace(future=torch.full_like(self.future, torch.nan))

    def repeated(self, each: int) -> Self:
        """Every window `each` times, side by side."""
        own = {n: field.repeat_interleave(each, 0) for n, field in vars(self).items() if field is not None}
        return self._replace(**own)

    def to(self, device: torch.device | str) -> Self:
        """On another device; in float32 where that has no float64."""
        exact = exact_dtype(torch.device(device))
        moved: dict[str, Any] = {
            name: None if field is None else field.to(device, exact if field.dtype == torch.float64 else field.dtype)
            for name, field in vars(self).items()
        }
        return type(self)(**moved)

    def pin_memory(self) -> Self:
        """In memory that a GPU reads by itself."""
        return self._replace(**{n: field.pin_memory() for n, field in vars(self).items() if field is not None})


def exact_dtype(device: torch.device) -> torch.dtype:
    """Of the series' values and of errors in them: float64, which Apple's GPUs alone lack."""
    return torch.float32 if device.type == "mps" else torch.float64


class Origins:
    """Where windows have their origins: in each of some series, a range of places.

    Args:
        series: (M,) int64: which series.
        first, stop: (M,) int64: the range in each, `stop` outside it.
        stride: from one origin to the next.
    """

    def __init__(self, series: np.ndarray, first: np.ndarray, stop: np.ndarray, stride: int = 1) -> None:
        counts = np.maximum(-((first - stop) // stride), 0)
        some = counts > 0
        self.series, self.first, self.stride = series[some], first[some], stride
        self._ends = np.cumsum(counts[some])

    @classmethod
    def of(cls, places: range) -> "Origins":
        """In the only series."""
        return cls(np.zeros(1, np.int64), np.array([places.start]), np.array([places.stop]), places.step)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the windows (B,): the series, and the place in it."""
        which = np.searchsorted(self._ends, k, side="right")
        before = np.where(which > 0, self._ends[which - 1], 0)
        return self.series[which], self.first[which] + (k - before) * self.stride


class Windows(Dataset[Window]):
    """The windows of a panel at `origins`, cut out when they are asked for: the series themselves are not copied.

    Args:
        panel: the series.
        past: values before the origin; where a series has fewer, the first are NaN.
        horizon: values from the origin on; those behind the end of the series are NaN.
        origins: of the windows.
        scale: (S,) float64: one unit of error in each series; None for none.
        calendar: names of features of the time, which are covariates known ahead.
        zone: of the clock that the calendar goes by, where times are in UTC.
        asked: (S,) int64: steps ahead that are asked for, of each series; None for all.
        unit: (S,) float64: one unit of each series for the model; None for `scale`.
    """

    def __init__(
        self,
        panel: Panel,
        past: int,
        horizon: int,
        origins: Origins,
        scale: np.ndarray | None = None,
        calendar: Sequence[str] = (),
        zone: str | None = None,
        asked: np.ndarray | None = None,
        unit: np.ndarray | None = None,
    ) -> None:
        self.panel, self.origins, self.scale, self.asked, self.unit = panel, origins, scale, asked, unit
        self.calendar, self.zone = list(calendar), zone
        self._past, self._future = np.arange(-past, 0), np.arange(horizon)

    def __len__(self) -> int:
        return len(self.origins)

    def __getitem__(self, k: int) -> Window:
        batch = self.__getitems__([k])
        own: dict[str, Any] = {name: None if field is None else field[0] for name, field in vars(batch).items()}
        return Window(**own)

    def __getitems__(self, places: Sequence[int]) -> Window:
        """A batch, which is what torch's loader asks for where it can."""
        # numpy, not torch: a gather of this size costs torch more for waking its threads than for the work
        panel = self.panel
        series, origin = self.origins[np.asarray(places, dtype=np.int64)]
        begin, end = panel.starts[series][:, None], panel.starts[series + 1][:, None]
        before, coming = begin + origin[:, None] + self._past, begin + origin[:, None] + self._future
        past = panel.values[np.maximum(before, begin)]
        if (early := before < begin).any():
            past[early] = np.nan
        future = panel.values[np.minimum(coming, end - 1)]
        future[coming >= end - panel.ahead[series][:, None]] = np.nan
        batch = Window(torch.from_numpy(past), torch.from_numpy(future), torch.from_numpy(origin))
        if len(panel) > 1 or len(panel.ids):
            batch.series = torch.from_numpy(series)
        if self.scale is not None:
            batch.scale = torch.from_numpy(self.scale[series])
        if self.unit is not None:
            batch.unit = torch.from_numpy(self.unit[series])
        if panel.static.shape[1]:
            batch.static = torch.from_numpy(panel.static[series])
        time = panel.times_at(series, origin[:, None] + self._future)
        if time is not None:
            cutoff = panel.times_at(series, origin[:, None] - 1)
            assert cutoff is not None
            batch.time, batch.cutoff = torch.from_numpy(time), torch.from_numpy(cutoff[:, 0])
        if self.asked is not None:
            batch.asked = torch.from_numpy(self.asked[series])
        ahead, beside = [panel.known[np.minimum(coming, end - 1)]], [panel.known[np.maximum(before, begin)]]
        if self.calendar:
            then = panel.times_at(series, np.maximum(origin[:, None] + self._past, 0))
            assert then is not None
            assert time is not None
            ahead.append(calendar_features(time, self.calendar, self.zone))
            beside.append(calendar_features(then, self.calendar, self.zone))
        beside.append(panel.past[np.maximum(before, begin)])
        if known := sum(part.shape[-1] for part in ahead):
            batch.known = torch.from_numpy(np.concatenate(ahead, -1))
        if known + panel.past.shape[1]:
            batch.covariates = torch.from_numpy(np.concatenate(beside, -1))
        return batch
