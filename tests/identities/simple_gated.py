"""The simple gated units."""

import math

import torch

from identities.notation import identity, random_cell


@identity("the first step of sgu writes ln 2, whatever R_g and W_g")
def first_step_of_sgu():
    return first_step("sgu", math.log(2))


@identity("the first step of dsgu writes one half, whatever R_g, W_g and V")
def first_step_of_dsgu():
    return first_step("dsgu", 0.5)


def first_step(name, content):
    cell, x = random_cell(name), torch.randn(4, 3, dtype=torch.float64)
    z = x @ cell.weight_ih[5:].t() + cell.bias_ih[5:]
    return cell(x)[0], content * torch.clamp(0.2 * z + 0.5, 0, 1)


@identity("sgu with z below -2.5 keeps its state to the last bit", tolerance=0)
@torch.no_grad()
def closed():
    cell, h = random_cell("sgu"), torch.randn(4, 5, dtype=torch.float64)
    cell.weight_ih[5:], cell.weight_hh[5:], cell.bias_ih[5:] = 0, 0, -2.6
    return cell(torch.randn(4, 3, dtype=torch.float64), cell.State(h))[0], h
