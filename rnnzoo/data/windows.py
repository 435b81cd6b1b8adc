"""A series as windows: what is known at some time, and what comes next."""

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset


class Window:
    """Windows of a series in its own unit: B windows; L values of the past, K of the future.

    No tuple: Lightning rounds every tensor that it finds in one to the trainer's precision, and where the level of a
    series is high beside its variation, nothing of the variation would be left.

    Args:
        past: (B, L) float64: the values before the origin; the last is the newest.
        future: (B, K) float64: the values from the origin on; NaN where they are not known yet.
        origin: (B,) int64: the index in the series of the first value of `future`.
    """

    def __init__(self, past: Tensor, future: Tensor, origin: Tensor) -> None:
        self.past, self.future, self.origin = past, future, origin

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.past, self.future, self.origin))

    def _replace(self, **fields: Tensor) -> Self:
        """As a named tuple's: the same windows with other fields."""
        return type(self)(**{**vars(self), **fields})

    def unanswered(self) -> Self:
        """The same windows without their futures, which then count for nothing."""
        return self._replace(future=torch.full_like(self.future, torch.nan))

    def to(self, device: torch.device | str) -> Self:
        """On another device; in float32 where that has no float64."""
        dtype = exact_dtype(torch.device(device))
        return type(self)(self.past.to(device, dtype), self.future.to(device, dtype), self.origin.to(device))

    def pin_memory(self) -> Self:
        """In memory that a GPU reads by itself."""
        return type(self)(*(field.pin_memory() for field in self))


def exact_dtype(device: torch.device) -> torch.dtype:
    """Of the series' values and of errors in them: float64, which Apple's GPUs alone lack."""
    return torch.float32 if device.type == "mps" else torch.float64


class Windows(Dataset[Window]):
    """The windows of a series at `origins`, cut out when asked for: the series itself is not copied.

    Args:
        series: (N,) float64.
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
