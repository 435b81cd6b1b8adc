"""Cells for the kernel `fused`, each with something of its own that it must carry."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.cells import Cell, GatedCell, Hidden, HiddenCell, create


def matrix(*shape):
    return nn.Parameter(torch.randn(*shape) * 0.3)


class Own(Cell):
    """Parameters are initialised where they are made."""

    def reset_parameters(self):
        for p in (self.weight_ih, self.bias_ih):
            nn.init.uniform_(p, -0.5, 0.5)


class LayerNormLSTM(Own):
    gates, State = 4, HiddenCell

    def __init__(self, i, h):
        super().__init__(i, h)
        self.R, self.norm, self.norm_c = matrix(4 * h, h), nn.LayerNorm(4 * h), nn.LayerNorm(h)

    def step(self, u, s):
        i, f, g, o = (u + self.norm(s.h @ self.R.t())).chunk(4, -1)
        c = f.sigmoid() * s.c + i.sigmoid() * g.tanh()
        return HiddenCell(o.sigmoid() * self.norm_c(c).tanh(), c)


class Projected(Own):
    gates, State = 4, HiddenCell

    def __init__(self, i, h):
        super().__init__(i, h)
        self.R, self.W_hr = matrix(4 * h, 5), matrix(5, h)

    @property
    def output_size(self):
        return 5

    def initial_state(self, batch, like):
        return HiddenCell(like.new_zeros(batch, 5), like.new_zeros(batch, self.hidden_size))

    def step(self, u, s):
        i, f, g, o = (u + s.h @ self.R.t()).chunk(4, -1)
        c = f.sigmoid() * s.c + i.sigmoid() * g.tanh()
        return HiddenCell((o.sigmoid() * c.tanh()) @ self.W_hr.t(), c)


class Multiplicative(Own):
    gates, State = 5, HiddenCell

    def __init__(self, i, h):
        super().__init__(i, h)
        self.R_m, self.R = matrix(h, h), matrix(4 * h, h)

    def step(self, u, s):
        m, rest = u.split([self.hidden_size, 4 * self.hidden_size], -1)
        i, f, g, o = (rest + F.linear(m * F.linear(s.h, self.R_m), self.R)).chunk(4, -1)
        c = f.sigmoid() * s.c + i.sigmoid() * g.tanh()
        return HiddenCell(o.sigmoid() * c.tanh(), c)


class LongExpressiveMemory(Own):
    gates, State = 4, HiddenCell

    def __init__(self, i, h):
        super().__init__(i, h)
        self.R, self.R_z, self.dt = matrix(3 * h, h), matrix(h, h), nn.Parameter(torch.tensor(0.7))

    def step(self, u, s):
        (a, b, c, d), (p, q, r) = u.chunk(4, -1), F.linear(s.h, self.R).chunk(3, -1)
        d1, d2 = self.dt * (a + p).sigmoid(), self.dt * (b + q).sigmoid()
        z = (1 - d1) * s.c + d1 * (c + r).tanh()
        return HiddenCell((1 - d2) * s.h + d2 * (d + F.linear(z, self.R_z)).tanh(), z)


class Highway(Own):
    gates, State = 2, Hidden

    def __init__(self, i, h):
        super().__init__(i, h)
        self.R = nn.ParameterList(matrix(2 * h, h) for _ in range(3))
        self.b = nn.Parameter(torch.randn(2 * h))

    def step(self, u, s):
        h = s.h
        for k, R in enumerate(self.R):
            p, t = (F.linear(h, R, self.b) + (u if k == 0 else 0)).chunk(2, -1)
            h = p.tanh() * t.sigmoid() + h * (1 - t.sigmoid())
        return Hidden(h)


class Odd(Own):
    """Softmax over the row, softplus, a square, a clamp, and a backward that reads u."""

    gates, State = 2, Hidden

    def __init__(self, i, h):
        super().__init__(i, h)
        self.R = matrix(h, h)

    def step(self, u, s):
        (a, b), r = u.chunk(2, -1), F.linear(s.h, self.R)
        return Hidden(torch.softmax(a * r, -1) * s.h + F.softplus(b) * torch.exp(-r * r).clamp(0.1, 2))


class Antisymmetric(Own):
    gates, State = 1, Hidden

    def __init__(self, i, h):
        super().__init__(i, h)
        self.R = matrix(h, h)

    def step(self, u, s):
        skew = self.R - self.R.t() - 0.1 * torch.eye(self.hidden_size, dtype=u.dtype, device=u.device)
        return Hidden(s.h + 0.1 * (u + F.linear(s.h, skew)).tanh())


class Leaky(GatedCell):
    gates, State, vectors = 1, Hidden, ("rate",)

    def update(self, wx, rh, s):
        a = self.rate.sigmoid()
        return Hidden((1 - a) * s.h + a * (wx + rh).tanh())


class IndRNN(Cell):
    gates, State, vectors = 1, Hidden, ("weight_hh",)

    def step(self, u, s):
        return Hidden((u + self.weight_hh * s.h).relu())


class Zoneout(Cell):
    def __init__(self, i, h):
        super().__init__(i, h)
        self.cell = create("lstm", i, h)
        self.State = self.cell.State

    def reset_parameters(self):
        self.cell.reset_parameters()

    def project(self, x):
        keep = [x.new_full((*x.shape[:-1], self.hidden_size), 0.2) for _ in self.State._fields]
        return self.cell.project(x), *keep

    def step(self, u, s):
        u, *keep = u
        new = self.cell.step(u, s)
        return self.State(*(n + k * (o - n) for n, o, k in zip(new, s, keep, strict=True)))


class MemoryFirst(NamedTuple):
    c: Tensor
    clock: Tensor


class Computed(GatedCell):
    """What is emitted is computed from the state; a field of one number a row, which every column reads."""

    gates, State = 2, MemoryFirst

    @property
    def recurrent_size(self):
        return self.hidden_size

    def initial_state(self, batch, like):
        return MemoryFirst(like.new_zeros(batch, self.hidden_size), like.new_zeros(batch))

    def step(self, u, s):
        f, g = (u + F.linear(s.c.tanh(), self.weight_hh, self.bias_hh)).chunk(2, -1)
        clock = s.clock + f.mean(-1)
        return MemoryFirst(f.sigmoid() * s.c + g.tanh() / (1 + clock.square()[:, None]), clock)

    def emit(self, s):
        return s.c.tanh() * s.clock[:, None]


class Gap(Cell):
    """A time gap (..., 1) among the inputs, and one without a feature axis."""

    gates, State, inputs, vectors = 1, Hidden, ("dt",), ("rate",)

    def project(self, x, dt):
        return {"x": super().project(x), "decay": (-dt).exp(), "flat": dt[..., 0]}

    def step(self, u, s):
        return Hidden((u["decay"] * self.rate * s.h + u["x"] + 0.1 * u["flat"].unsqueeze(-1)).tanh())


class Swapping(Own):
    """Columns move: halves change places, the first feeds all, ``where``, ``cat`` and ``maximum``."""

    gates, State = 1, HiddenCell

    def step(self, u, s):
        a, b = s.h[:, : self.hidden_size // 2], s.h[:, self.hidden_size // 2 :]
        h = torch.cat([b, a], -1) * 0.9 + u
        h = torch.where(h > s.c[:, :1], h, 0.5 * torch.maximum(h, s.c)) - 0.1 * h.amax(-1, keepdim=True)
        return HiddenCell(torch.minimum(h.sin(), s.c.cos()), (s.c + h[:, -1:]) / (1 + h.abs()))


CELLS = {
    **{name: (lambda i, h, name=name: create(name, i, h)) for name in ("lstm", "gru", "peephole_lstm", "janet")},
    **{name: (lambda i, h, name=name: create(name, i, h)) for name in ("cho_gru", "rnn", "rnn_relu", "mingru")},
    **{"leaky": Leaky, "indrnn": IndRNN, "zoneout": Zoneout, "layer norm": LayerNormLSTM, "projected": Projected},
    **{"multiplicative": Multiplicative, "lem": LongExpressiveMemory, "highway": Highway, "odd": Odd},
    **{"antisymmetric": Antisymmetric, "computed": Computed, "gap": Gap, "swapping": Swapping},
}
