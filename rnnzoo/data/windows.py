"""A series as windows: what is known at some time, and what comes next."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset


class Window(NamedTuple):
    """Windows of a series in its own unit: B windows; L values of the past, K of the future.

    `past`, (B, L) float32: the values before the origin; the last is the newest.
    `future`, (B, K) float32: the values from the origin on; NaN where they are not known yet.
    `origin`, (B,) int64: the index in the series of the first value of `future`.
    """

    past: Tensor
    future: Tensor
    origin: Tensor

    def unanswered(self) -> "Window":
        """The same windows without their futures, which then count for nothing."""
        return self._replace(future=torch.full_like(self.future, torch.nan))


class Windows(Dataset[Window]):
    """The windows of a series at `origins`, cut out when asked for: the series itself is not copied.

    Args:
        series: (N,) float32.
        past: values before the origin, at most the first of `origins`.
        horizon: values from the origin on; those behind the end of the series are NaN.
        origins: indices in the series, increasing.
    """

    def __init__(self, series: np.ndarray, past: int, horizon: int, origins: range) -> None:
        self.series, self.origins = series, origins
        self._past, self._future = np.arange(-past, 0), np.arange(horizon)

    def __len__(self) -> int:
        return len(self.origins)

    def __getitem__(self, k: int) -> Window:
        past, future, origin = self.__getitems__([k])
        return Window(past[0], future[0], origin[0])

    def __getitems__(self, places: Sequence[int]) -> Window:
        """A batch, which is what torch's loader asks for where it can."""
        # numpy, not torch: a gather of this size costs torch more for waking its threads than for the work
        origin = np.array([self.origins[k] for k in places], dtype=np.int64)
        coming = origin[:, None] + self._future
        future = self.series[np.minimum(coming, len(self.series) - 1)]
        future[coming >= len(self.series)] = np.nan
        past = self.series[origin[:, None] + self._past]
        return Window(torch.from_numpy(past), torch.from_numpy(future), torch.from_numpy(origin))
