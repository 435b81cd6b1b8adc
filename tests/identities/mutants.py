"""The mutants of the GRU."""

import torch

from identities.notation import identity, random_cell, run


def sequence(features):
    return torch.randn(6, 4, features, dtype=torch.float64)


@identity("mut1 with an identity for W_h is mut1 of raw x")
@torch.no_grad()
def raw_x_in_mut1():
    ours, raw = random_cell("mut1", 5), random_cell("mut1", 5, raw_input=True)
    weights = {"weight_ih": torch.cat([raw.weight_ih, torch.eye(5)])}
    ours.load_state_dict(raw.state_dict() | weights)
    x = sequence(5)
    return run(ours, x)[0], run(raw, x)[0]


@identity("mut1 with its z closed keeps its state to the last bit", tolerance=0)
@torch.no_grad()
def closed():
    cell = random_cell("mut1")
    cell.weight_ih[:5], cell.bias_ih[:5] = 0, -800
    h = torch.randn(4, 5, dtype=torch.float64)
    return run(cell, sequence(3), cell.State(h))[1].h, h


@identity("mut2 is cho_gru with rows z r h")
@torch.no_grad()
def another_order():
    ours, gru = random_cell("mut2"), random_cell("cho_gru")
    copy_z_r_h(ours, gru)
    x = sequence(3)
    return run(ours, x)[0], run(gru, x)[0]


@identity("mut2 of raw x is cho_gru with an identity for W_r")
@torch.no_grad()
def raw_x_in_mut2():
    raw, ours, gru = random_cell("mut2", 5, raw_input=True), random_cell("mut2", 5), random_cell("cho_gru", 5)
    z, h = raw.weight_ih.chunk(2)
    ours.load_state_dict(raw.state_dict() | {"weight_ih": torch.cat([z, torch.eye(5), h])})
    copy_z_r_h(ours, gru)
    x = sequence(5)
    return run(raw, x)[0], run(gru, x)[0]


@identity("mut3 near zero is cho_gru", tolerance=1e-14)
@torch.no_grad()
def tanh_is_linear_near_zero():
    ours, gru = random_cell("mut3"), random_cell("cho_gru")
    ours.bias_ih[10:] = 0
    copy_z_r_h(ours, gru)
    x, h = 1e-6 * sequence(3), 1e-6 * torch.randn(4, 5, dtype=torch.float64)
    return run(ours, x, ours.State(h))[0], run(gru, x, gru.State(h))[0]


def copy_z_r_h(ours, gru):
    for name in ("weight_ih", "weight_hh", "bias_ih"):
        z, r, h = getattr(ours, name).chunk(3)
        getattr(gru, name).copy_(torch.cat([r, z, h]))
