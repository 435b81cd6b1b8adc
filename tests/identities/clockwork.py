"""Modules with clocks."""

import torch

from identities.notation import identity, random_cell, run


def as_rnn(cell):
    """An rnn with the same weights, those that the cell does not read left out."""
    rnn = random_cell("rnn", cell.input_size, cell.hidden_size)
    with torch.no_grad():
        rnn.weight_ih.copy_(cell.weight_ih)
        rnn.weight_hh.copy_(cell.weight_hh)
        rnn.bias_ih.copy_(cell.bias_ih)
        rnn.bias_hh.zero_()
    return rnn


@identity("clockwork_rnn of one module with period 1 is rnn")
def one_module():
    cell, x = random_cell("clockwork_rnn", periods=(1,)), torch.randn(6, 4, 3, dtype=torch.float64)
    return run(cell, x)[0], run(as_rnn(cell), x)[0]


@identity("clockwork_rnn, at a step when every module is due, is rnn whose R is block upper triangular")
def all_due():
    cell = random_cell("clockwork_rnn", 3, 6, periods=(1, 2, 4), t0=4)
    rnn = as_rnn(cell)
    with torch.no_grad():
        rnn.weight_hh[2:, :2] = 0
        rnn.weight_hh[4:, 2:4] = 0
    x, h = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 6, dtype=torch.float64)
    start = cell.initial_state(4, h)._replace(h=h)
    return cell(x, start)[0], rnn(x, rnn.State(h))[0]


@identity("clockwork_rnn holds the output of a module between its ticks, whatever comes in")
def held():
    y, _ = run(random_cell("clockwork_rnn", 3, 6, periods=(1, 3)), torch.randn(6, 4, 3, dtype=torch.float64))
    slow = y[..., 3:]
    return slow, slow[[0, 0, 0, 3, 3, 3]]
