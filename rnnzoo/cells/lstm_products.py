"""LSTMs whose step holds products that depend on one another."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnzoo.cells.contract import GatedCell, HiddenCell, at_least_one
from rnnzoo.cells.registry import register
from rnnzoo.errors import RnnZooError


@register("multiplicative_lstm")
class MultiplicativeLSTM(GatedCell):
    """Krause, Lu, Murray & Renals 2016, mLSTM, whose gates read x times h in place of h; rows of W m i f g o.

    m = W_m x_t * R_m h_{t-1}
    i, f, g, o = W x_t + U m + b
    c_t = σ(f) c_{t-1} + σ(i) tanh(g)
    h_t = σ(o) tanh(c_t)
    """

    gates, State = 5, HiddenCell
    weight_mh: Tensor
    bias_mh: Tensor | None

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        I, H = self.input_size, self.hidden_size
        return {
            "weight_ih": (5 * H, I),
            "weight_hh": (H, H),
            "weight_mh": (4 * H, H),
            "bias_ih": None,
            "bias_mh": (4 * H,) if self.bias else None,
        }

    def step(self, u: Tensor, s: HiddenCell) -> HiddenCell:
        wx_m, wx = u.split([self.hidden_size, 4 * self.hidden_size], -1)
        m = wx_m * F.linear(s.h, self.weight_hh)
        i, f, g, o = (wx + F.linear(m, self.weight_mh, self.bias_mh)).chunk(4, -1)
        c = f.sigmoid() * s.c + i.sigmoid() * g.tanh()
        return HiddenCell(o.sigmoid() * c.tanh(), c)


@register("mogrifier_lstm")
class MogrifierLSTM(GatedCell):
    """Melis, Kočiský & Blunsom 2020, an LSTM whose x and h scale each other first, in turns; rows i f g o.

    x ← 2 σ(Q_k h + q_k) x   for k = 1, 3, ... up to `rounds`
    h ← 2 σ(M_k x + m_k) h   for k = 2, 4, ... up to `rounds`, in turns with it; from x_t and h_{t-1}
    i, f, g, o = W x + R h + b
    c_t = σ(f) c_{t-1} + σ(i) tanh(g)
    h_t = σ(o) tanh(c_t)

    Every round has a matrix of its own; q_k and m_k are those of the authors' code, the paper prints none.

    Args:
        rounds: how many, 0 for an LSTM; the authors take 5 or 6.
        rank: of each Q_k and M_k, which are then products of two matrices; 0 for full ones.

    Raises:
        RnnZooError: `rounds` or `rank` below 0.
    """

    gates, State, hidden_bias = 4, HiddenCell, False
    rows = ("write", "keep", "new", "read")

    def __init__(self, input_size: int, hidden_size: int, *, rounds: int = 5, rank: int = 0, bias: bool = True):
        for name, value in (("rounds", rounds), ("rank", rank)):
            if value < 0:
                raise RnnZooError(f"{name} of mogrifier_lstm must be 0 or more, not {value}")
        self.rounds, self.rank = rounds, rank
        super().__init__(input_size, hidden_size, bias=bias)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        shapes = super().parameter_shapes()
        for k in range(1, self.rounds + 1):
            rows, columns = self.input_size, self.hidden_size
            if k % 2 == 0:
                rows, columns = columns, rows
            if self.rank:
                shapes |= {f"left_{k}": (rows, self.rank), f"right_{k}": (self.rank, columns)}
            else:
                shapes[f"full_{k}"] = rows, columns
            shapes[f"bias_{k}"] = (rows,) if self.bias else None
        return shapes

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        return x

    def step(self, u: Tensor, s: HiddenCell) -> HiddenCell:
        x, h = u, s.h
        for k in range(1, self.rounds + 1):
            if k % 2:
                x = self._scale(k, h) * x
            else:
                h = self._scale(k, x) * h
        i, f, g, o = (F.linear(x, self.weight_ih, self.bias_ih) + F.linear(h, self.weight_hh)).chunk(4, -1)
        c = f.sigmoid() * s.c + i.sigmoid() * g.tanh()
        return HiddenCell(o.sigmoid() * c.tanh(), c)

    def _scale(self, k: int, a: Tensor) -> Tensor:
        bias = getattr(self, f"bias_{k}")
        if self.rank:
            return 2 * F.linear(F.linear(a, getattr(self, f"right_{k}")), getattr(self, f"left_{k}"), bias).sigmoid()
        return 2 * F.linear(a, getattr(self, f"full_{k}"), bias).sigmoid()


class NestedState(NamedTuple):
    """The state of a nested LSTM."""

    h: Tensor
    c: Tensor
    inner: Tensor  # (B, (D - 1) H), the memories of the levels within, the outermost first


@register("nested_lstm")
class NestedLSTM(GatedCell):
    """Moniz & Krueger 2018, an LSTM whose memory is computed by an LSTM; rows i f g o on each of D levels.

    i, f, g, o = W x_t + R h_{t-1} + b
    x', h' = σ(i) g, σ(f) c_{t-1}
    i', f', g', o' = W' x' + R' h' + b'
    c'_t = σ(f') c'_{t-1} + σ(i') tanh(g')
    c_t = σ(o') tanh(c'_t)
    h_t = σ(o) tanh(c_t)

    Here D = 2. Of more levels, each but the innermost hands σ(i) tanh(g) and σ(f) c_{t-1} to the next within, whose
    output is its memory. The outermost g is taken as it is, as in the paper; others' code squashes it.

    Args:
        depth: D, levels, at least 2.

    Raises:
        RnnZooError: `depth` below 2.
    """

    gates, State, hidden_bias = 4, NestedState, False

    def __init__(self, input_size: int, hidden_size: int, *, depth: int = 2, bias: bool = True):
        if at_least_one("depth", depth) < 2:
            raise RnnZooError(f"depth of nested_lstm must be at least 2, not {depth}; 'lstm' has one level")
        self.depth = depth
        super().__init__(input_size, hidden_size, bias=bias)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        shapes, H = super().parameter_shapes(), self.hidden_size
        for level in range(2, self.depth + 1):
            shapes |= {f"weight_ih_{level}": (4 * H, H), f"weight_hh_{level}": (4 * H, H)}
            shapes[f"bias_{level}"] = (4 * H,) if self.bias else None
        return shapes

    def initial_state(self, batch: int, like: Tensor) -> NestedState:
        H = self.hidden_size
        return NestedState(*(like.new_zeros(batch, n) for n in (H, H, (self.depth - 1) * H)))

    def update(self, wx: Tensor, rh: Tensor, s: NestedState) -> NestedState:
        gates, shown, memories = wx + rh, [], []
        for level, c in enumerate((s.c, *s.inner.chunk(self.depth - 1, -1)), 1):
            i, f, g, o = gates.chunk(4, -1)
            write, keep = i.sigmoid() * (g if level == 1 else g.tanh()), f.sigmoid() * c
            shown.append(o.sigmoid())
            if level < self.depth:
                W, R, b = (getattr(self, f"{name}_{level + 1}") for name in ("weight_ih", "weight_hh", "bias"))
                gates = F.linear(write, W, b) + F.linear(keep, R)
        h = keep + write
        for o in reversed(shown):
            memories.append(h)
            h = o * h.tanh()
        *inner, c = memories
        return NestedState(h, c, torch.cat(inner[::-1], -1))


@register("wmc_lstm")
class WMCLSTM(GatedCell):
    """Landi, Baraldi, Cornia & Cucchiara 2021, working memory connections; rows i f g o, of V i f o.

    i, f, g, o = W x_t + R h_{t-1} + b
    c_t = σ(f + tanh(V_f c_{t-1})) c_{t-1} + σ(i + tanh(V_i c_{t-1})) tanh(g)
    h_t = σ(o + tanh(V_o c_t)) tanh(c_t)
    """

    gates, State, hidden_bias = 4, HiddenCell, False
    rows = ("write", "keep", "new", "read")
    weight_ch: Tensor

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {"weight_ch": (3 * self.hidden_size, self.hidden_size)}

    def update(self, wx: Tensor, rh: Tensor, s: HiddenCell) -> HiddenCell:
        H = self.hidden_size
        V_if, V_o = self.weight_ch.split([2 * H, H])
        (wr_if, g, o), vc_if = (wx + rh).split([2 * H, H, H], -1), F.linear(s.c, V_if)
        i, f = (wr_if + vc_if.tanh()).sigmoid().chunk(2, -1)
        c = f * s.c + i * g.tanh()
        return HiddenCell((o + F.linear(c, V_o).tanh()).sigmoid() * c.tanh(), c)


@register("residual_lstm")
class ResidualLSTM(GatedCell):
    """Kim, El-Khamy & Lee 2017, an LSTM whose output gate has a shortcut from the layer below; rows i f g o.

    i, f, g, o = W x_t + R h_{t-1} + b
    c_t = σ(f + p_f c_{t-1}) c_{t-1} + σ(i + p_i c_{t-1}) tanh(g)
    h_t = σ(o + p_o c_t) (W_p tanh(c_t) + W_h x_t)

    W_h is the identity where I = H, and then no parameter, as in the paper.
    """

    gates, State, hidden_bias = 4, HiddenCell, False
    rows = ("write", "keep", "new", "read")
    vectors = ("p_i", "p_f", "p_o")
    p_i: Tensor
    p_f: Tensor
    p_o: Tensor
    weight_proj: Tensor
    weight_res: Tensor | None

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        I, H = self.input_size, self.hidden_size
        return super().parameter_shapes() | {"weight_proj": (H, H), "weight_res": (H, I) if I != H else None}

    def project(self, x: Tensor, **inputs: Tensor) -> tuple[Tensor, Tensor]:
        return super().project(x), x if self.weight_res is None else F.linear(x, self.weight_res)

    def step(self, u: tuple[Tensor, Tensor], s: HiddenCell) -> HiddenCell:
        wx, shortcut = u
        i, f, g, o = (wx + F.linear(s.h, self.weight_hh)).chunk(4, -1)
        c = (f + self.p_f * s.c).sigmoid() * s.c + (i + self.p_i * s.c).sigmoid() * g.tanh()
        return HiddenCell((o + self.p_o * c).sigmoid() * (F.linear(c.tanh(), self.weight_proj) + shortcut), c)
