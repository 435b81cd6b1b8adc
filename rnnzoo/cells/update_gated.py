"""Cells with an update gate and no reset: h_t lies between h_{t-1} and what is new."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnzoo.cells.contract import GatedCell, Hidden
from rnnzoo.cells.registry import register
from rnnzoo.errors import RnnZooError
from rnnzoo.initialize import glorot_and_orthogonal_, orthogonal_


@register("ugrnn")
class UGRNN(GatedCell):
    """Collins, Sohl-Dickstein & Sussillo 2017, the update-gate RNN; rows c g.

    c, g = W x_t + R h_{t-1} + b
    h_t = σ(g) h_{t-1} + (1 - σ(g)) tanh(c)

    Starts with W Glorot, R orthogonal, b_c = 0 and b_g = 1, which TensorFlow adds in each step instead.
    """

    gates, State, hidden_bias = 2, Hidden, False
    rows = ("new", "keep")

    def reset_parameters(self) -> None:
        glorot_and_orthogonal_(self.weight_ih, self.weight_hh, self.bias_ih)
        if self.bias_ih is not None:
            nn.init.ones_(self.bias_ih[self.hidden_size :])

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        c, g = (wx + rh).chunk(2, -1)
        g = g.sigmoid()
        return Hidden(g * s.h + (1 - g) * c.tanh())


class Intersection(NamedTuple):
    """The output, which goes to the next layer, and the state, which goes to the next step."""

    y: Tensor
    h: Tensor


@register("intersection_rnn")
class IntersectionRNN(GatedCell):
    """Collins, Sohl-Dickstein & Sussillo 2017, the intersection RNN or +RNN, gated in depth and time; rows y h p q.

    x' = x_t if I = H else P x_t + b_P
    y, h, p, q = W x' + R h_{t-1} + b
    y_t = σ(p) x' + (1 - σ(p)) max(0, y)
    h_t = σ(q) h_{t-1} + (1 - σ(q)) tanh(h)

    p and q are the paper's g_y and g_h. y_t goes out, h_t is never seen. Starts with W and P Glorot, R orthogonal,
    b_p = b_q = 1, which TensorFlow adds in each step instead, and the other biases 0.
    """

    gates, State, hidden_bias = 4, Intersection, False
    weight_p: Tensor | None
    bias_p: Tensor | None

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        H, square = self.hidden_size, self.input_size == self.hidden_size
        return super().parameter_shapes() | {
            "weight_ih": (4 * H, H),
            "weight_p": None if square else (H, self.input_size),
            "bias_p": None if square or not self.bias else (H,),
        }

    def reset_parameters(self) -> None:
        glorot_and_orthogonal_(self.weight_ih, self.weight_hh, self.bias_ih, self.bias_p)
        if self.weight_p is not None:
            nn.init.xavier_uniform_(self.weight_p)
        if self.bias_ih is not None:
            nn.init.ones_(self.bias_ih[2 * self.hidden_size :])

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        x = x if self.weight_p is None else F.linear(x, self.weight_p, self.bias_p)
        return torch.cat([F.linear(x, self.weight_ih, self.bias_ih), x], -1)

    def update(self, wx: Tensor, rh: Tensor, s: Intersection) -> Intersection:
        wx, x = wx.split([4 * self.hidden_size, self.hidden_size], -1)
        y, h, p, q = (wx + rh).chunk(4, -1)
        p, q = p.sigmoid(), q.sigmoid()
        return Intersection(p * x + (1 - p) * y.relu(), q * s.h + (1 - q) * h.tanh())


@register("ligru")
class LiGRU(GatedCell):
    """Ravanelli et al. 2018, the light GRU: no reset, a rectifier, W x_t normalised; rows h z.

    n, z = norm(W x_t) + b + R h_{t-1}
    h_t = σ(z) h_{t-1} + (1 - σ(z)) max(0, n)

    norm scales by `gain` what it has made mean 0 and variance 1. "batch" is the paper's: batch normalisation over the
    rows of all time steps, padding left out, with running statistics (momentum 0.05) in evaluation. So in training the
    rows of a batch depend on each other; a single row, which has no variance, gets the running statistics; and with
    checkpoint_every the rows are those of a piece, and the running statistics move twice a step. Starts as the
    authors' code does: W from U(-1/√I, 1/√I), R orthogonal, gain 1, b = 0.

    Args:
        norm: "batch"; "layer", over the 2 H rows of W x_t; or "none".

    Raises:
        RnnZooError: another `norm`.
    """

    gates, State, hidden_bias = 2, Hidden, False
    rows = ("new", "keep")
    gain: Tensor | None
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, input_size: int, hidden_size: int, *, norm: str = "batch", bias: bool = True):
        if norm not in ("batch", "layer", "none"):
            raise RnnZooError(f"norm of ligru must be 'batch', 'layer' or 'none', not {norm!r}")
        self.norm = norm
        super().__init__(input_size, hidden_size, bias=bias)
        if norm == "batch":
            self.register_buffer("running_mean", torch.zeros(2 * hidden_size))
            self.register_buffer("running_var", torch.ones(2 * hidden_size))

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {"gain": None if self.norm == "none" else (2 * self.hidden_size,)}

    def reset_parameters(self) -> None:
        glorot_and_orthogonal_(self.weight_ih, self.weight_hh, self.bias_ih)
        bound = 1 / math.sqrt(self.input_size)
        nn.init.uniform_(self.weight_ih, -bound, bound)
        if self.gain is not None:
            nn.init.ones_(self.gain)
        if self.norm == "batch":
            self.running_mean.zero_()
            self.running_var.fill_(1)

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        if self.norm == "none":
            return super().project(x)
        wx = F.linear(x, self.weight_ih)
        if self.norm == "layer":
            return F.layer_norm(wx, wx.shape[-1:], self.gain, self.bias_ih)
        rows = wx.reshape(-1, wx.shape[-1])
        statistics, training = (self.running_mean, self.running_var), bool(self.training and rows.shape[0] > 1)
        return F.batch_norm(rows, *statistics, self.gain, self.bias_ih, training, momentum=0.05).view(wx.shape)

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        n, z = (wx + rh).chunk(2, -1)
        z = z.sigmoid()
        return Hidden(z * s.h + (1 - z) * n.relu())


@register("light_ru")
class LightRU(GatedCell):
    """Ye et al. 2024, the light recurrent unit, whose content sees x_t alone; rows of W h f, of R and b f.

    f = σ(W_f x_t + R h_{t-1} + b)
    h_t = (1 - f) h_{t-1} + f tanh(W_h x_t)

    Called LRU in the paper, as the linear recurrent unit is, and f a forget gate, though it weighs what is new.
    Starts as torch's modules do, our choice.
    """

    gates, State, hidden_bias = 2, Hidden, False

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        H = self.hidden_size
        return super().parameter_shapes() | {"weight_hh": (H, H), "bias_ih": (H,) if self.bias else None}

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        n, f = F.linear(x, self.weight_ih).chunk(2, -1)
        return torch.cat([n.tanh(), f if self.bias_ih is None else f + self.bias_ih], -1)

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        n, wx_f = wx.chunk(2, -1)
        f = (wx_f + rh).sigmoid()
        return Hidden((1 - f) * s.h + f * n)


@register("star")
class STAR(GatedCell):
    """Turkoglu et al. 2021, STAR, the stackable recurrent cell; rows of W and b z k, of R k.

    z, k = W x_t + b
    k = k + R h_{t-1}
    h_t = tanh((1 - σ(k)) h_{t-1} + σ(k + β) tanh(z))

    As in the paper, each block of W and R starts orthogonal, b_z = 0, and b_k = -log U(1, max_steps - 1) (chrono
    initialisation, Tallec & Ollivier 2018).

    Args:
        beta: β, how much more is written than is forgotten: 0 in the paper, 1 in the authors' code.
        max_steps: the longest dependency expected, in time steps, at least 3; it sets b_k alone.

    Raises:
        RnnZooError: `max_steps` below 3.
    """

    gates, State, hidden_bias = 2, Hidden, False

    def __init__(
        self, input_size: int, hidden_size: int, *, beta: float = 0.0, max_steps: int = 100, bias: bool = True
    ):
        super().__init__(input_size, hidden_size, bias=bias)
        if max_steps < 3:
            raise RnnZooError(f"max_steps of star must be at least 3, not {max_steps}")
        self.beta, self.max_steps = beta, max_steps

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {"weight_hh": (self.hidden_size, self.hidden_size)}

    def reset_parameters(self) -> None:
        for block in (*self.weight_ih.chunk(2), self.weight_hh):
            orthogonal_(block)
        if self.bias_ih is not None:
            with torch.no_grad():
                b_z, b_k = self.bias_ih.chunk(2)
                b_z.zero_()
                b_k.uniform_(1, self.max_steps - 1).log_().neg_()

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        z, k = wx.chunk(2, -1)
        k = k + rh
        return Hidden(((1 - k.sigmoid()) * s.h + (k + self.beta).sigmoid() * z.tanh()).tanh())


@register("minimal_rnn")
class MinimalRNN(GatedCell):
    """Chen 2017, MinimalRNN, whose gate reads the embedded input; one row block.

    z = tanh(W x_t + b)
    u = σ(R h_{t-1} + Z z + d)
    h_t = u h_{t-1} + (1 - u) z

    R and Z, the paper's U_h and U_z, start orthogonal, W Glorot, b = d = 0, our choice.
    """

    gates, State = 1, Hidden
    weight_z: Tensor

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {"weight_z": (self.hidden_size, self.hidden_size)}

    def reset_parameters(self) -> None:
        glorot_and_orthogonal_(self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        orthogonal_(self.weight_z)

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        z = super().project(x).tanh()
        return torch.cat([z, F.linear(z, self.weight_z)], -1)

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        z, wz = wx.chunk(2, -1)
        u = (wz + rh).sigmoid()
        return Hidden(u * s.h + (1 - u) * z)
