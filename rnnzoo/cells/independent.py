"""Networks whose units are independent of each other within a layer."""

import math

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import Cell, Hidden, at_least_one
from rnnzoo.cells.registry import register
from rnnzoo.errors import RnnZooError


@register("indrnn")
class IndRNN(Cell):
    """Li et al. 2018, IndRNN, in which a unit sees of the past itself alone; one row block.

    h_t = φ(W x_t + u h_{t-1} + b)

    u is `weight_hh`. Units meet in the next layer's W: stack two or more. As in the paper, u starts from
    U(g^(1/N), G^(1/N)), with N = `max_steps`, g = `min_gain` and G = `max_gain`: over N steps a unit multiplies what it
    holds by g to G. W starts as He et al. 2015 have it, b from zero. `constrain_` keeps |u| at most G^(1/N) in
    training, as the paper does.

    Args:
        activation: φ, "relu" as in the paper, or "tanh".
        max_steps: N, time steps of a sequence.
        max_gain: G.
        min_gain: g; the paper's last layer, where memory is to be long, has one near G, such as 1 / G.

    Raises:
        RnnZooError: another activation, or gains that are not 0 <= min_gain <= max_gain.
    """

    gates, State, vectors = 1, Hidden, ("weight_hh",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: str = "relu",
        max_steps: int = 100,
        max_gain: float = 2.0,
        min_gain: float = 0.0,
        bias: bool = True,
    ):
        super().__init__(input_size, hidden_size, bias=bias)
        if activation not in ("relu", "tanh"):
            raise RnnZooError(f"activation of indrnn must be 'relu' or 'tanh', not {activation!r}")
        if not 0 <= min_gain <= max_gain < math.inf:
            raise RnnZooError(f"gains of indrnn must be 0 <= min_gain <= max_gain, not {min_gain} and {max_gain}")
        self.activation, self.max_steps = activation, at_least_one("max_steps", max_steps)
        self.max_gain, self.min_gain = max_gain, min_gain

    def reset_parameters(self) -> None:
        nn.init.kaiming_normal_(self.weight_ih, nonlinearity=self.activation)  # type: ignore[arg-type]  # checked above
        low, high = (gain ** (1 / self.max_steps) for gain in (self.min_gain, self.max_gain))
        nn.init.uniform_(self.weight_hh, low, high)
        if self.bias_ih is not None:
            nn.init.zeros_(self.bias_ih)

    @torch.no_grad()
    def constrain_(self) -> None:
        """Brings u back to where |u| <= max_gain^(1/max_steps)."""
        bound = self.max_gain ** (1 / self.max_steps)
        self.weight_hh.clamp_(-bound, bound)

    def step(self, u: Tensor, s: Hidden) -> Hidden:
        a = u + self.weight_hh * s.h
        return Hidden(a.relu() if self.activation == "relu" else a.tanh())
