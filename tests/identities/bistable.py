"""The bistable cells."""

import torch

from identities.notation import identity, random_cell, run


@identity("nbrc with diagonal R is brc")
@torch.no_grad()
def diagonal():
    nbrc, brc = random_cell("nbrc"), random_cell("brc")
    nbrc.weight_ih.copy_(brc.weight_ih)
    nbrc.bias_ih.copy_(brc.bias_ih)
    nbrc.weight_hh.copy_(torch.cat([brc.w_a.diag(), brc.w_c.diag()]))
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    return run(nbrc, x)[0], run(brc, x)[0]


@identity("brc at a = 2 without input settles at the roots of h = tanh(2 h)")
@torch.no_grad()
def two_memories():
    cell = random_cell("brc")
    cell.weight_ih.zero_()
    cell.bias_ih[:5], cell.bias_ih[5:] = 40, 0
    starts = torch.linspace(-1, 1, 4, dtype=torch.float64)[:, None].expand(4, 5)
    h = run(cell, torch.zeros(300, 4, 3, dtype=torch.float64), cell.State(starts))[1].h
    assert (h.abs() - 0.9575).abs().max() < 1e-4
    assert torch.equal(h.sign(), starts.sign())
    return h, (2 * h).tanh()
