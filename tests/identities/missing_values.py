"""Cells for series with missing values."""

import torch

from identities.notation import identity, random_cell, run

T, B = 6, 4


@identity("gru_d that misses nothing is cho_gru on x with a one beside it")
def nothing_missing():
    ours, gru = random_cell("gru_d"), random_cell("cho_gru")
    with torch.no_grad():
        ours.bias_decay_h.zero_()
        gru.weight_ih.copy_(ours.weight_ih)
        gru.weight_hh.copy_(ours.weight_hh)
        gru.bias_ih.copy_(ours.bias_ih + ours.weight_mh.sum(1))
    x = torch.randn(T, B, 3, dtype=torch.float64)
    return run(ours, x, mask=torch.ones_like(x), dt=torch.zeros_like(x))[0], run(gru, x)[0]


@identity("gru_d that has seen nothing for long takes the mean for x")
def mean_alone():
    cell = random_cell("gru_d")
    cell.mean.normal_()
    with torch.no_grad():
        cell.decay_x.fill_(1.0)
        cell.decay_h.zero_()
    x, s = torch.randn(B, 3, dtype=torch.float64), cell.initial_state(B, cell.mean)
    s = s._replace(x=torch.randn_like(s.x))
    mask = torch.zeros_like(x)
    hidden = cell(x, s, mask=mask, dt=torch.full_like(x, 1e3))[0]
    told = cell(x, s._replace(x=cell.mean.expand(B, 3)), mask=mask, dt=torch.zeros_like(x))[0]
    return hidden, told
