"""The LSTM and its eight variants of "LSTM: A Search Space Odyssey"; each parts from ``peephole_lstm`` in one thing."""

from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.cells.contract import GatedCell, HiddenCell
from rnnzoo.cells.lstm import LSTM
from rnnzoo.cells.registry import register


class Odyssey(GatedCell):
    """What the nine share: one bias a row, and a start from N(0, 0.1²)."""

    State: ClassVar[Any] = HiddenCell
    hidden_bias = False
    p_i: Tensor
    p_f: Tensor
    p_o: Tensor

    def reset_parameters(self) -> None:
        for p in self.parameters():
            nn.init.normal_(p, std=0.1)


@register("peephole_lstm")
class PeepholeLSTM(Odyssey):
    """Gers & Schmidhuber 2000, the vanilla LSTM of Greff et al. 2017; rows i f g o.

    i, f, g, o = W x_t + R h_{t-1} + b
    c_t = σ(f + p_f c_{t-1}) c_{t-1} + σ(i + p_i c_{t-1}) tanh(g)
    h_t = σ(o + p_o c_t) tanh(c_t)

    Every parameter starts from N(0, 0.1²), as in Greff et al. 2017.
    """

    gates, vectors = 4, ("p_i", "p_f", "p_o")
    rows = ("write", "keep", "new", "read")

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        i, f, g, o = (wx + rh).chunk(4, -1)
        c = (f + self.p_f * s.c).sigmoid() * s.c + (i + self.p_i * s.c).sigmoid() * g.tanh()
        return HiddenCell((o + self.p_o * c).sigmoid() * c.tanh(), c)


@register("nig")
class NoInputGate(Odyssey):
    """Greff et al. 2017, NIG, `peephole_lstm` with no input gate; rows f g o.

    f, g, o = W x_t + R h_{t-1} + b
    c_t = σ(f + p_f c_{t-1}) c_{t-1} + tanh(g)
    h_t = σ(o + p_o c_t) tanh(c_t)

    Every parameter starts from N(0, 0.1²).
    """

    gates, vectors = 3, ("p_f", "p_o")
    rows = ("keep", "new", "read")

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        f, g, o = (wx + rh).chunk(3, -1)
        c = (f + self.p_f * s.c).sigmoid() * s.c + g.tanh()
        return HiddenCell((o + self.p_o * c).sigmoid() * c.tanh(), c)


@register("nfg")
class NoForgetGate(Odyssey):
    """Greff et al. 2017, NFG, `peephole_lstm` with no forget gate; rows i g o.

    i, g, o = W x_t + R h_{t-1} + b
    c_t = c_{t-1} + σ(i + p_i c_{t-1}) tanh(g)
    h_t = σ(o + p_o c_t) tanh(c_t)

    Every parameter starts from N(0, 0.1²).
    """

    gates, vectors = 3, ("p_i", "p_o")
    rows = ("write", "new", "read")

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        i, g, o = (wx + rh).chunk(3, -1)
        c = s.c + (i + self.p_i * s.c).sigmoid() * g.tanh()
        return HiddenCell((o + self.p_o * c).sigmoid() * c.tanh(), c)


@register("nog")
class NoOutputGate(Odyssey):
    """Greff et al. 2017, NOG, `peephole_lstm` with no output gate; rows i f g.

    i, f, g = W x_t + R h_{t-1} + b
    c_t = σ(f + p_f c_{t-1}) c_{t-1} + σ(i + p_i c_{t-1}) tanh(g)
    h_t = tanh(c_t)

    Every parameter starts from N(0, 0.1²).
    """

    gates, vectors = 3, ("p_i", "p_f")
    rows = ("write", "keep", "new")

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        i, f, g = (wx + rh).chunk(3, -1)
        c = (f + self.p_f * s.c).sigmoid() * s.c + (i + self.p_i * s.c).sigmoid() * g.tanh()
        return HiddenCell(c.tanh(), c)


@register("niaf")
class NoInputActivation(Odyssey):
    """Greff et al. 2017, NIAF, `peephole_lstm` with no input activation function; rows i f g o.

    i, f, g, o = W x_t + R h_{t-1} + b
    c_t = σ(f + p_f c_{t-1}) c_{t-1} + σ(i + p_i c_{t-1}) g
    h_t = σ(o + p_o c_t) tanh(c_t)

    Every parameter starts from N(0, 0.1²).
    """

    gates, vectors = 4, ("p_i", "p_f", "p_o")
    rows = ("write", "keep", "new", "read")

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        i, f, g, o = (wx + rh).chunk(4, -1)
        c = (f + self.p_f * s.c).sigmoid() * s.c + (i + self.p_i * s.c).sigmoid() * g
        return HiddenCell((o + self.p_o * c).sigmoid() * c.tanh(), c)


