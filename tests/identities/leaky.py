"""Leaky integrators."""

import torch

from identities.notation import identity, random_cell, run

x = torch.linspace(-2, 2, 6 * 4 * 3, dtype=torch.float64).cos().view(6, 4, 3)


@identity("leaky_rnn with α = 1 is rnn")
def without_leak():
    ours, rnn = random_cell("leaky_rnn", alpha=1.0), random_cell("rnn")
    with torch.no_grad():
        rnn.bias_hh.zero_()
    rnn.load_state_dict(ours.state_dict(), strict=False)
    return run(ours, x)[0], run(rnn, x)[0]


@identity("ctrnn without W and R goes to b by the factor 1 - Δt / τ a step")
def to_rest():
    cell, v = random_cell("ctrnn", dt=0.3), torch.randn(4, 5, dtype=torch.float64)
    with torch.no_grad():
        cell.weight_ih.zero_()
        cell.weight_hh.zero_()
    tau = 0.3 + (1 + cell.rho.exp()).log()
    b = cell.bias_ih
    return run(cell, x, cell.State(v))[1].v, b + (1 - 0.3 / tau) ** 6 * (v - b)


@identity("ctrnn with τ = Δt is R tanh(v) + W x + b, whose output is that of rnn")
def fastest():
    ours, rnn = random_cell("ctrnn"), random_cell("rnn")
    with torch.no_grad():
        ours.rho.fill_(-60)
        rnn.bias_hh.zero_()
    rnn.load_state_dict({n: p for n, p in ours.state_dict().items() if n != "rho"}, strict=False)
    return run(ours, x)[0], run(rnn, x)[0]
