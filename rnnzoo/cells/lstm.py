"""The LSTM family."""

from torch import Tensor

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

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        i, f, g, o = (wx + rh).chunk(4, -1)
        c = f.sigmoid() * s.c + i.sigmoid() * g.tanh()
        return HiddenCell(o.sigmoid() * c.tanh(), c)


@register("cudnn_lstm")
class CudnnLSTM(LSTM):
    """Hochreiter & Schmidhuber 1997, `lstm` with the vendor's kernel pinned (cuDNN, oneDNN); rows i f g o, as nn.LSTM.

    i, f, g, o = W x_t + R h_{t-1} + b
    c_t = σ(f) c_{t-1} + σ(i) tanh(g)
    h_t = σ(o) tanh(c_t)
    """

    pinned = "native"
