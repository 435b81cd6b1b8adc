"""Networks of two states, one faster and one slower."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnzoo.cells.contract import Cell, GatedCell, above_zero, at_least_one, between
from rnnzoo.cells.registry import register


class HiddenContext(NamedTuple):
    """Hidden units (B, H) and slow context units (B, C)."""

    h: Tensor
    context: Tensor


@register("scrn")
class SCRN(Cell):
    """Mikolov et al. 2014, structurally constrained RNN: slow context units s beside the hidden ones; one row block.

    s_t = (1 - α) B x_t + α s_{t-1}
    h_t = σ(P s_t + A x_t + R h_{t-1} + b)

    A is `weight_ih`, R `weight_hh`, P `weight_sh` and B `weight_is`. The output is h_t and s_t side by side, for what
    reads it to make the paper's f(U h_t + V s_t) of. The paper has no b.

    Args:
        context_size: C, features of s.
        alpha: α, how much of the context is kept in a step, in [0, 1].

    Raises:
        RnnZooError: `context_size` below 1, or `alpha` outside [0, 1].
    """

    gates, State = 1, HiddenContext
    weight_sh: Tensor
    weight_is: Tensor

    def __init__(
        self, input_size: int, hidden_size: int, *, context_size: int = 40, alpha: float = 0.95, bias: bool = True
    ):
        self.context_size = at_least_one("context_size", context_size)
        super().__init__(input_size, hidden_size, bias=bias)
        self.alpha = between("alpha of scrn", alpha, 0, 1)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {
            "weight_hh": (self.hidden_size, self.hidden_size),
            "weight_sh": (self.hidden_size, self.context_size),
            "weight_is": (self.context_size, self.input_size),
        }

    @property
    def output_size(self) -> int:
        return self.hidden_size + self.context_size

    def initial_state(self, batch: int, like: Tensor) -> HiddenContext:
        return HiddenContext(like.new_zeros(batch, self.hidden_size), like.new_zeros(batch, self.context_size))

    def project(self, x: Tensor, **inputs: Tensor) -> tuple[Tensor, Tensor]:
        return super().project(x), (1 - self.alpha) * F.linear(x, self.weight_is)

    def step(self, u: tuple[Tensor, Tensor], s: HiddenContext) -> HiddenContext:
        ax, bx = u
        context = bx + self.alpha * s.context
        return HiddenContext((ax + context @ self.weight_sh.t() + s.h @ self.weight_hh.t()).sigmoid(), context)

    def emit(self, s: HiddenContext) -> Tensor:
        return torch.cat(s, -1)


class TwoScales(NamedTuple):
    """An output, and what it follows."""

    y: Tensor
    z: Tensor


@register("lem")
class LEM(GatedCell):
    """Rusch et al. 2022, Long Expressive Memory: two coupled states with learned time steps; rows d e z y.

    d, e, z = W x_t + R y_{t-1} + b
    z_t = (1 - Δt σ(e)) z_{t-1} + Δt σ(e) tanh(z)
    y_t = (1 - Δt σ(d)) y_{t-1} + Δt σ(d) tanh(W_y x_t + Q z_t + b_y)

    Two dependent products: Q, which is `weight_zy`, reads the new z. The output is y. Starts from U(-1/√H, 1/√H), as
    the authors' code.

    Args:
        dt: Δt, the longest time step, which the paper tunes: small for long memory; convex, and so bounded, up to 1.

    Raises:
        RnnZooError: `dt` not above 0.
    """

    gates, State, hidden_bias = 4, TwoScales, False
    weight_zy: Tensor

    def __init__(self, input_size: int, hidden_size: int, *, dt: float = 1.0, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.dt = above_zero("dt of lem", dt)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        H = self.hidden_size
        return super().parameter_shapes() | {"weight_hh": (3 * H, H), "weight_zy": (H, H)}

    def step(self, u: Tensor, s: TwoScales) -> TwoScales:
        wx, wx_y = u.split([3 * self.hidden_size, self.hidden_size], -1)
        d, e, z = (wx + s.y @ self.weight_hh.t()).chunk(3, -1)
        d, e = self.dt * d.sigmoid(), self.dt * e.sigmoid()
        new = (1 - e) * s.z + e * z.tanh()
        return TwoScales((1 - d) * s.y + d * (wx_y + new @ self.weight_zy.t()).tanh(), new)
