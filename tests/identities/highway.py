"""Highway networks within a time step."""

import torch

from identities.notation import identity, random_cell, run


@identity("rhn of depth 1 is gru with its reset open and the rows of z negated")
def depth_one():
    ours, gru = random_cell("rhn", depth=1), random_cell("gru")
    with torch.no_grad():
        gru.weight_ih[:5], gru.weight_hh[:5], gru.bias_ih[:5] = 0, 0, 60
        gru.weight_ih[5:10], gru.weight_ih[10:] = -ours.weight_ih[5:], ours.weight_ih[:5]
        gru.weight_hh[5:10], gru.weight_hh[10:] = -ours.weight_hh[5:], ours.weight_hh[:5]
        gru.bias_ih[5:10], gru.bias_ih[10:] = -ours.bias_hh[5:], ours.bias_hh[:5]
        gru.bias_hh.zero_()
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    return run(ours, x)[0], run(gru, x)[0]


@identity("rhn whose transform gates are shut holds its state")
def shut():
    cell, h = random_cell("rhn", depth=3), torch.randn(4, 5, dtype=torch.float64)
    with torch.no_grad():
        cell.bias_hh.view(3, 2, 5)[:, 1] = -60
    return run(cell, torch.randn(6, 4, 3, dtype=torch.float64), cell.State(h))[1].h, h


@identity("uncoupled_rhn is rhn where the rows of c are those of t negated")
def coupled():
    one, two = random_cell("rhn", depth=2), random_cell("uncoupled_rhn", depth=2)
    with torch.no_grad():
        for name, layers in (("weight_ih", 1), ("weight_hh", 2), ("bias_hh", 2)):
            h, t = getattr(one, name).view(layers, 2, 5, -1).unbind(1)
            p = getattr(two, name)
            p.copy_(torch.stack([h, t, -t], 1).view_as(p))
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    return run(two, x)[0], run(one, x)[0]
