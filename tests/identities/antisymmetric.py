"""Euler steps of equations whose matrix has a bounded symmetric part."""

import torch

from identities.notation import identity, random_cell, run

STEP = {"epsilon": 0.4, "gamma": 0.2}


def jacobian_at_rest(cell):
    with torch.no_grad():
        cell.bias_ih.zero_()
    x = torch.zeros(1, 3, dtype=torch.float64)
    return torch.autograd.functional.jacobian(lambda h: cell(x, cell.State(h[None]))[0][0], torch.zeros(5).double())


@identity("antisymmetric_rnn's Jacobian at rest has the symmetric part (1 - ε γ) I")
def symmetric_part():
    J = jacobian_at_rest(random_cell("antisymmetric_rnn", **STEP))
    return (J + J.t()) / 2, (1 - 0.4 * 0.2) * torch.eye(5, dtype=torch.float64)


@identity("gated_antisymmetric_rnn with its gate open is antisymmetric_rnn")
def gate_open():
    gated, plain = random_cell("gated_antisymmetric_rnn", **STEP), random_cell("antisymmetric_rnn", **STEP)
    with torch.no_grad():
        gated.bias_ih[:5] = 60
        plain.weight_ih.copy_(gated.weight_ih[5:])
        plain.weight_hh.copy_(gated.weight_hh)
        plain.bias_ih.copy_(gated.bias_ih[5:])
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    return run(gated, x)[0], run(plain, x)[0]


@identity("gated_antisymmetric_rnn with its gate shut holds its state")
def gate_shut():
    cell, h = random_cell("gated_antisymmetric_rnn", **STEP), torch.randn(4, 5, dtype=torch.float64)
    with torch.no_grad():
        cell.bias_ih[:5] = -60
    return run(cell, torch.randn(6, 4, 3, dtype=torch.float64), cell.State(h))[1].h, h


@identity("lipschitz_rnn without its linear part and with an antisymmetric W is antisymmetric_rnn")
def without_linear_part():
    ours = random_cell("lipschitz_rnn", epsilon=0.4, gamma_a=0.0, beta_w=1.0, gamma_w=0.2)
    theirs = random_cell("antisymmetric_rnn", **STEP)
    with torch.no_grad():
        ours.weight_hh[:5] = 0
        theirs.weight_hh.copy_(ours.weight_hh[5:])
        theirs.weight_ih.copy_(ours.weight_ih)
        theirs.bias_ih.copy_(ours.bias_ih)
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    return run(ours, x)[0], run(theirs, x)[0]


@identity("lipschitz_rnn with β = 1 has at rest a Jacobian of the symmetric part (1 - ε (γ_a + γ_w)) I")
def skew():
    constants = {"beta_a": 1.0, "beta_w": 1.0, "gamma_a": 0.3, "gamma_w": 0.2}
    J = jacobian_at_rest(random_cell("lipschitz_rnn", epsilon=0.4, **constants))
    return (J + J.t()) / 2, (1 - 0.4 * 0.5) * torch.eye(5, dtype=torch.float64)
