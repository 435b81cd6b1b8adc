"""Cells that conserve what they are given."""

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnzoo.cells.contract import Cell, HiddenCell, at_least_one
from rnnzoo.cells.registry import register
from rnnzoo.errors import RnnZooError
from rnnzoo.initialize import orthogonal_


@register("mc_lstm")
class MCLSTM(Cell):
    """Hoedt et al. 2021, the mass-conserving LSTM: what comes in stays in c or goes out; rows o, i (M H), r (H H).

    x_t = (m, a), the first M features are mass, the others auxiliary
    o, i, r = W a + R c_{t-1} / |c_{t-1}|_1 + b, where c = 0 without its division
    c* = m N + c_{t-1} S,   N (M, H) = softmax(i),  S (H, H) = softmax(r), rows that sum to 1
    h_t = σ(o) c*
    c_t = c* - h_t

    Σ c_t + Σ h_t = Σ c_{t-1} + Σ m: nothing is lost. Starts as in the authors' code: the weights of o, of i and of r
    orthogonal, b_o = -3, b_i = 0, and b_r the identity.

    Args:
        mass_size: M, features of x that are mass, 0 or more each; the others steer the gates.

    Raises:
        RnnZooError: `mass_size` above `input_size`.
    """

    State = HiddenCell
    weight_hh: Tensor

    def __init__(self, input_size: int, hidden_size: int, *, mass_size: int = 1, bias: bool = True):
        if at_least_one("mass_size", mass_size) > input_size:
            raise RnnZooError(f"mass_size of mc_lstm must be at most input_size={input_size}, not {mass_size}")
        self.mass_size = mass_size
        super().__init__(input_size, hidden_size, bias=bias)

    @property
    def row_sizes(self) -> list[int]:
        """Rows of o, i and r."""
        H = self.hidden_size
        return [H, self.mass_size * H, H * H]

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        rows = sum(self.row_sizes)
        return {
            "weight_ih": (rows, self.input_size - self.mass_size),
            "weight_hh": (rows, self.hidden_size),
            "bias_ih": (rows,) if self.bias else None,
        }

    def reset_parameters(self) -> None:
        both = torch.cat([self.weight_ih, self.weight_hh], -1).detach()
        for W in both.split(self.row_sizes):
            orthogonal_(W)
        with torch.no_grad():
            self.weight_ih.copy_(both[:, : -self.hidden_size])
            self.weight_hh.copy_(both[:, -self.hidden_size :])
            if self.bias_ih is not None:
                b_o, b_i, b_r = self.bias_ih.split(self.row_sizes)
                b_o.fill_(-3)
                b_i.zero_()
                b_r.copy_(torch.eye(self.hidden_size).flatten())

    def project(self, x: Tensor, **inputs: Tensor) -> tuple[Tensor, Tensor]:
        m, a = x.split([self.mass_size, self.input_size - self.mass_size], -1)
        return m, F.linear(a, self.weight_ih, self.bias_ih)

    def step(self, u: tuple[Tensor, Tensor], s: HiddenCell) -> HiddenCell:
        m, wa = u
        size = s.c.abs().sum(-1, keepdim=True)
        share = s.c / torch.where(size == 0, 1.0, size)
        o, i, r = (wa + F.linear(share, self.weight_hh)).split(self.row_sizes, -1)
        N, S = (a.unflatten(-1, (-1, self.hidden_size)).softmax(-1) for a in (i, r))
        total = torch.einsum("bm,bmh->bh", m, N) + torch.einsum("bg,bgh->bh", s.c, S)
        h = o.sigmoid() * total
        return HiddenCell(h, total - h)
