"""FastRNN and FastGRNN."""

import torch

from identities.notation import identity, random_cell, run


def beside(name, **constants):
    """A fastrnn and another cell with its weights."""
    fast, other = random_cell("fastrnn"), random_cell(name, **constants)
    with torch.no_grad():
        for p in ("weight_ih", "weight_hh", "bias_ih"):
            getattr(other, p).copy_(getattr(fast, p))
    return fast, other, torch.randn(6, 4, 3, dtype=torch.float64)


@identity("fastrnn with α open and β shut is rnn")
def without_residual():
    fast, rnn, x = beside("rnn")
    with torch.no_grad():
        fast.alpha.fill_(60)
        fast.beta.fill_(-60)
        rnn.bias_hh.zero_()
    return run(fast, x)[0], run(rnn, x)[0]


@identity("fastrnn with β = -α is leaky_rnn")
def leaky():
    fast, rnn, x = beside("leaky_rnn", alpha=0.3)
    with torch.no_grad():
        fast.alpha.copy_(torch.tensor(0.3).double().logit())
        fast.beta.copy_(-fast.alpha)
    rnn.alpha = fast.alpha.sigmoid().item()
    return run(fast, x)[0], run(rnn, x)[0]


def multiplied(name):
    low, full = random_cell(name, rank_ih=2, rank_hh=3), random_cell(name)
    own = dict(low.named_parameters())
    with torch.no_grad():
        for weight in ("weight_ih", "weight_hh"):
            own[weight] = own[weight] @ own.pop(f"{weight}_low")
        for n, p in full.named_parameters():
            p.copy_(own[n])
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    return run(low, x)[0], run(full, x)[0]


@identity("fastrnn of low rank is the full one with its factors multiplied")
def fastrnn_of_low_rank():
    return multiplied("fastrnn")


@identity("fastgrnn of low rank is the full one with its factors multiplied")
def fastgrnn_of_low_rank():
    return multiplied("fastgrnn")


@identity("fastgrnn with ζ open and ν shut is gru with its reset open and the same rows for z and n")
def shared_rows():
    fast, gru = random_cell("fastgrnn"), random_cell("gru")
    with torch.no_grad():
        fast.zeta.fill_(60)
        fast.nu.fill_(-60)
        gru.weight_ih.copy_(torch.cat([0 * fast.weight_ih, fast.weight_ih, fast.weight_ih]))
        gru.weight_hh.copy_(torch.cat([0 * fast.weight_hh, fast.weight_hh, fast.weight_hh]))
        gru.bias_ih.copy_(torch.cat([torch.full((5,), 60.0), fast.bias_z, fast.bias_n]))
        gru.bias_hh.zero_()
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    return run(fast, x)[0], run(gru, x)[0]
