"""The LSTM family."""

import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.cells.contract import GatedCell, HiddenCell, at_least_one
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


@register("lstm_1997")
class LSTM1997(GatedCell):
    """Hochreiter & Schmidhuber 1997, the LSTM before it could forget, with its own two squashes; rows i g o.

    i, g, o = W x_t + R h_{t-1} + b
    c_t = c_{t-1} + σ(i) 2 tanh(g / 2),   2 tanh(g / 2) = 4 σ(g) - 2
    h_t = σ(o) tanh(c_t / 2),   tanh(c / 2) = 2 σ(c) - 1

    Blocks of one memory cell, and gates that see no gates: `fgr` has that. With tanh in both places it is `nfg` with
    no peepholes. Starts from U(-0.1, 0.1), but for b_o = -1: the paper's means against cells that serve as biases
    early on, where it differs from block to block.
    """

    gates, State, hidden_bias = 3, HiddenCell, False
    rows = ("write", "new", "read")

    def reset_parameters(self) -> None:
        for p in self.parameters():
            nn.init.uniform_(p, -0.1, 0.1)
        if self.bias_ih is not None:
            nn.init.constant_(self.bias_ih[2 * self.hidden_size :], -1.0)

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        i, g, o = (wx + rh).chunk(3, -1)
        c = s.c + i.sigmoid() * (2 * (0.5 * g).tanh())
        return HiddenCell(o.sigmoid() * (0.5 * c).tanh(), c)


@register("lstmp")
class LSTMP(GatedCell):
    """Sak et al. 2014, the LSTM with a recurrent projection, no peepholes; rows i f g o, as nn.LSTM(proj_size=P).

    i, f, g, o = W x_t + R h_{t-1} + b
    c_t = σ(f) c_{t-1} + σ(i) tanh(g)
    h_t = W_hr (σ(o) tanh(c_t))

    h (B, P) is what is emitted and fed back, c is (B, H). Sak et al. have peepholes and allow for a second output
    that is not fed back; nn.LSTM has neither, and this is its form.

    Args:
        proj_size: P, features of h, at least 1; None is half of hidden_size.

    Raises:
        RnnZooError: `proj_size` below 1.
    """

    gates, State = 4, HiddenCell
    rows = ("write", "keep", "new", "read")
    weight_hr: Tensor

    def __init__(self, input_size: int, hidden_size: int, *, proj_size: int | None = None, bias: bool = True):
        half = max(1, at_least_one("hidden_size", hidden_size) // 2)
        self.proj_size = half if proj_size is None else at_least_one("proj_size", proj_size)
        super().__init__(input_size, hidden_size, bias=bias)

    @property
    def recurrent_size(self) -> int:
        return self.proj_size

    @property
    def output_size(self) -> int:
        return self.proj_size

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {"weight_hr": (self.proj_size, self.hidden_size)}

    def initial_state(self, batch: int, like: Tensor) -> HiddenCell:
        return HiddenCell(like.new_zeros(batch, self.proj_size), like.new_zeros(batch, self.hidden_size))

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        i, f, g, o = (wx + rh).chunk(4, -1)
        c = f.sigmoid() * s.c + i.sigmoid() * g.tanh()
        return HiddenCell(F.linear(o.sigmoid() * c.tanh(), self.weight_hr), c)


@register("sub_lstm")
class SubLSTM(GatedCell):
    """Costa et al. 2017, subLSTM, whose gates subtract as inhibitory neurons do; rows i f z o.

    i, f, z, o = σ(W x_t + R h_{t-1} + b)
    c_t = f c_{t-1} + z - i
    h_t = σ(c_t) - o
    """

    gates, State, hidden_bias = 4, HiddenCell, False

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        i, f, z, o = (wx + rh).sigmoid().chunk(4, -1)
        c = f * s.c + z - i
        return HiddenCell(c.sigmoid() - o, c)


@register("cudnn_lstm")
class CudnnLSTM(LSTM):
    """Hochreiter & Schmidhuber 1997, `lstm` with the vendor's kernel pinned (cuDNN, oneDNN); rows i f g o, as nn.LSTM.

    i, f, g, o = W x_t + R h_{t-1} + b
    c_t = σ(f) c_{t-1} + σ(i) tanh(g)
    h_t = σ(o) tanh(c_t)
    """

    pinned = "native"
