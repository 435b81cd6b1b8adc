"""Networks whose modules are updated at different rates."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import GatedCell, at_least_one
from rnnzoo.cells.registry import register
from rnnzoo.errors import RnnZooError


class Clocked(NamedTuple):
    """An output, and the time step that comes next, (B,); modulo what brings every clock back to its start."""

    h: Tensor
    t: Tensor


@register("clockwork_rnn")
class ClockworkRNN(GatedCell):
    """Koutník et al. 2014, Clockwork RNN: a module of period p is updated at every p-th step; one row block.

    a = tanh(W x_t + R h_{t-1} + b)
    h_t = a where t mod p = 0, else h_{t-1}

    R is block upper triangular: a module reads itself and the slower ones. Time starts at t = `t0`, by default 0, so
    that the first step updates every module. As in the paper, every parameter starts from N(0, 0.1²).

    Args:
        periods: p of each module in time steps, ascending; the units are shared out evenly between the modules.
            None: 1, 2, 4, ... for as many modules as there are units, at most 8.
        t0: the first time step.

    Raises:
        RnnZooError: periods that are not ascending whole numbers of at least 1, or more of them than units.
    """

    gates, State, hidden_bias = 1, Clocked, False
    period: Tensor
    reads: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        periods: Sequence[int] | None = None,
        t0: int = 0,
        bias: bool = True,
    ):
        super().__init__(input_size, hidden_size, bias=bias)
        if periods is None:
            periods = [2**k for k in range(min(8, hidden_size))]
        if not isinstance(periods, Sequence):
            raise RnnZooError(f"periods must be a list of numbers such as [1, 2, 4], not {periods!r}")
        self.periods, self.t0 = tuple(at_least_one("a period", p) for p in periods), t0
        if list(self.periods) != sorted(set(self.periods)) or not 1 <= len(self.periods) <= hidden_size:
            raise RnnZooError(f"periods must be 1 to {hidden_size} (hidden_size) ascending numbers, not {periods}")
        self.cycle = math.lcm(*self.periods)
        H, modules = hidden_size, len(self.periods)
        of_unit = [float(self.periods[j * modules // H]) for j in range(H)]
        self.register_buffer("period", torch.tensor(of_unit), persistent=False)
        self.register_buffer("reads", (self.period >= self.period[:, None]).to(self.period.dtype), persistent=False)

    def reset_parameters(self) -> None:
        for p in self.parameters():
            nn.init.normal_(p, std=0.1)

    def initial_state(self, batch: int, like: Tensor) -> Any:
        return Clocked(like.new_zeros(batch, self.hidden_size), like.new_full((batch,), self.t0 % self.cycle))

    def step(self, u: Tensor, s: Clocked) -> Clocked:
        a = (u + s.h @ (self.weight_hh * self.reads).t()).tanh()
        due = torch.remainder(s.t[:, None] + 0.5, self.period) < 1  # t counts as the nearest whole number
        # the clock goes round, for in narrow dtypes t + 1 = t from some t on
        t = torch.where(s.t + 1.5 < self.cycle, s.t + 1, s.t + 1 - self.cycle)
        return Clocked(torch.where(due, a, s.h), t)
