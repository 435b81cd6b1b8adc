"""Cells whose state is a gated sum: content from x alone, and gates that are not tied to each other."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnzoo.cells.contract import Cell, GatedCell, Hidden, HiddenCell
from rnnzoo.cells.registry import register


@register("ran")
class RAN(GatedCell):
    """Lee, Levy & Zettlemoyer 2017, the recurrent additive network; rows of W c i f, of R and b i f.

    n = W_c x_t
    i, f = W_if x_t + R h_{t-1} + b
    c_t = σ(i) n + σ(f) c_{t-1}
    h_t = tanh(c_t), or c_t

    b starts from zero, as in the authors' code; W and R as torch's modules, from U(-1/√H, 1/√H), our choice.

    Args:
        identity: h_t = c_t, the paper's second form.
    """

    gates, State, hidden_bias = 3, HiddenCell, False

    def __init__(self, input_size: int, hidden_size: int, *, identity: bool = False, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.identity = identity

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        H = self.hidden_size
        return super().parameter_shapes() | {
            "weight_hh": (2 * H, H),
            "bias_ih": (2 * H,) if self.bias else None,
        }

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.bias_ih is not None:
            nn.init.zeros_(self.bias_ih)

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        b = None if self.bias_ih is None else F.pad(self.bias_ih, (self.hidden_size, 0))  # the content has none
        return F.linear(x, self.weight_ih, b)

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        n, wx_if = wx.split([self.hidden_size, 2 * self.hidden_size], -1)
        i, f = (wx_if + rh).sigmoid().chunk(2, -1)
        c = i * n + f * s.c
        return HiddenCell(c if self.identity else c.tanh(), c)


@register("atr")
class ATR(GatedCell):
    """Zhang et al. 2018, the addition-subtraction twin-gated recurrent network; one row block, biases do not merge.

    p = W x_t + b
    q = R h_{t-1} + d
    h_t = σ(p + q) p + σ(p - q) h_{t-1}

    The paper writes no biases; the authors' code has both, and starts every parameter from U(-0.08, 0.08).
    """

    gates, State = 1, Hidden

    def reset_parameters(self) -> None:
        for p in self.parameters():
            nn.init.uniform_(p, -0.08, 0.08)

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        return Hidden((wx + rh).sigmoid() * wx + (wx - rh).sigmoid() * s.h)


@register("cfn")
class CFN(GatedCell):
    """Laurent & von Brecht 2017, the chaos-free network; rows of W θ η h, of R and b θ η.

    θ, η = W_θη x_t + R h_{t-1} + b
    h_t = σ(θ) tanh(h_{t-1}) + σ(η) tanh(W_h x_t)

    As in the paper, weights start from U(-0.07, 0.07), b_θ = 1 and b_η = -1.
    """

    gates, State, hidden_bias = 3, Hidden, False

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        H = self.hidden_size
        return super().parameter_shapes() | {
            "weight_hh": (2 * H, H),
            "bias_ih": (2 * H,) if self.bias else None,
        }

    def reset_parameters(self) -> None:
        for W in (self.weight_ih, self.weight_hh):
            nn.init.uniform_(W, -0.07, 0.07)
        if self.bias_ih is not None:
            for b, value in zip(self.bias_ih.chunk(2), (1.0, -1.0), strict=True):
                nn.init.constant_(b, value)

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        gates, n = F.linear(x, self.weight_ih).split([2 * self.hidden_size, self.hidden_size], -1)
        return torch.cat([gates if self.bias_ih is None else gates + self.bias_ih, n.tanh()], -1)

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        gates, n = wx.split([2 * self.hidden_size, self.hidden_size], -1)
        keep, write = (gates + rh).sigmoid().chunk(2, -1)
        return Hidden(keep * s.h.tanh() + write * n)


@register("lrn")
class LRN(Cell):
    """Zhang & Sennrich 2019, the lightweight recurrent network, without a recurrent matrix; rows p q v.

    p, q, v = W x_t + b
    h_t = g(σ(p + h_{t-1}) v + σ(q - h_{t-1}) h_{t-1}),   g tanh or identity

    As in the authors' code, W starts as Glorot & Bengio 2010 have it, its three blocks as one matrix, and b from zero.

    Args:
        identity: the paper's second form, whose state has no bound.
    """

    gates, State = 3, Hidden

    def __init__(self, input_size: int, hidden_size: int, *, identity: bool = False, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.identity = identity

    def reset_parameters(self) -> None:
        nn.init.xavier_uniform_(self.weight_ih)
        if self.bias_ih is not None:
            nn.init.zeros_(self.bias_ih)

    def step(self, u: Tensor, s: Hidden) -> Hidden:
        p, q, v = u.chunk(3, -1)
        h = (p + s.h).sigmoid() * v + (q - s.h).sigmoid() * s.h
        return Hidden(h if self.identity else h.tanh())
