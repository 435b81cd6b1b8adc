"""Networks of driven oscillators: each unit has a position and a velocity."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import Cell, GatedCell, above_zero, between
from rnnzoo.cells.registry import register
from rnnzoo.errors import RnnZooError


class PositionVelocity(NamedTuple):
    """Where each oscillator is, which is the output, and how fast it goes."""

    y: Tensor
    z: Tensor


@register("cornn")
class CoRNN(GatedCell):
    """Rusch & Mishra 2021, coRNN: coupled, damped, driven oscillators; one row block, columns of `weight_hh` y z.

    z_t = z_{t-1} + Δt (tanh(V x_t + R_y y_{t-1} + R_z z_{t-1} + b) - γ y_{t-1} - ε z)
    y_t = y_{t-1} + Δt z_t

    The last z is z_{t-1} with explicit damping, z_t with implicit; the paper has both. The output is y. Starts from
    U(-1/√(I + 2H), 1/√(I + 2H)), as the authors' code, and with the values that the paper has for sequential MNIST.

    Args:
        dt: Δt, the size of a step.
        gamma: γ, the square of the oscillators' frequency.
        epsilon: ε, damping.
        damping: "explicit" or "implicit".

    Raises:
        RnnZooError: `dt` not above 0, `gamma` or `epsilon` below 0, or another `damping`.
    """

    gates, State, hidden_bias = 1, PositionVelocity, False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        dt: float = 0.042,
        gamma: float = 2.7,
        epsilon: float = 4.7,
        damping: str = "explicit",
        bias: bool = True,
    ):
        super().__init__(input_size, hidden_size, bias=bias)
        if damping not in ("explicit", "implicit"):
            raise RnnZooError(f"damping of cornn must be 'explicit' or 'implicit', not {damping!r}")
        self.dt, self.damping = above_zero("dt of cornn", dt), damping
        self.gamma = between("gamma of cornn", gamma, 0)
        self.epsilon = between("epsilon of cornn", epsilon, 0)

    @property
    def recurrent_size(self) -> int:
        return 2 * self.hidden_size

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.input_size + 2 * self.hidden_size)
        for p in self.parameters():
            nn.init.uniform_(p, -bound, bound)

    def step(self, u: Tensor, s: PositionVelocity) -> PositionVelocity:
        force = (u + torch.cat([s.y, s.z], -1) @ self.weight_hh.t()).tanh() - self.gamma * s.y
        if self.damping == "explicit":
            z = s.z + self.dt * (force - self.epsilon * s.z)
        else:
            z = (s.z + self.dt * force) / (1 + self.dt * self.epsilon)
        return PositionVelocity(s.y + self.dt * z, z)


@register("unicornn")
class UnICORNN(Cell):
    """Rusch & Mishra 2021, UnICORNN: undamped oscillators, independent within a layer, invertible; one row block.

    z_t = z_{t-1} - Δt σ(c) (tanh(V x_t + w y_{t-1} + b) + α y_{t-1})
    y_t = y_{t-1} + Δt σ(c) z_t

    w is `weight_hh`. The output is y; units meet in the next layer's V. As in the authors' code, w starts from U(0, 1),
    c from U(-0.1, 0.1), b from zero and V as nn.init.kaiming_uniform_(a=8).

    Args:
        dt: Δt, twice the step that the units start with; the paper's run from 0.03 to 0.19.
        alpha: α, at least 0, the square of the frequency that a unit has by itself; the paper's run from 0 to 30.

    Raises:
        RnnZooError: `dt` not above 0, or `alpha` below 0.
    """

    gates, State, vectors = 1, PositionVelocity, ("weight_hh", "c")
    c: Tensor

    def __init__(self, input_size: int, hidden_size: int, *, dt: float = 0.1, alpha: float = 1.0, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.dt, self.alpha = above_zero("dt of unicornn", dt), between("alpha of unicornn", alpha, 0)

    def reset_parameters(self) -> None:
        nn.init.kaiming_uniform_(self.weight_ih, a=8)
        nn.init.uniform_(self.weight_hh, 0, 1)
        nn.init.uniform_(self.c, -0.1, 0.1)
        if self.bias_ih is not None:
            nn.init.zeros_(self.bias_ih)

    def step(self, u: Tensor, s: PositionVelocity) -> PositionVelocity:
        dt = self.dt * self.c.sigmoid()
        z = s.z - dt * ((u + self.weight_hh * s.y).tanh() + self.alpha * s.y)
        return PositionVelocity(s.y + dt * z, z)
