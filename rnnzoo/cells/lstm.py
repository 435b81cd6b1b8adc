"""The LSTM family."""

from torch import Tensor, nn

from rnnzoo.cells.contract import GatedCell, HiddenCell
from rnnzoo.cells.registry import register


@register("lstm")
class LSTM(GatedCell):
    """Hochreiter & Schmidhuber 1997, forget gate of Gers et al. 2000; rows i f g o, as nn.LSTM.

    i, f, g, o = W x_t + R h_{t-1} + b
    c_t = σ(f) c_{t-1} + σ(i) tanh(g)
    h_t = σ(o) tanh(c_t)
    """

    gates, State = 4, HiddenCell
    rows = ("write", "keep", "new", "read")

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        i, f, g, o = (wx + rh).chunk(4, -1)
        c = f.sigmoid() * s.c + i.sigmoid() * g.tanh()
        return HiddenCell(o.sigmoid() * c.tanh(), c)


@register("peephole_lstm")
class PeepholeLSTM(GatedCell):
    """Gers & Schmidhuber 2000, the vanilla LSTM of Greff et al. 2017; rows i f g o.

    i, f, g, o = W x_t + R h_{t-1} + b
    c_t = σ(f + p_f c_{t-1}) c_{t-1} + σ(i + p_i c_{t-1}) tanh(g)
    h_t = σ(o + p_o c_t) tanh(c_t)

    Every parameter starts from N(0, 0.1²), as in Greff et al. 2017.
    """

    gates, State, hidden_bias = 4, HiddenCell, False
    rows = ("write", "keep", "new", "read")
    vectors = ("p_i", "p_f", "p_o")
    p_i: Tensor
    p_f: Tensor
    p_o: Tensor

    def reset_parameters(self) -> None:
        for p in self.parameters():
            nn.init.normal_(p, std=0.1)

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        i, f, g, o = (wx + rh).chunk(4, -1)
        c = (f + self.p_f * s.c).sigmoid() * s.c + (i + self.p_i * s.c).sigmoid() * g.tanh()
        return HiddenCell((o + self.p_o * c).sigmoid() * c.tanh(), c)


@register("cudnn_lstm")
class CudnnLSTM(LSTM):
    """Hochreiter & Schmidhuber 1997, `lstm` with the vendor's kernel pinned (cuDNN, oneDNN); rows i f g o, as nn.LSTM.

    i, f, g, o = W x_t + R h_{t-1} + b
    c_t = σ(f) c_{t-1} + σ(i) tanh(g)
    h_t = σ(o) tanh(c_t)
    """

    pinned = "native"