@register("noaf")
class NoOutputActivation(Odyssey):
    """Greff et al. 2017, NOAF, `peephole_lstm` with no output activation function; rows i f g o.

    i, f, g, o = W x_t + R h_{t-1} + b
    c_t = σ(f + p_f c_{t-1}) c_{t-1} + σ(i + p_i c_{t-1}) tanh(g)
    h_t = σ(o + p_o c_t) c_t

    Every parameter starts from N(0, 0.1²). Of the nine it is the one whose h_t has no bound.
    """

    gates, vectors = 4, ("p_i", "p_f", "p_o")
    rows = ("write", "keep", "new", "read")

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        i, f, g, o = (wx + rh).chunk(4, -1)
        c = (f + self.p_f * s.c).sigmoid() * s.c + (i + self.p_i * s.c).sigmoid() * g.tanh()
        return HiddenCell((o + self.p_o * c).sigmoid() * c, c)


@register("np")
class NoPeepholes(Odyssey, LSTM):
    """Greff et al. 2017, NP, `peephole_lstm` with no peepholes: `lstm` with one bias a row; rows i f g o.

    i, f, g, o = W x_t + R h_{t-1} + b
    c_t = σ(f) c_{t-1} + σ(i) tanh(g)
    h_t = σ(o) tanh(c_t)

    Every parameter starts from N(0, 0.1²).
    """


@register("cifg")
class CoupledGates(Odyssey):
    """Greff et al. 2017, CIFG, `peephole_lstm` with coupled input and forget gates, f = 1 - i; rows i g o.

    i, g, o = W x_t + R h_{t-1} + b
    c_t = (1 - σ(i + p_i c_{t-1})) c_{t-1} + σ(i + p_i c_{t-1}) tanh(g)
    h_t = σ(o + p_o c_t) tanh(c_t)

    Every parameter starts from N(0, 0.1²). A bias on forgetting is one on i with its sign turned.
    """

    gates, vectors = 3, ("p_i", "p_o")
    rows = ("write", "new", "read")

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        i, g, o = (wx + rh).chunk(3, -1)
        i = (i + self.p_i * s.c).sigmoid()
        c = (1 - i) * s.c + i * g.tanh()
        return HiddenCell((o + self.p_o * c).sigmoid() * c.tanh(), c)


class HiddenCellGates(NamedTuple):
    """Output, memory, and the gates as they stood, after their σ."""

    h: Tensor
    c: Tensor
    i: Tensor
    f: Tensor
    o: Tensor


@register("fgr")
class FullGateRecurrence(Odyssey):
    """Greff et al. 2017, FGR, full gate recurrence: the gates see all gates of the step before; rows i f g o.

    i, f, g, o = W x_t + R h_{t-1} + b
    d_i, d_f, d_o = G (i_{t-1}, f_{t-1}, o_{t-1})
    i_t = σ(i + d_i + p_i c_{t-1})
    f_t = σ(f + d_f + p_f c_{t-1})
    c_t = f_t c_{t-1} + i_t tanh(g)
    o_t = σ(o + d_o + p_o c_t)
    h_t = o_t tanh(c_t)

    G is `weight_gg`, rows and columns i f o; the recurrence is that of the LSTM of 1997. Every parameter starts from
    N(0, 0.1²), and the gates of the step before the first are zero, which the paper leaves open.
    """

    gates, State, vectors = 4, HiddenCellGates, ("p_i", "p_f", "p_o")
    rows = ("write", "keep", "new", "read")
    weight_gg: Tensor

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {"weight_gg": (3 * self.hidden_size, 3 * self.hidden_size)}

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCellGates) -> HiddenCellGates:
        i, f, g, o = (wx + rh).chunk(4, -1)
        d_i, d_f, d_o = F.linear(torch.cat([s.i, s.f, s.o], -1), self.weight_gg).chunk(3, -1)
        i = (i + d_i + self.p_i * s.c).sigmoid()
        f = (f + d_f + self.p_f * s.c).sigmoid()
        c = f * s.c + i * g.tanh()
        o = (o + d_o + self.p_o * c).sigmoid()
        return HiddenCellGates(o * c.tanh(), c, i, f, o)
