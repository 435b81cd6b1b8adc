"""The GRU family."""

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import GatedCell, Hidden
from rnnzoo.cells.registry import register
from rnnzoo.errors import RnnZooError
from rnnzoo.initialize import orthogonal_


@register("gru")
class GRU(GatedCell):
    """Cho et al. 2014 (arXiv v1), the GRU with its reset after the product, cuDNN's form; rows r z n, as nn.GRU.

    r = σ(W_r x_t + R_r h_{t-1} + b_r)
    z = σ(W_z x_t + R_z h_{t-1} + b_z)
    n = tanh(W_n x_t + b_n + r (R_n h_{t-1} + d_n))
    h_t = (1 - z) n + z h_{t-1}
    """

    gates, State = 3, Hidden
    rows = ("reset", "keep", "new")

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        (wx_r, wx_z, wx_n), (rh_r, rh_z, rh_n) = wx.chunk(3, -1), rh.chunk(3, -1)
        r, z = (wx_r + rh_r).sigmoid(), (wx_z + rh_z).sigmoid()
        n = (wx_n + r * rh_n).tanh()
        return Hidden((1 - z) * n + z * s.h)


@register("cho_gru")
class ChoGRU(GatedCell):
    """Cho et al. 2014 (arXiv v3), the GRU with its reset before the product: two dependent products; rows r z n.

    r = σ(W_r x_t + R_r h_{t-1} + b_r)
    z = σ(W_z x_t + R_z h_{t-1} + b_z)
    n = tanh(W_n x_t + R_n (r h_{t-1}) + b_n)
    h_t = (1 - z) h_{t-1} + z n

    The sign of z is Chung et al. 2014's; Cho's own is the same cell with the rows of z negated. As in the paper,
    W starts from N(0, 0.01²) and each R orthogonal; biases, which the paper leaves out, from zero.
    """

    gates, State, hidden_bias = 3, Hidden, False
    rows = ("reset", "write", "new")

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight_ih, std=0.01)
        for R in self.weight_hh.chunk(3):
            orthogonal_(R)
        if self.bias_ih is not None:
            nn.init.zeros_(self.bias_ih)

    def step(self, u: Tensor, s: Hidden) -> Hidden:
        rows = [2 * self.hidden_size, self.hidden_size]
        (wx_rz, wx_n), (R_rz, R_n) = u.split(rows, -1), self.weight_hh.split(rows)
        r, z = (wx_rz + s.h @ R_rz.t()).sigmoid().chunk(2, -1)
        n = (wx_n + (r * s.h) @ R_n.t()).tanh()
        return Hidden((1 - z) * s.h + z * n)


@register("janet")
class JANET(GatedCell):
    """van der Westhuizen & Lasenby 2018, JANET, "just another network" of one gate; rows f c.

    f, c = W x_t + R h_{t-1} + b
    h_t = σ(f) h_{t-1} + (1 - σ(f - β)) tanh(c)

    As in the paper: W Glorot, R orthogonal, b_c = 0, and b_f = log U(1, max_steps - 1) (chrono initialisation,
    Tallec & Ollivier 2018).

    Args:
        beta: β, how much less is written than is forgotten.
        max_steps: the longest dependency expected, in time steps, at least 3; it sets b_f alone.

    Raises:
        RnnZooError: `max_steps` below 3.
    """

    gates, State, hidden_bias = 2, Hidden, False
    rows = ("keep", "new")

    def __init__(
        self, input_size: int, hidden_size: int, *, beta: float = 1.0, max_steps: int = 100, bias: bool = True
    ):
        super().__init__(input_size, hidden_size, bias=bias)
        if max_steps < 3:
            raise RnnZooError(f"max_steps of janet must be at least 3, not {max_steps}")
        self.beta, self.max_steps = beta, max_steps

    def reset_parameters(self) -> None:
        for W, R in zip(self.weight_ih.chunk(2), self.weight_hh.chunk(2), strict=True):
            nn.init.xavier_uniform_(W)
            orthogonal_(R)
        if self.bias_ih is not None:
            with torch.no_grad():
                b_f, b_c = self.bias_ih.chunk(2)
                b_f.uniform_(1, self.max_steps - 1).log_()
                b_c.zero_()

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        f, c = (wx + rh).chunk(2, -1)
        return Hidden(f.sigmoid() * s.h + (1 - (f - self.beta).sigmoid()) * c.tanh())


@register("cudnn_gru")
class CudnnGRU(GRU):
    """Cho et al. 2014 (arXiv v1), `gru` with the vendor's kernel pinned (cuDNN, oneDNN); rows r z n, as nn.GRU.

    r = σ(W_r x_t + R_r h_{t-1} + b_r)
    z = σ(W_z x_t + R_z h_{t-1} + b_z)
    n = tanh(W_n x_t + b_n + r (R_n h_{t-1} + d_n))
    h_t = (1 - z) n + z h_{t-1}
    """

    pinned = "native"
