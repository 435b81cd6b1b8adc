"""The strongly typed cells."""

import torch
import torch.nn.functional as F

from identities.notation import identity, random_cell, run


def sequence():
    return torch.randn(6, 4, 3, dtype=torch.float64)


@identity("t_rnn with its gate closed to x keeps its state to the last bit", 0.0)
def keeps():
    cell = random_cell("t_rnn")
    with torch.no_grad():
        cell.weight_ih[5:], cell.bias_ih[:] = 0, 40
    h = torch.randn(4, 5, dtype=torch.float64)
    return run(cell, sequence(), cell.State(h))[0], h.expand(6, 4, 5)


@identity("t_rnn of a constant x comes to W x, geometrically")
def settles():
    cell, x, h = random_cell("t_rnn"), sequence()[0], torch.randn(4, 5, dtype=torch.float64)
    z, f = (x @ cell.weight_ih.t()).chunk(2, -1)
    rate = (f + cell.bias_ih).sigmoid()
    return run(cell, x.expand(6, 4, 3), cell.State(h))[0][-1], z + rate**6 * (h - z)


@identity("t_lstm that looks at one input, with its output open and no bias on z, is t_rnn")
def one_input():
    lstm, rnn, x = random_cell("t_lstm"), random_cell("t_rnn"), sequence()
    with torch.no_grad():
        lstm.weight_previous.zero_()
        lstm.weight_ih[:10], lstm.weight_ih[10:] = rnn.weight_ih, 0
        lstm.bias_ih[:5], lstm.bias_ih[5:10], lstm.bias_ih[10:] = 0, rnn.bias_ih, 40  # tanh(40) is 1 to the last bit
    h = torch.randn(4, 5, dtype=torch.float64)
    start = lstm.State(h, h, torch.zeros(4, 15, dtype=torch.float64))
    return run(lstm, x, start)[0], run(rnn, x, rnn.State(h))[0]


def convolved(cell, x):
    """z, f and o of all time steps, by one causal convolution of width 2 over time."""
    kernel = torch.stack([cell.weight_previous, cell.weight_ih], -1)
    rows = F.conv1d(F.pad(x.permute(1, 2, 0), (1, 0)), kernel, cell.bias_ih)
    return rows.permute(2, 0, 1).chunk(3, -1)


def scanned(a, b):
    """h_t = Σ_k b_k Π_{j > k} a_j, from zero."""
    return torch.stack([sum(b[k] * a[k + 1 : t + 1].prod(0) for k in range(t + 1)) for t in range(len(b))])


@identity("t_gru is a causal convolution of width 2 and a scan")
def gru_by_convolution():
    cell, x = random_cell("t_gru"), sequence()
    z, f, o = convolved(cell, x)
    return run(cell, x)[0], scanned(f.sigmoid(), z * o.tanh())


@identity("t_lstm is a causal convolution of width 2, a scan and an output gate")
def lstm_by_convolution():
    cell, x = random_cell("t_lstm"), sequence()
    z, f, o = convolved(cell, x)
    return run(cell, x)[0], o.tanh() * scanned(f.sigmoid(), (-f).sigmoid() * z)
