"""Structured cells equal torch's and torchrecurrent's: outputs, final states and gradients, in float64."""

import pytest
import torch
import torchrecurrent
from torch import nn

from rnnzoo import RNN, create
from rnnzoo.testing.case import expect, gradients, results

T, B, I, H = 6, 4, 3, 5

# name: torchrecurrent's cell, both sides' arguments, and our parameters by its names; where it has several biases
# for one of ours, the others are zero
PEERS = {
    "indrnn": ("IndRNNCell", {}, {"nonlinearity": "relu"}, {"weight_hh": "vector_u"}),  # its default is tanh
    "indrnn with tanh": ("IndRNNCell", {"activation": "tanh"}, {}, {"weight_hh": "vector_u"}),
    "fastrnn": ("FastRNNCell", {}, {}, {}),
    "fastgrnn": ("FastGRNNCell", {}, {"nonlinearity": "sigmoid"}, {}),  # its default gate is a tanh, not the paper's
    "antisymmetric_rnn": ("AntisymmetricRNNCell", *[{"epsilon": 0.3, "gamma": 0.2}] * 2, {}),
    "gated_antisymmetric_rnn": ("GatedAntisymmetricRNNCell", *[{"epsilon": 0.3, "gamma": 0.2}] * 2, {}),
    "cornn": ("coRNNCell", *[{"dt": 0.3, "gamma": 0.8, "epsilon": 1.2}] * 2, {}),
    "unicornn": ("UnICORNNCell", *[{"dt": 0.3, "alpha": 1.5}] * 2, {"c": "weight_ch"}),
    # its candidate for y reads the old z, and the paper's and the authors' code's the new: equal without that product
    "lem": ("LEMCell", *[{"dt": 0.8}] * 2, {"weight_zy": "weight_ch"}),
}


def alike(name, cell, peer, names):
    """The parameters of `cell`, random ones, in torchrecurrent's module; by our names."""
    theirs = dict(peer.named_parameters())
    own = {n: p for n, p in cell.named_parameters() if n not in ("bias_z", "bias_n")}
    with torch.no_grad():
        for p in peer.parameters():
            p.zero_()
        for p in cell.parameters():
            nn.init.normal_(p, std=0.5)
        if name == "lem":
            cell.weight_zy.zero_()
        for n, p in own.items():
            there = theirs[names.get(n, n)]
            if name == "cornn" and n == "weight_hh":
                there.copy_(p[:, :H])
                theirs["weight_ch"].copy_(p[:, H:])
            else:
                there.copy_(p)
        if name == "fastgrnn":
            theirs["bias_ih"].copy_(torch.cat([cell.bias_z, cell.bias_n]))


@pytest.mark.parametrize("name", PEERS)
def test_a_cell_equals_torchrecurrents(name):
    cls, ours, theirs, names = PEERS[name]
    cell = create(name.split()[0], I, H, **ours).double()
    peer = getattr(torchrecurrent, cls)(I, H, dtype=torch.float64, **theirs)
    alike(name, cell, peer, names)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    start = cell.State(*(torch.randn(B, H, dtype=torch.float64, requires_grad=True) for _ in cell.State._fields))

    def everything(step):
        s, ys = start, []
        for x_t in x:
            y, s = step(x_t, s)
            ys.append(y)
        got = results(torch.stack(ys), s)
        return got | gradients(got, {"x": x} | start._asdict())

    def of_peer(x_t, s):
        new = peer(x_t, tuple(s) if len(s) > 1 else s[0])
        new = cell.State(*new) if len(s) > 1 else cell.State(new)
        return new[0], new

    expect(everything(cell), everything(of_peer), f"expected {name} to equal torchrecurrent's {cls}", 1e-12)


def test_irnn_is_torchs_rectified_rnn_with_the_same_state_dict():
    rnn = RNN("irnn", I, H, 2, dtype=torch.float64)
    module = nn.RNN(I, H, 2, nonlinearity="relu", dtype=torch.float64)
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(std=0.5)
    rnn.load_state_dict(module.state_dict())
    relu = RNN("rnn_relu", I, H, 2, dtype=torch.float64)
    relu.load_state_dict(rnn.state_dict())
    x = torch.randn(T, B, I, dtype=torch.float64)
    for ours in (rnn, relu):
        torch.testing.assert_close(ours(x), module(x), rtol=0, atol=1e-12)
