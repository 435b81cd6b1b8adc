"""The strongly typed cells beside torchrecurrent's: values, final states and gradients in float64."""

import pytest
import torch
import torchrecurrent
from torch import nn

from rnnzoo import create
from rnnzoo.testing.case import expect, gradients
from rnnzoo.testing.case import run as run_cell

T, B, I, H = 6, 4, 3, 5


def made(name, peer):
    """Our cell, and their layer with its parameters; it has a bias more, which is zero here."""
    cell, layer = create(name, I, H).double(), getattr(torchrecurrent, peer)(I, H).double()
    for p in cell.parameters():
        nn.init.normal_(p, std=0.5)
    with torch.no_grad():
        for p in layer.parameters():
            p.zero_()
        (theirs,) = layer.cells
        theirs.weight_ih.copy_(cell.weight_ih)
        theirs.bias_ih[-len(cell.bias_ih) :] = cell.bias_ih  # of t_rnn: that of z is not in the paper
        if name != "t_rnn":
            theirs.weight_hh.copy_(cell.weight_previous)
    return cell, layer


def run_layer(layer, x, memory):
    """Outputs and final memory of a layer whose state, but for a TRNN's, holds the previous input too."""
    if isinstance(layer, torchrecurrent.TRNN):
        y, last = layer(x, memory[None])
    else:
        y, (last, _) = layer(x, (memory[None], (x.new_zeros(B, I),)))
    return {"outputs": y, "memory": last[0]}


@pytest.mark.parametrize(("name", "peer"), [("t_rnn", "TRNN"), ("t_gru", "TGRU"), ("t_lstm", "TLSTM")])
def test_a_strongly_typed_cell_equals_torchrecurrents(name, peer):
    cell, layer = made(name, peer)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(B, H, dtype=torch.float64, requires_grad=True)
    field = "c" if name == "t_lstm" else "h"
    y, last = run_cell(cell, x, cell.initial_state(B, x.detach())._replace(**{field: memory}), {})
    got, wanted = {"outputs": y, "memory": getattr(last, field)}, run_layer(layer, x, memory)
    leaves, pairs = {"x": x, "memory at the start": memory}, {"weight_ih": "weight_ih"}
    if name != "t_rnn":
        pairs |= {"weight_previous": "weight_hh", "bias_ih": "bias_ih"}
    got |= gradients(got, leaves | {n: getattr(cell, n) for n in pairs})
    wanted |= gradients(wanted, leaves | {n: getattr(layer.cells[0], there) for n, there in pairs.items()})
    expect(got, wanted, f"expected {name} to equal torchrecurrent's", 1e-12)
