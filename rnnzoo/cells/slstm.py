"""The scalar memory of xLSTM."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.cells.contract import GatedCell, at_least_one
from rnnzoo.cells.registry import register
from rnnzoo.errors import RnnZooError


class NormalizedState(NamedTuple):
    """A memory c and its normalizer n, both as multiples of exp(m)."""

    h: Tensor
    c: Tensor
    n: Tensor
    m: Tensor


@register("slstm")
class SLSTM(GatedCell):
    """Beck et al. 2024, sLSTM of xLSTM, an LSTM with exponential input gates and a normalizer; rows i f z o.

    i, f, z, o = W x_t + R h_{t-1} + b
    m_t = max(log σ(f) + m_{t-1}, i), or i where n_{t-1} = 0
    c_t = σ(f) exp(m_{t-1} - m_t) c_{t-1} + exp(i - m_t) tanh(z)
    n_t = σ(f) exp(m_{t-1} - m_t) n_{t-1} + exp(i - m_t)
    h_t = σ(o) c_t / n_t

    R is block-diagonal, a block a head; weight_hh holds those of each head, (heads, 4 H / heads, H / heads). The norm
    of the authors' block comes after the cell and is not in it. Starts as in the authors' code: R = 0,
    W ~ N(0, 2 / 5 I), b_f from 5 at the first unit of a head down to -7 at the last, all other biases 0.

    Args:
        heads: blocks of R; the authors take 4.

    Raises:
        RnnZooError: `heads` that do not divide H.
    """

    gates, State, hidden_bias = 4, NormalizedState, False
    rows = ("write", "keep", "new", "read")

    def __init__(self, input_size: int, hidden_size: int, *, heads: int = 1, bias: bool = True):
        if at_least_one("hidden_size", hidden_size) % at_least_one("heads", heads):
            raise RnnZooError(f"heads of slstm must divide hidden_size={hidden_size}, which {heads} does not")
        self.heads = heads
        super().__init__(input_size, hidden_size, bias=bias)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        d = self.hidden_size // self.heads
        return super().parameter_shapes() | {"weight_hh": (self.heads, 4 * d, d)}

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight_ih, std=math.sqrt(2 / (5 * self.input_size)))
        nn.init.zeros_(self.weight_hh)
        if self.bias_ih is not None:
            d = self.hidden_size // self.heads
            down = torch.linspace(0, 1, d, dtype=torch.float64) ** 0.3
            with torch.no_grad():
                self.bias_ih.zero_().chunk(4)[1].copy_((5 - 12 * down).repeat(self.heads))

    def step(self, u: Tensor, s: NormalizedState) -> NormalizedState:
        rh = torch.einsum("bnd,ned->bne", s.h.unflatten(-1, (self.heads, -1)), self.weight_hh)
        i, f, z, o = (wx + r.flatten(-2) for wx, r in zip(u.chunk(4, -1), rh.chunk(4, -1), strict=True))
        kept = F.logsigmoid(f) + s.m
        m = torch.where(s.n == 0, i, torch.maximum(kept, i))
        write, keep = (i - m).exp(), (kept - m).clamp(max=0).exp()  # above 0 where n = 0 alone, and then c = 0
        c, n = keep * s.c + write * z.tanh(), keep * s.n + write
        return NormalizedState(o.sigmoid() * c / n, c, n, m)
