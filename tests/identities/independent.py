"""Independent units."""

import torch

from identities.notation import identity, random_cell, run


def on_the_diagonal(activation, plain):
    ours, theirs = random_cell("indrnn", activation=activation), random_cell(plain)
    with torch.no_grad():
        theirs.weight_ih.copy_(ours.weight_ih)
        theirs.weight_hh.copy_(ours.weight_hh.diag())
        theirs.bias_ih.copy_(ours.bias_ih)
        theirs.bias_hh.zero_()
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    return run(ours, x)[0], run(theirs, x)[0]


@identity("indrnn is rnn_relu whose R is diagonal")
def relu():
    return on_the_diagonal("relu", "rnn_relu")


@identity("indrnn with tanh is rnn whose R is diagonal")
def tanh():
    return on_the_diagonal("tanh", "rnn")
