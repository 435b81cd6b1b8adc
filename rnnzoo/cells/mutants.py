"""The three best cells of a search that mutated the GRU."""

import torch
from torch import Tensor
from torch.nn import functional as F

from rnnzoo.cells.contract import GatedCell, Hidden
from rnnzoo.cells.registry import register
from rnnzoo.errors import RnnZooError


class _Embedded(GatedCell):
    """A mutant that adds x itself, an embedding of H features, to a sum; W x in its place takes any x."""

    gates, State, hidden_bias = 3, Hidden, False
    rows = ("write", "reset", "new")

    def __init__(self, input_size: int, hidden_size: int, *, raw_input: bool = False, bias: bool = True):
        if raw_input and input_size != hidden_size:
            raise RnnZooError(
                f"raw_input adds x to {hidden_size} units (hidden_size): input_size must be as many, not {input_size}"
            )
        self.raw_input = raw_input
        super().__init__(input_size, hidden_size, bias=bias)

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        rows = (2 if self.raw_input else 3) * self.hidden_size
        return super().parameter_shapes() | {"weight_ih": (rows, self.input_size)}


@register("mut1")
class MUT1(_Embedded):
    """Jozefowicz, Zaremba & Sutskever 2015, MUT1: two dependent products; rows of W z r h, of R r h.

    z = σ(W_z x_t + b_z)
    r = σ(W_r x_t + R_r h_{t-1} + b_r)
    n = tanh(tanh(W_h x_t) + R_h (r h_{t-1}) + b_h)
    h_t = (1 - z) h_{t-1} + z n

    The paper adds tanh(x_t), x_t an embedding of H features: what W_h x_t is of a one-hot x_t.

    Args:
        raw_input: tanh(x_t) as in the paper, without W_h.

    Raises:
        RnnZooError: `raw_input` with input_size other than hidden_size.
    """

    def parameter_shapes(self) -> dict[str, tuple[int, ...] | None]:
        return super().parameter_shapes() | {"weight_hh": (2 * self.hidden_size, self.hidden_size)}

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        wx = F.linear(x, self.weight_ih)
        zr, n = (wx, x) if self.raw_input else wx.split([2 * self.hidden_size, self.hidden_size], -1)
        u = torch.cat([zr, n.tanh()], -1)
        return u if self.bias_ih is None else u + self.bias_ih

    def step(self, u: Tensor, s: Hidden) -> Hidden:
        (z, wx_r, wx_n), (R_r, R_h) = u.chunk(3, -1), self.weight_hh.chunk(2)
        z, r = z.sigmoid(), (wx_r + s.h @ R_r.t()).sigmoid()
        n = (wx_n + (r * s.h) @ R_h.t()).tanh()
        return Hidden((1 - z) * s.h + z * n)


@register("mut2")
class MUT2(_Embedded):
    """Jozefowicz, Zaremba & Sutskever 2015, MUT2: two dependent products; rows z r h.

    z = σ(W_z x_t + R_z h_{t-1} + b_z)
    r = σ(W_r x_t + R_r h_{t-1} + b_r)
    n = tanh(W_h x_t + R_h (r h_{t-1}) + b_h)
    h_t = (1 - z) h_{t-1} + z n

    The paper's r has x_t, an embedding of H features, in place of W_r x_t; without that this is `cho_gru`, rows z r h.

    Args:
        raw_input: x_t as in the paper, without W_r; rows of W are then z h.

    Raises:
        RnnZooError: `raw_input` with input_size other than hidden_size.
    """

    def project(self, x: Tensor, **inputs: Tensor) -> Tensor:
        u = F.linear(x, self.weight_ih)
        if self.raw_input:
            wx_z, wx_n = u.chunk(2, -1)
            u = torch.cat([wx_z, x, wx_n], -1)
        return u if self.bias_ih is None else u + self.bias_ih

    def step(self, u: Tensor, s: Hidden) -> Hidden:
        rows = [2 * self.hidden_size, self.hidden_size]
        (wx_zr, wx_n), (R_zr, R_h) = u.split(rows, -1), self.weight_hh.split(rows)
        z, r = (wx_zr + s.h @ R_zr.t()).sigmoid().chunk(2, -1)
        n = (wx_n + (r * s.h) @ R_h.t()).tanh()
        return Hidden((1 - z) * s.h + z * n)


@register("mut3")
class MUT3(GatedCell):
    """Jozefowicz, Zaremba & Sutskever 2015, MUT3: products on tanh(h), h and r h; rows z r h.

    z = σ(W_z x_t + R_z tanh(h_{t-1}) + b_z)
    r = σ(W_r x_t + R_r h_{t-1} + b_r)
    n = tanh(W_h x_t + R_h (r h_{t-1}) + b_h)
    h_t = (1 - z) h_{t-1} + z n
    """

    gates, State, hidden_bias = 3, Hidden, False
    rows = ("write", "reset", "new")

    def step(self, u: Tensor, s: Hidden) -> Hidden:
        (wx_z, wx_r, wx_n), (R_z, R_r, R_h) = u.chunk(3, -1), self.weight_hh.chunk(3)
        z, r = (wx_z + s.h.tanh() @ R_z.t()).sigmoid(), (wx_r + s.h @ R_r.t()).sigmoid()
        n = (wx_n + (r * s.h) @ R_h.t()).tanh()
        return Hidden((1 - z) * s.h + z * n)
