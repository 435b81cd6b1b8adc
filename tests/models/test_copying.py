"""The copy gate and its loss against sums over single words."""

import math

import pytest
import torch
import torch.nn.functional as F

from rnnzoo.models.copying import log_probabilities, token_losses
from rnnzoo.models.encoder_decoder import Decoded

B, T, S, V, X = 2, 3, 4, 5, 2


def decoded(copying=True):
    torch.manual_seed(1)
    logits = torch.randn(B, T, V, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(B, T, S, dtype=torch.float64).softmax(-1).requires_grad_()
    gate = torch.randn(B, T, dtype=torch.float64, requires_grad=True)
    return Decoded(logits, weights, gate) if copying else Decoded(logits, weights, None)


IDS = torch.tensor([[1, 5, 1, 6], [3, 4, 5, 5]])  # of which 5 and 6 are beyond the vocabulary
TARGETS = torch.tensor([[1, 6, -100], [5, 0, 4]])


def probability(d, b, t, word):
    """Of one word, from the equation."""
    g = 1 / (1 + torch.exp(-d.gate[b, t]))
    p = torch.zeros((), dtype=torch.float64)
    if word < V:
        p = p + g * torch.exp(d.logits[b, t, word]) / sum(torch.exp(d.logits[b, t, w]) for w in range(V))
    for s in range(S):
        if int(IDS[b, s]) == word:
            p = p + (1 - g) * d.weights[b, t, s]
    return p


def test_probabilities_are_the_sum_of_making_and_copying_and_add_up_to_one():
    d = decoded()
    log_p = log_probabilities(d, IDS, X)
    assert log_p.shape == (B, T, V + X)
    for b in range(B):
        for t in range(T):
            for word in range(V + X):
                expected = probability(d, b, t, word).item()
                assert math.exp(log_p[b, t, word].item()) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(B, T).double())
    one = Decoded(d.logits[:, 1], d.weights[:, 1], d.gate[:, 1])
    torch.testing.assert_close(log_probabilities(one, IDS, X), log_p[:, 1])


def test_the_loss_of_a_target_is_that_of_its_probability_and_so_is_the_gradient():
    d = decoded()
    nats, loss = token_losses(d, TARGETS, IDS)
    assert nats is loss
    expected = torch.zeros((), dtype=torch.float64)
    for b in range(B):
        for t in range(T):
            if TARGETS[b, t] >= 0:
                one = -torch.log(probability(d, b, t, int(TARGETS[b, t])))
                assert nats[b, t].item() == pytest.approx(one.item(), rel=1e-12)
                expected = expected + one
            else:
                assert nats[b, t] == 0
    inputs = [d.logits, d.weights, d.gate]
    for a, b in zip(
        torch.autograd.grad(nats.sum(), inputs, retain_graph=True), torch.autograd.grad(expected, inputs), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


def test_without_a_gate_the_smoothed_loss_is_torchs():
    d = decoded(copying=False)
    targets = torch.tensor([[1, 2, -100], [4, 0, 4]])
    nats, loss = token_losses(d, targets, None, 0.1)
    theirs = F.cross_entropy(d.logits.transpose(1, 2), targets, reduction="none", label_smoothing=0.1)
    torch.testing.assert_close(loss, theirs)
    torch.testing.assert_close(nats, F.cross_entropy(d.logits.transpose(1, 2), targets, reduction="none"))


def test_smoothing_with_a_gate_spreads_over_what_is_made():
    d = decoded()
    nats, loss = token_losses(d, TARGETS, IDS, 0.25)
    spread = -d.logits.log_softmax(-1).mean(-1)
    there = TARGETS >= 0
    torch.testing.assert_close(loss[there], 0.75 * nats[there] + 0.25 * spread[there])


def test_a_word_that_can_be_neither_made_nor_copied_costs_much_and_breaks_nothing():
    d = decoded()
    nats, _ = token_losses(d, torch.full((B, T), 6), IDS)  # the second source has none
    assert (nats[1] > 80).all()
    gradients = torch.autograd.grad(nats.sum(), [d.logits, d.weights, d.gate])
    assert all(g.isfinite().all() for g in gradients)
