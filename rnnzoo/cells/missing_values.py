"""Cells for series with missing values."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.cells.contract import Cell
from rnnzoo.cells.registry import register
from rnnzoo.errors import RnnZooError
from rnnzoo.initialize import orthogonal_


class HiddenAndSeen(NamedTuple):
    """Output h (B, H), and of every variable the value last observed, x (B, I)."""

    h: Tensor
    x: Tensor


@register("gru_d")
class GRUD(Cell):
    """Che et al. 2018, GRU-D, which lets what it has not seen for long decay towards the mean; rows r z n.

    γ_x = exp(-max(0, w_γ δ_t + b_γ)),   γ_h = exp(-max(0, W_γ δ_t + d_γ))
    x̂ = x_t where m_t, else γ_x x' + (1 - γ_x) x̄;   x' becomes x_t where m_t
    ĥ = γ_h h_{t-1}
    r = σ(W_r x̂ + R_r ĥ + V_r m_t + b_r)
    z = σ(W_z x̂ + R_z ĥ + V_z m_t + b_z)
    n = tanh(W_n x̂ + R_n (r ĥ) + V_n m_t + b_n)
    h_t = (1 - z) ĥ + z n

    This is the paper; the authors' code keeps the undecayed h_{t-1} and tells the gates 1 - m_t. Missing values of x
    may be NaN. The mean x̄, the buffer `mean` (I,), is zero until it is set, as for standardised data; x' starts there.
    W and V start Glorot, each R orthogonal, biases from zero, as in the authors' code; the weights of the decays from
    U(0, 1/√I), for below zero the maximum has no gradient.

    Further inputs, each of (..., I), or (..., 1) for all variables alike:
        mask: m_t, which variables are observed; true, or above one half.
        dt: δ_t, the time since each was last observed before this step; ``time_since_observed`` gives it.

    Raises:
        RnnZooError: a mask or a dt of another size.
    """

    State, inputs = HiddenAndSeen, ("mask", "dt")
    mean: Tensor
    weight_mh: Tensor
    decay_x: Tensor
    bias_decay_x: Tensor | None
    decay_h: Tensor
    bias_decay_h: Tensor | None

    def __init__(self, input_size: int, hidden_size: int, *, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.register_buffer("mean", torch.zeros(input_size))

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        I, H = self.input_size, self.hidden_size
        return {
            "weight_ih": (3 * H, I),
            "weight_hh": (3 * H, H),
            "weight_mh": (3 * H, I),
            "bias_ih": (3 * H,) if self.bias else None,
            "decay_x": (I,),
            "bias_decay_x": (I,) if self.bias else None,
            "decay_h": (H, I),
            "bias_decay_h": (H,) if self.bias else None,
        }

    def reset_parameters(self) -> None:
        for W in (*self.weight_ih.chunk(3), *self.weight_mh.chunk(3)):
            nn.init.xavier_uniform_(W)
        for R in self.weight_hh.chunk(3):
            orthogonal_(R)
        for W in (self.decay_x, self.decay_h):
            nn.init.uniform_(W, 0, 1 / math.sqrt(self.input_size))
        for b in (self.bias_ih, self.bias_decay_x, self.bias_decay_h):
            if b is not None:
                nn.init.zeros_(b)

    def initial_state(self, batch: int, like: Tensor) -> HiddenAndSeen:
        return HiddenAndSeen(like.new_zeros(batch, self.hidden_size), self.mean.to(like).repeat(batch, 1))

    def project(self, x: Tensor, mask: Tensor, dt: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]  # inputs by name
        for name, a in (("mask", mask), ("dt", dt)):
            if a.shape[-1] not in (1, self.input_size):
                raise RnnZooError(f"{name} of gru_d must have 1 or {self.input_size} features, not {a.shape[-1]}")
        mask, dt = mask.to(x.dtype).expand(x.shape), dt.expand(x.shape)
        since = dt * self.decay_x if self.bias_decay_x is None else dt * self.decay_x + self.bias_decay_x
        gamma_x, gamma_h = (-since.relu()).exp(), (-F.linear(dt, self.decay_h, self.bias_decay_h).relu()).exp()
        return x, mask, gamma_x, gamma_h, F.linear(mask, self.weight_mh, self.bias_ih)

    def step(self, u: tuple[Tensor, ...], s: HiddenAndSeen) -> HiddenAndSeen:
        x, mask, gamma_x, gamma_h, vm = u
        observed = mask > 0.5
        filled = torch.where(observed, x, gamma_x * s.x + (1 - gamma_x) * self.mean)
        h, rows = gamma_h * s.h, [2 * self.hidden_size, self.hidden_size]
        (wx_rz, wx_n), (R_rz, R_n) = (vm + filled @ self.weight_ih.t()).split(rows, -1), self.weight_hh.split(rows)
        r, z = (wx_rz + h @ R_rz.t()).sigmoid().chunk(2, -1)
        n = (wx_n + (r * h) @ R_n.t()).tanh()
        return HiddenAndSeen((1 - z) * h + z * n, torch.where(observed, x, s.x))


def time_since_observed(gaps: Tensor, mask: Tensor) -> Tensor:
    """δ (T, ..., I), for every variable the time since the step before this one at which it was observed.

    Args:
        gaps: (T, ..., 1), the time since the step before; of the first step it does not matter.
        mask: (T, ..., I), which variables are observed.
    """
    since = [torch.zeros_like(gaps[0].expand(mask[0].shape))]
    for gap, seen in zip(gaps[1:], mask[:-1], strict=True):
        since.append(gap + torch.where(seen > 0.5, 0, since[-1]))
    return torch.stack(since)
