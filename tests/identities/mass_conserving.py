"""Cells that conserve what they are given."""

import torch

from identities.notation import identity, random_cell, run


def mass_flow():
    cell = random_cell("mc_lstm", 4, 5, mass_size=2)
    x, c = torch.randn(30, 4, 4, dtype=torch.float64), torch.rand(4, 5, dtype=torch.float64)
    x[..., :2] = x[..., :2].abs()
    return cell, x, cell.State(torch.zeros_like(c), c)


@identity("mc_lstm: what is held and has gone out is what was held and came in")
def conservation():
    cell, x, s = mass_flow()
    y, last = run(cell, x, s)
    assert (last.c >= 0).all()
    assert (y >= 0).all()
    return last.c.sum(-1) + y.sum((0, -1)), s.c.sum(-1) + x[..., :2].sum((0, -1))


@identity("mc_lstm with its output gate open holds nothing back", 0.0)
def an_open_gate():
    cell, x, s = mass_flow()
    with torch.no_grad():
        cell.bias_ih[:5] = 60
    last = run(cell, x, s)[1]
    return last.c, torch.zeros_like(last.c)
