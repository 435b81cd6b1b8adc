"""Leaky integrators."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from rnnzoo.cells.contract import GatedCell, Hidden, above_zero
from rnnzoo.cells.registry import register
from rnnzoo.errors import RnnZooError


@register("leaky_rnn")
class LeakyRNN(GatedCell):
    """Jaeger et al. 2007, leaky-integrator units, here with trained weights: the rate form; one row block.

    h_t = (1 - α) h_{t-1} + α tanh(W x_t + R h_{t-1} + b)

    Args:
        alpha: α, the leaking rate, in (0, 1]; with 1 it is `rnn`.

    Raises:
        RnnZooError: `alpha` out of range.
    """

    gates, State, hidden_bias = 1, Hidden, False

    def __init__(self, input_size: int, hidden_size: int, *, alpha: float = 0.5, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        if not 0 < alpha <= 1:
            raise RnnZooError(f"alpha of leaky_rnn must be in (0, 1], not {alpha}")
        self.alpha = alpha

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        return Hidden((1 - self.alpha) * s.h + self.alpha * (wx + rh).tanh())


class Potential(NamedTuple):
    """Membrane potentials; the output is their rates, tanh(v)."""

    v: Tensor


@register("ctrnn")
class CTRNN(GatedCell):
    """Funahashi & Nakamura 1993, continuous-time RNN, a Euler step of its potential form; one row block.

    τ = Δt + log(1 + exp(ρ))
    v_t = v_{t-1} + Δt / τ (-v_{t-1} + R tanh(v_{t-1}) + W x_t + b)
    y_t = tanh(v_t)

    ρ, one number a unit, is trained; that τ >= Δt keeps the step stable.

    Args:
        dt: Δt, the time between steps, in the unit of τ; above 0.

    Raises:
        RnnZooError: `dt` of 0 or less.
    """

    gates, State, hidden_bias, vectors = 1, Potential, False, ("rho",)
    rho: Tensor

    def __init__(self, input_size: int, hidden_size: int, *, dt: float = 1.0, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.dt = above_zero("dt of ctrnn", dt)

    def step(self, u: Tensor, s: Potential) -> Potential:
        rate = self.dt / (self.dt + F.softplus(self.rho))
        return Potential(s.v + rate * (u + s.v.tanh() @ self.weight_hh.t() - s.v))

    def emit(self, s: Potential) -> Tensor:
        return s.v.tanh()
