"""Cells for the kernel `fused` whose states or products have more axes than rows and columns."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from fused_cells import Own, matrix
from torch import Tensor

from rnnzoo.cells import Hidden, HiddenCell


class Heads(Own):
    """Three heads, each with a recurrent matrix of its own."""

    gates, State = 2, HiddenCell

    def __init__(self, i, h):
        super().__init__(i, h)
        self.R = matrix(3, h // 3, 2 * h // 3)

    def step(self, u, s):
        h = s.h.view(len(s.h), 3, -1)
        z, n = (a.reshape(s.h.shape) for a in torch.einsum("bnd,nde->bne", h, self.R).chunk(2, -1))
        z, n = (u[:, : self.hidden_size] + z).sigmoid(), (u[:, self.hidden_size :] + n).tanh()
        c = z * s.c + (1 - z) * n
        return HiddenCell(c.tanh() * z, c)


class HeadsAlike(Own):
    """Three heads with one matrix, a number for each, and a norm over each; transposed for a time."""

    gates, State = 1, Hidden

    def __init__(self, i, h):
        super().__init__(i, h)
        self.R, self.scale = matrix(h // 3, h // 3), matrix(3, 1)

    def step(self, u, s):
        h = s.h.view(len(s.h), 3, -1)
        r = (h @ self.R) * self.scale + u.view_as(h).transpose(1, 2).cos().transpose(1, 2)
        return Hidden(F.layer_norm(r, r.shape[-1:]).reshape(s.h.shape).tanh())


class Memory(NamedTuple):
    h: Tensor
    C: Tensor


class FastWeights(Own):
    """A matrix in the state, written by an outer product and read by a product with it."""

    gates, State = 4, Memory

    def initial_state(self, batch, like):
        H = self.hidden_size
        return Memory(like.new_zeros(batch, H), like.new_zeros(batch, H, H))

    def step(self, u, s):
        q, k, v, f = u.chunk(4, -1)
        C = f.sigmoid()[:, :, None] * s.C + v[:, :, None] * k[:, None, :]
        return Memory(((C @ q[:, :, None])[:, :, 0] + 0.1 * s.h).tanh(), C)


class Redistributed(Own):
    """The state times a matrix that is made of it, its rows softmax."""

    gates, State = 1, Hidden

    def __init__(self, i, h):
        super().__init__(i, h)
        self.V = matrix(h * h, h)

    def step(self, u, s):
        H = self.hidden_size
        R = (s.h @ self.V.t()).view(-1, H, H).softmax(-1)
        return Hidden(((s.h[:, None, :] @ R)[:, 0] + u).sin())


class Synapses(Own):
    """Every pair of units has parameters of its own; three inner steps, as an ODE solver's."""

    gates, State = 1, Hidden

    def __init__(self, i, h):
        super().__init__(i, h)
        self.mu, self.w = matrix(h, h), matrix(h, h)

    def step(self, u, s):
        v = s.h
        for _ in range(3):
            a = self.w * (v[:, :, None] - self.mu).sigmoid()
            v = (v + u + a.sum(1)) / (1.5 + (a * a).sum(1))
        return Hidden(v)


class Extremes(Own):
    """Largest and smallest numbers over the outer axis of a matrix, and means over both."""

    gates, State = 1, Hidden

    def step(self, u, s):
        a = s.h[:, :, None] * u[:, None, :].cos()
        return Hidden((a.amax(1) - a.amin(1) + 0.1 * a.mean((1, 2))[:, None] + a.mean(-1)).tanh())


class Clock(Own):
    """A clock of one number a row, and remainders."""

    gates, State = 1, HiddenCell

    def initial_state(self, batch, like):
        return HiddenCell(like.new_zeros(batch, self.hidden_size), like.new_zeros(batch))

    def step(self, u, s):
        on = torch.remainder(s.c, 3)[:, None] < 1
        return HiddenCell(torch.where(on, (u + torch.remainder(s.h, -0.7)).tanh(), s.h), s.c + 1)


MATRIX_CELLS = {
    **{"heads": Heads, "heads alike": HeadsAlike, "fast weights": FastWeights, "redistributed": Redistributed},
    **{"synapses": Synapses, "extremes": Extremes, "clock": Clock},
}
