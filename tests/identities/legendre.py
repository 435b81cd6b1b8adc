"""Memories of a sliding window."""

import torch

from identities.notation import identity, random_cell, run


@identity("lmu whose memory feels neither h nor itself is linear in what is written")
def linear_memory():
    cell = random_cell("lmu", order=6, theta=9.0)
    with torch.no_grad():
        cell.encoder_hh.zero_()
        cell.encoder_mh.zero_()
    x = torch.randn(2, 7, 4, 3, dtype=torch.float64)
    one, other, both = (run(cell, a)[1].m for a in (x[0], x[1], x[0] - 2 * x[1]))
    return both, one - 2 * other


@identity("lmu that is fed 1 for long remembers a constant: 1 and zeros", tolerance=1e-6)
def constant_memory():
    cell = random_cell("lmu", 1, order=6, theta=9.0)
    with torch.no_grad():
        cell.encoder_ih.fill_(1.0)
        cell.encoder_hh.zero_()
        cell.encoder_mh.zero_()
    m = run(cell, torch.ones(600, 1, 1, dtype=torch.float64))[1].m
    return m, torch.eye(6, dtype=torch.float64)[:1]
