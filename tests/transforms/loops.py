"""Plain loops that the transforms are compared with, and what they are compared on."""

import torch
from torch.nn.functional import linear

from rnnzoo.cells import HiddenCell
from rnnzoo.testing.case import expect, gradients, results

T, B, I, H = 7, 4, 3, 5


def double(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def lstm(cell, wx, rh, c, candidate=torch.tanh):
    """One step of an LSTM from W x + b and R h + b."""
    i, f, g, o = (wx + rh).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * candidate(g)
    return o.sigmoid() * c.tanh(), c


def products(cell, x, h):
    """W x + b and R h + b."""
    return linear(x, cell.weight_ih, cell.bias_ih), linear(h, cell.weight_hh, cell.bias_hh)


def run(step, h, c, steps=T):
    """Outputs and the final state of ``h, c = step(t, h, c)``."""
    hs = []
    for t in range(steps):
        h, c = step(t, h, c)
        hs.append(h)
    return torch.stack(hs), HiddenCell(h[None], c[None])


def equal(rnn, got, wanted, x, hx, tolerance=1e-10):
    """Values, and gradients of x, the initial state and every weight."""
    leaves = {"x": x, "h_0": hx[0], "c_0": hx[1]} | dict(rnn.named_parameters())
    got, wanted = (values | gradients(values, leaves) for values in (results(*got), results(*wanted)))
    expect(got, wanted, "expected a transform to equal a plain loop", tolerance)


def start(requires_grad=True):
    """x, and the state to start from."""
    x, hx = double(T, B, I), HiddenCell(double(1, B, H), double(1, B, H))
    for a in (x, *hx):
        a.requires_grad_(requires_grad)
    return x, hx


def kernels(rnn, x, **options):
    """The kernels that run a call."""
    return [row.kernel for row in rnn.explain(x, **options).rows if row.why_not is None]
