"""Memories of a sliding window in Legendre polynomials."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import Cell, at_least_one
from rnnzoo.cells.registry import register
from rnnzoo.errors import RnnZooError


class HiddenMemory(NamedTuple):
    """Output h (B, H) and memory m (B, order)."""

    h: Tensor
    m: Tensor


@register("lmu")
class LMU(Cell):
    """Voelker et al. 2019, the Legendre memory unit: the last θ steps of a number in d polynomials; one row block.

    u_t = e_x x_t + e_h h_{t-1} + e_m m_{t-1}
    m_t = A m_{t-1} + B u_t
    h_t = tanh(W x_t + R h_{t-1} + M m_t + b)

    A and B are buffers: the system θ dm/dt = A' m + B' u, held for one step, with
    A'_ij = (2i + 1) (-1 if i < j else (-1)^{i-j+1}) and B'_i = (2i + 1) (-1)^i. Then the number of s steps ago, s in
    0 to θ, is Σ_i P_i(2 s/θ - 1) m_i, P_i the Legendre polynomials.

    As in the paper, e_x and e_h start LeCun uniform, e_m from zero, W, R and M from Glorot's normal distribution; b,
    which the paper leaves out, from zero.

    Args:
        order: d, the numbers in the memory.
        theta: θ, the length of the window in steps, above 0.

    Raises:
        RnnZooError: `order` below 1, or `theta` not above 0.
    """

    State = HiddenMemory
    A: Tensor
    B: Tensor
    weight_mh: Tensor
    encoder_ih: Tensor
    encoder_hh: Tensor
    encoder_mh: Tensor

    def __init__(self, input_size: int, hidden_size: int, *, order: int = 16, theta: float = 64.0, bias: bool = True):
        if not theta > 0:
            raise RnnZooError(f"theta of lmu must be above 0 steps, not {theta}")
        self.order, self.theta = at_least_one("order", order), theta
        super().__init__(input_size, hidden_size, bias=bias)
        A, B = legendre_memory(order, theta)
        self.register_buffer("A", torch.empty(order, order).copy_(A))
        self.register_buffer("B", torch.empty(order).copy_(B))

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        I, H, d = self.input_size, self.hidden_size, self.order
        return {
            "weight_ih": (H, I),
            "weight_hh": (H, H),
            "weight_mh": (H, d),
            "bias_ih": (H,) if self.bias else None,
            "encoder_ih": (1, I),
            "encoder_hh": (1, H),
            "encoder_mh": (1, d),
        }

    def reset_parameters(self) -> None:
        for W in (self.weight_ih, self.weight_hh, self.weight_mh):
            nn.init.xavier_normal_(W)
        for e in (self.encoder_ih, self.encoder_hh):
            bound = math.sqrt(3 / e.shape[1])
            nn.init.uniform_(e, -bound, bound)
        nn.init.zeros_(self.encoder_mh)
        if self.bias_ih is not None:
            nn.init.zeros_(self.bias_ih)

    def initial_state(self, batch: int, like: Tensor) -> HiddenMemory:
        return HiddenMemory(like.new_zeros(batch, self.hidden_size), like.new_zeros(batch, self.order))

    def project(self, x: Tensor, **inputs: Tensor) -> tuple[Tensor, Tensor]:
        return nn.functional.linear(x, self.weight_ih, self.bias_ih), x @ self.encoder_ih.t()

    def step(self, u: tuple[Tensor, Tensor], s: HiddenMemory) -> HiddenMemory:
        wx, ex = u
        write = ex + s.h @ self.encoder_hh.t() + s.m @ self.encoder_mh.t()
        m = s.m @ self.A.t() + write * self.B
        return HiddenMemory((wx + s.h @ self.weight_hh.t() + m @ self.weight_mh.t()).tanh(), m)


def legendre_memory(order: int, theta: float) -> tuple[Tensor, Tensor]:
    """A (order, order) and B (order,) in float64, exact for an input that is held for one of `theta` steps."""
    i = torch.arange(order, dtype=torch.float64, device="cpu")
    below = -((-1.0) ** (i[:, None] - i))
    A, B = (2 * i[:, None] + 1) * torch.where(i[:, None] < i, -1.0, below), (2 * i + 1) * (-1.0) ** i
    system = torch.cat([torch.cat([A, B[:, None]], 1), torch.zeros(1, order + 1, dtype=A.dtype, device="cpu")])
    held = torch.linalg.matrix_exp(system / theta)
    return held[:order, :order], held[:order, order]
