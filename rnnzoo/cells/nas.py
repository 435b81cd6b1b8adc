"""A cell found by search."""

from torch import Tensor

from rnnzoo.cells.contract import GatedCell, HiddenCell
from rnnzoo.cells.registry import register


@register("nas_cell")
class NASCell(GatedCell):
    """Zoph & Le 2017, NASCell, found by reinforcement learning; rows a_0 ... a_7.

    a = W x_t,   q = R h_{t-1} + b
    u = tanh(σ(a_0 + q_0) relu(a_1 + q_1))
    v = tanh(σ(a_2 + q_2) + relu(a_3 q_3))
    w = tanh(tanh(a_4 + q_4) σ(a_5 + q_5))
    y = σ(tanh(a_6 + q_6) + σ(a_7 + q_7))
    c_t = tanh(u + c_{t-1}) v
    h_t = tanh(c_t tanh(w + y))

    As in the authors' code, b is on the side of h in the product a_3 q_3.
    """

    gates, State = 8, HiddenCell

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {"bias_ih": None}

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        s0, s1, s2, _, s4, s5, s6, s7 = (wx + rh).chunk(8, -1)
        a3, q3 = wx.chunk(8, -1)[3], rh.chunk(8, -1)[3]
        u = (s0.sigmoid() * s1.relu()).tanh()
        v = (s2.sigmoid() + (a3 * q3).relu()).tanh()
        w = (s4.tanh() * s5.sigmoid()).tanh()
        y = (s6.tanh() + s7.sigmoid()).sigmoid()
        c = (u + s.c).tanh() * v
        return HiddenCell((c * (w + y).tanh()).tanh(), c)
