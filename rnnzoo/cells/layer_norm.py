"""Gated cells whose products are layer-normalised."""

import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.cells.contract import GatedCell, Hidden, HiddenCell
from rnnzoo.cells.registry import register
from rnnzoo.errors import RnnZooError
from rnnzoo.initialize import orthogonal_


class _LayerNormed(GatedCell):
    """What the two share: gains of both products, and how they start."""

    hidden_bias = False
    gain_ih: Tensor
    gain_hh: Tensor

    def __init__(self, input_size: int, hidden_size: int, *, eps: float = 1e-5, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        if eps <= 0:
            raise RnnZooError(f"eps must be above 0, not {eps}")
        self.eps = eps

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        rows = self.gates * self.hidden_size
        return super().parameter_shapes() | {"gain_ih": (rows,), "gain_hh": (rows,)}

    def reset_parameters(self) -> None:
        super().reset_parameters()
        for R in self.weight_hh.chunk(self.gates):
            orthogonal_(R)
        for name, p in self.named_parameters():
            if name.startswith("gain"):
                nn.init.ones_(p)
            elif name.startswith("bias"):
                nn.init.zeros_(p)

    def normed(self, a: Tensor, gain: Tensor, shift: Tensor | None = None) -> Tensor:
        """LN over the last axis, with the biased variance."""
        wide = a.to(gain.dtype)  # in bfloat16 a small spread drowns
        return F.layer_norm(wide, a.shape[-1:], gain, shift, self.eps)


@register("layernorm_lstm")
class LayerNormLSTM(_LayerNormed):
    """Ba, Kiros & Hinton 2016, the layer-normalised LSTM; rows i f g o, each product normalised over all 4H of them.

    i, f, g, o = LN(W x_t; γ_x) + LN(R h_{t-1}; γ_h) + b
    c_t = σ(f) c_{t-1} + σ(i) tanh(g)
    h_t = σ(o) tanh(LN(c_t; γ_c) + b_c)
    LN(a; γ) = γ (a - mean(a)) / √(var(a) + eps)

    c_t goes on as it is; it is normalised for the output alone. The paper's further shifts, one in each product, add
    to b and are left out. Starts with γ = 1, biases 0 and each R orthogonal, as the authors' code; the scale of W
    does not matter.

    Args:
        eps: what is added to a variance.
        bias: whether there are b and b_c.

    Raises:
        RnnZooError: `eps` of 0 or less.
    """

    gates, State = 4, HiddenCell
    rows = ("write", "keep", "new", "read")
    gain_c: Tensor
    bias_c: Tensor | None

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        H = self.hidden_size
        return super().parameter_shapes() | {"gain_c": (H,), "bias_c": (H,) if self.bias else None}

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        return self.normed(F.linear(x, self.weight_ih), self.gain_ih, self.bias_ih)

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        i, f, g, o = (wx + self.normed(rh, self.gain_hh)).chunk(4, -1)
        c = f.sigmoid() * s.c + i.sigmoid() * g.tanh()
        return HiddenCell(o.sigmoid() * self.normed(c, self.gain_c, self.bias_c).tanh(), c)


@register("layernorm_gru")
class LayerNormGRU(_LayerNormed):
    """Ba, Kiros & Hinton 2016, the layer-normalised GRU; rows r z n, r and z normalised together over 2H, n over H.

    r, z = σ(LN(W_rz x_t; γ_x) + LN(R_rz h_{t-1}; γ_h) + b_rz)
    n = tanh(LN(W_n x_t; γ_x) + b_n + r (LN(R_n h_{t-1}; γ_h) + d_n))
    h_t = (1 - z) n + z h_{t-1}
    LN(a; γ) = γ (a - mean(a)) / √(var(a) + eps)

    The sign of z is that of the authors' code, and nn.GRU's; the paper's appendix prints the other. Starts with γ = 1,
    biases 0 and each R orthogonal, as the authors' code; the scale of W does not matter.

    Args:
        eps: what is added to a variance.
        bias: whether there are b and d.

    Raises:
        RnnZooError: `eps` of 0 or less.
    """

    gates, State = 3, Hidden
    rows = ("reset", "keep", "new")
    bias_hn: Tensor | None

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {"bias_hn": (self.hidden_size,) if self.bias else None}

    def project(self, x: Tensor, **inputs: Tensor) -> tuple[Tensor, Tensor]:
        H = self.hidden_size
        wx_rz, wx_n = F.linear(x, self.weight_ih).split([2 * H, H], -1)
        gain_rz, gain_n = self.gain_ih.split([2 * H, H])
        b_rz, b_n = (None, None) if self.bias_ih is None else self.bias_ih.split([2 * H, H])
        return self.normed(wx_rz, gain_rz, b_rz), self.normed(wx_n, gain_n, b_n)

    def step(self, u: tuple[Tensor, Tensor], s: Hidden) -> Hidden:
        H = self.hidden_size
        rh_rz, rh_n = F.linear(s.h, self.weight_hh).split([2 * H, H], -1)
        gain_rz, gain_n = self.gain_hh.split([2 * H, H])
        r, z = (u[0] + self.normed(rh_rz, gain_rz)).sigmoid().chunk(2, -1)
        n = (u[1] + r * self.normed(rh_n, gain_n, self.bias_hn)).tanh()
        return Hidden((1 - z) * n + z * s.h)
