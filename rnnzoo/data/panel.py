"""Many series in one place: their values and covariates side by side, series after series, each in steps of time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from rnnzoo.data.steps import Frequency


@dataclass
class Panel:
    """S series of N steps in all.

    Args:
        values: (N,) float64, what is forecast; NaN where it is not known.
        starts: (S + 1,) int64: where each series begins, and the end of the last.
        ids: (S,) of the series; empty where there is but one.
        times: (N,) int64: nanoseconds since 1970, or numbers; None where the data have no times.
        frequency: of the times.
        clock: what the times are: "number", "timestamp", or "utc" for timestamps that had a zone.
        known: (N, F), the covariates that are known ahead.
        past: (N, P), those that are known up to the present only.
        static: (S, C), one row a series.
        ahead: (S,) int64: steps at the end of each series whose values are still to come.
    """

    values: np.ndarray
    starts: np.ndarray
    ids: Sequence[Any] = ()
    times: np.ndarray | None = None
    frequency: Frequency | None = None
    clock: str = "number"
    known: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    past: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    static: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    ahead: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        rows, series = len(self.values), len(self)
        self.known = self.known if len(self.known) else np.zeros((rows, 0), np.float32)
        self.past = self.past if len(self.past) else np.zeros((rows, 0), np.float32)
        self.static = self.static if len(self.static) else np.zeros((series, 0), np.float32)
        self.ahead = self.ahead if len(self.ahead) else np.zeros(series, np.int64)

    @classmethod
    def of(cls, values: np.ndarray) -> "Panel":
        """One series (N,) without times."""
        return cls(values, np.array([0, len(values)]))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(S,) int64: the steps of each series whose values are known."""
        return np.diff(self.starts) - self.ahead

    def series(self, k: int) -> np.ndarray:
        """The values of series k that are known."""
        return self.values[self.starts[k] : self.starts[k + 1] - self.ahead[k]]

    def name(self, k: int) -> str:
        """Series k in a message: nothing where there is but one."""
        return f"series {self.ids[k]!r}" if len(self.ids) else "the series"

    def times_at(self, series: np.ndarray, position: np.ndarray) -> np.ndarray | None:
        """The times of positions (B, K) in their series (B,), also behind their ends; None without times."""
        if self.times is None:
            return None
        first, end = self.starts[series][:, None], self.starts[series + 1][:, None]
        at = first + position
        times = self.times[np.minimum(at, end - 1)]
        behind = at - (end - 1)
        if (behind > 0).any():
            assert self.frequency is not None
            times = np.where(behind > 0, self.frequency.after(times, np.maximum(behind, 0)), times)
        return times

    def as_times(self, times: np.ndarray) -> Any:
        """Times as a table has them: numbers, or timestamps, in UTC where they had a zone."""
        if self.clock == "number":
            return times
        stamps = pd.Series(times.astype("datetime64[ns]"))
        if not (times % 1_000_000_000).any():
            stamps = stamps.dt.as_unit("s")  # a CSV file has no zeros behind its seconds then
        return stamps.dt.tz_localize("UTC") if self.clock == "utc" else stamps
