"""Highway networks within a time step."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.cells.contract import GatedCell, Hidden, at_least_one
from rnnzoo.cells.registry import register


@register("rhn")
class RHN(GatedCell):
    """Zilly et al. 2017, recurrent highway network with carry 1 - t, as in the paper's experiments; rows h t.

    s = h_{t-1}, then for k = 1 ... L
        h, t = W x_t (at k = 1 alone) + R_k s + b_k
        s = σ(t) tanh(h) + (1 - σ(t)) s
    h_t = s

    L dependent products; `weight_hh` and `bias_hh` hold the L layers' below each other. As in the paper, weights start
    from U(-0.04, 0.04) and the biases of t below zero, so that at first much is carried; other biases from zero.

    Args:
        depth: L, at least 1; the paper's language models have up to 10.
        gate_bias: what the biases of t start from; -2 to -4 in the paper.
    """

    gates, State = 2, Hidden

    def __init__(
        self, input_size: int, hidden_size: int, *, depth: int = 3, gate_bias: float = -2.0, bias: bool = True
    ):
        self.depth = at_least_one("depth", depth)
        super().__init__(input_size, hidden_size, bias=bias)
        self.gate_bias = gate_bias

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        rows = self.gates * self.hidden_size
        return {
            "weight_ih": (rows, self.input_size),
            "weight_hh": (self.depth * rows, self.hidden_size),
            "bias_ih": None,
            "bias_hh": (self.depth * rows,) if self.bias else None,
        }

    def reset_parameters(self) -> None:
        for W in (self.weight_ih, self.weight_hh):
            nn.init.uniform_(W, -0.04, 0.04)
        if self.bias_hh is not None:
            with torch.no_grad():
                b = self.bias_hh.view(self.depth, self.gates, self.hidden_size)
                b.zero_()
                b[:, 1] = self.gate_bias
                b[:, 2:] = -self.gate_bias

    def step(self, u: Tensor, s: Hidden) -> Hidden:
        h, Rs = s.h, self.weight_hh.chunk(self.depth)
        bs = (None,) * self.depth if self.bias_hh is None else self.bias_hh.chunk(self.depth)
        for k, (R, b) in enumerate(zip(Rs, bs, strict=True)):
            a = F.linear(h, R, b)
            h = self.highway(a if k else u + a, h)
        return Hidden(h)

    def highway(self, a: Tensor, s: Tensor) -> Tensor:
        """One layer's output from its gates before their squashes, (B, G H), and what it got (B, H)."""
        h, t = a.chunk(2, -1)
        t = t.sigmoid()
        return t * h.tanh() + (1 - t) * s


@register("uncoupled_rhn")
class UncoupledRHN(RHN):
    """Zilly et al. 2017, recurrent highway network with a carry gate of its own; rows h t c.

    s = h_{t-1}, then for k = 1 ... L
        h, t, c = W x_t (at k = 1 alone) + R_k s + b_k
        s = σ(t) tanh(h) + σ(c) s
    h_t = s

    Starts as `rhn` does, the biases of c from the negative of those of t. Unlike `rhn`, its state has no bound.

    Args:
        depth: L, at least 1.
        gate_bias: what the biases of t start from.
    """

    gates = 3

    def highway(self, a: Tensor, s: Tensor) -> Tensor:
        h, t, c = a.chunk(3, -1)
        return t.sigmoid() * h.tanh() + c.sigmoid() * s
