"""Where the rows of a batch of sequences lie: dense, or packed with the longest first."""

import ctypes
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnzoo.kernels.layout import places

_BLOCK = 96  # rows whose input products are computed at once, at least: fewer leave the processor waiting for memory
_TEAM = 8  # threads that share the columns of a product, at most


class Shares(NamedTuple):
    """How many threads run a loop; of how many the teams are that share the columns of a product; how many steps'
    input products are computed at once; and the borders of the rows that each thread owns, as C takes them."""

    threads: int
    team: int
    block: int
    bounds: Any


@dataclass(frozen=True)
class Steps:
    """Where the rows of a batch lie: at step t, `alive`[t] of them behind `rows`[t] earlier ones; N in all.

    Of a batch that was `padded`, `ends` (B,) are the steps of each sequence; the rows behind them are nothing.
    """

    time: int
    batch: int
    total: int
    alive: Tensor
    rows: Tensor
    packed: bool
    ends: Tensor | None = None
    _shares: dict[tuple[int, bool], Shares] = field(default_factory=dict)

    @cached_property
    def rows_in_all(self) -> int:
        """`total`, counted from the steps."""
        return int(self.alive.sum())

    def shares(self, there: int, teams: bool) -> Shares:
        """How `there` threads share the work; `teams`: whether its products are worth sharing where rows are few."""
        if (there, teams) not in self._shares:
            threads = max(1, min(there, self.batch // 4))
            team = min(there, _TEAM) if threads == 1 and teams else 1
            bounds = self.bounds(threads)
            fewest = min((b - a for a, b in pairwise(bounds) if b > a), default=1)
            block = 1 if 2 * fewest >= _BLOCK else min(-(-_BLOCK // fewest), self.time)
            borders = (ctypes.c_long * len(bounds))(*bounds)
            self._shares[there, teams] = Shares(max(threads, team), team, block, borders)
        return self._shares[there, teams]

    def bounds(self, threads: int) -> list[int]:
        """The rows that each thread owns, with even work: `threads` + 1 borders."""
        if not self.packed:
            return [self.batch * k // threads for k in range(threads + 1)]
        if threads == 1:
            return [0, self.batch]
        work = (self.alive[:, None] > torch.arange(self.batch)).sum(0).cumsum(0)  # steps of this row and those before
        wanted = torch.tensor([self.total * k // threads for k in range(1, threads)], dtype=torch.int64)
        return [0, *torch.searchsorted(work, wanted).tolist(), self.batch]

    def padded(self) -> tuple["Steps", Tensor]:
        """The same sequences with as many rows at every step as at the first, and where each row lies then, (N,).

        Of up to a quarter more steps than there are, so that few batches differ in their number.
        """
        grain = 2 ** max(self.time.bit_length() - 3, 0)
        time = -(-self.time // grain) * grain
        t, b = places(self.alive)
        whole = _dense_steps(time, self.batch)
        ends = (self.alive[:, None] > torch.arange(self.batch)).sum(0)
        return replace(whole, ends=ends, _shares={}), t * self.batch + b

    @cached_property
    def old(self) -> Tensor:
        """(N,): where the state before each row of each step lies, among B initial rows and N new ones."""
        t, b = places(self.alive)
        return torch.where(t == 0, b, self.batch + self.rows[(t - 1).clamp(min=0)] + b)


def steps_of(total: int, batch: int, sizes: Tensor | None) -> Steps:
    """The steps of `total` rows: dense, or with `sizes` (T,), the rows of each step, packed."""
    if sizes is None:
        return _dense_steps(total // batch, batch)
    alive = sizes.contiguous()
    return Steps(len(alive), batch, total, alive, alive.cumsum(0) - alive, True)


@lru_cache(maxsize=64)
def _dense_steps(T: int, B: int) -> Steps:
    with torch.inference_mode(False):
        return Steps(T, B, T * B, torch.full((T,), B), torch.arange(T) * B, False)
