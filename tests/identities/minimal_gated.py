"""The minimal gated unit and its simplifications."""

import torch

from identities.notation import identity, random_cell, run


def sequence():
    return torch.randn(6, 4, 3, dtype=torch.float64)


@identity("mgu is cho_gru whose reset and update share their rows")
@torch.no_grad()
def one_gate_for_two():
    mgu, gru = random_cell("mgu"), random_cell("cho_gru")
    for name in ("weight_ih", "weight_hh", "bias_ih"):
        f, h = getattr(mgu, name).chunk(2)
        getattr(gru, name).copy_(torch.cat([f, f, h]))
    x = sequence()
    return run(mgu, x)[0], run(gru, x)[0]


@identity("mgu whose gate does not see x is mgu1")
@torch.no_grad()
def no_x():
    mgu, mgu1 = random_cell("mgu"), random_cell("mgu1")
    mgu.weight_ih[:5] = 0
    mgu.weight_ih[5:] = mgu1.weight_ih
    mgu.weight_hh.copy_(mgu1.weight_hh)
    mgu.bias_ih.copy_(torch.cat([mgu1.bias_hh, mgu1.bias_ih]))
    x = sequence()
    return run(mgu, x)[0], run(mgu1, x)[0]


@identity("mgu1 whose gate has no bias is mgu2")
@torch.no_grad()
def no_bias():
    mgu1, mgu2 = random_cell("mgu1"), random_cell("mgu2")
    mgu1.load_state_dict(mgu2.state_dict() | {"bias_hh": torch.zeros(5)})
    x = sequence()
    return run(mgu1, x)[0], run(mgu2, x)[0]


@identity("mgu whose gate sees neither x nor h is mgu3")
@torch.no_grad()
def no_x_no_h():
    mgu, mgu3 = random_cell("mgu"), random_cell("mgu3")
    mgu.weight_ih[:5], mgu.weight_hh[:5] = 0, 0
    mgu.weight_ih[5:], mgu.weight_hh[5:] = mgu3.weight_ih, mgu3.weight_hh
    mgu.bias_ih.copy_(torch.cat([mgu3.b_f, mgu3.bias_ih]))
    x = sequence()
    return run(mgu, x)[0], run(mgu3, x)[0]


@identity("mgu3 with its gate open is nn.RNN")
@torch.no_grad()
def open_gate():
    mgu3, rnn = random_cell("mgu3"), torch.nn.RNN(3, 5, dtype=torch.float64)
    mgu3.b_f.fill_(40)
    for name in ("weight_ih", "weight_hh", "bias_ih"):
        getattr(rnn, f"{name}_l0").copy_(getattr(mgu3, name))
    rnn.bias_hh_l0.zero_()
    x = sequence()
    return run(mgu3, x)[0], rnn(x)[0]
