"""Orthogonal and unitary recurrences."""

import torch

from identities.notation import identity, random_cell, run


@identity("exprnn of rotations is orthogonal_rnn of the tangents of half their angles, backwards")
def two_maps():
    cayley, exponential = random_cell("orthogonal_rnn", 3, 4), random_cell("exprnn", 3, 4)
    exponential.load_state_dict(cayley.state_dict(), strict=False)
    exponential.base.copy_(torch.eye(4))
    angles = torch.tensor([0.7, -1.9], dtype=torch.float64)
    cayley.rotate_pairs_((angles / 2).tan())
    exponential.rotate_pairs_(-angles)
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    return run(cayley, x)[0], run(exponential, x)[0]


@identity("exprnn stays what it is when it is rebased")
def rebased():
    cell = random_cell("exprnn")
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    before = run(cell, x)[0]
    cell.rebase()
    assert not cell.skew.any()
    return run(cell, x)[0], before


def kept(name, **constants):
    """Norms of the states of a linear cell that nothing is fed to, and the norm that it started from."""
    cell = random_cell(name, 3, 7, bias=False, **constants)
    s = cell.State(torch.randn_like(cell.initial_state(2, cell.weight_ih).h))
    y, _ = run(cell, torch.zeros(9, 2, 3, dtype=torch.float64), s)
    return y.norm(dim=-1), s.h.norm(dim=-1).expand(9, 2)


@identity("orthogonal_rnn without b and x keeps the norm of its state")
def scornn_keeps():
    return kept("orthogonal_rnn", negative=3)


@identity("exprnn without b and x keeps the norm of its state")
def exprnn_keeps():
    return kept("exprnn")


@identity("unitary_rnn without b and x keeps the norm of its state")
def urnn_keeps():
    return kept("unitary_rnn")
