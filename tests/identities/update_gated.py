"""Cells with an update gate and no reset."""

import torch

from identities.notation import identity, random_cell, run


def sequence(features=3):
    return torch.randn(6, 4, features, dtype=torch.float64)


def halves(a, b):
    """Two blocks of rows, swapped."""
    return torch.cat([b, a])


@identity("ugrnn is janet with beta = 0, rows swapped")
@torch.no_grad()
def as_much_written_as_forgotten():
    ugrnn, janet = random_cell("ugrnn"), random_cell("janet", beta=0.0)
    for name in ("weight_ih", "weight_hh", "bias_ih"):
        getattr(janet, name).copy_(halves(*getattr(ugrnn, name).chunk(2)))
    x = sequence()
    return run(ugrnn, x)[0], run(janet, x)[0]


@identity("ugrnn is gru with its reset open")
@torch.no_grad()
def reset_open():
    ugrnn, gru = random_cell("ugrnn"), random_cell("gru")
    for name in ("weight_ih", "weight_hh", "bias_ih"):
        c, g = getattr(ugrnn, name).chunk(2)
        getattr(gru, name).copy_(torch.cat([torch.zeros_like(c), g, c]))
    gru.bias_ih[:5] = 60
    gru.bias_hh.zero_()
    x = sequence()
    return run(ugrnn, x)[0], run(gru, x)[0]


@identity("the state of intersection_rnn is ugrnn, with the rows h q")
@torch.no_grad()
def state_alone():
    ours, ugrnn = random_cell("intersection_rnn", 5), random_cell("ugrnn", 5)
    for name in ("weight_ih", "weight_hh", "bias_ih"):
        _, h, _, q = getattr(ours, name).chunk(4)
        getattr(ugrnn, name).copy_(torch.cat([h, q]))
    x = sequence(5)
    return run(ours, x)[1].h, run(ugrnn, x)[1].h


@identity("intersection_rnn with its depth gate open passes x through, whatever its state", tolerance=0)
@torch.no_grad()
def x_passes():
    cell = random_cell("intersection_rnn", 5)
    cell.weight_ih[10:15], cell.weight_hh[10:15], cell.bias_ih[10:15] = 0, 0, 60
    x = sequence(5)
    y, s = run(cell, x)
    assert s.h.abs().min() > 0
    return y, x


@identity("ligru with its running statistics folded into W and b is ligru without norm")
@torch.no_grad()
def folded():
    normed, plain = random_cell("ligru"), random_cell("ligru", norm="none")
    normed.running_mean.normal_()
    normed.running_var.uniform_(0.5, 2)
    scale = normed.gain / (normed.running_var + 1e-5).sqrt()
    plain.weight_ih.copy_(scale[:, None] * normed.weight_ih)
    plain.bias_ih.copy_(normed.bias_ih - scale * normed.running_mean)
    plain.weight_hh.copy_(normed.weight_hh)
    x = sequence()
    return run(normed, x)[0], run(plain, x)[0]


@identity("the atanh of star after one step is light_ru after it, b_z = 0")
@torch.no_grad()
def outer_tanh():
    star, light = random_cell("star"), random_cell("light_ru")
    star.weight_ih.copy_(light.weight_ih)
    star.weight_hh.copy_(light.weight_hh)
    star.bias_ih.copy_(torch.cat([torch.zeros(5), light.bias_ih]))
    x, h = sequence(), 0.5 * torch.randn(4, 5, dtype=torch.float64)
    return run(star, x[:1], star.State(h))[0].atanh(), run(light, x[:1], light.State(h))[0]


@identity("star with k closed applies tanh to its state", tolerance=1e-15)
@torch.no_grad()
def k_closed():
    star = random_cell("star")
    star.weight_ih[5:], star.weight_hh[:], star.bias_ih[5:] = 0, 0, -800
    h = torch.randn(4, 5, dtype=torch.float64)
    return run(star, sequence()[:2], star.State(h))[1].h, h.tanh().tanh()


@identity("minimal_rnn whose gate does not see h is linear in time")
@torch.no_grad()
def linear_in_time():
    cell = random_cell("minimal_rnn")
    cell.weight_hh.zero_()
    x, h = sequence(), torch.randn(4, 5, dtype=torch.float64)
    z = (x @ cell.weight_ih.t() + cell.bias_ih).tanh()
    u = (z @ cell.weight_z.t() + cell.bias_hh).sigmoid()
    left = u.flip(0).cumprod(0).flip(0)  # of what there was before a step, at the end
    after = torch.cat([left[1:], torch.ones_like(left[:1])])
    return run(cell, x, cell.State(h))[1].h, left[0] * h + (after * (1 - u) * z).sum(0)
