"""Attention against loops over single numbers: values, gradients, and what lies behind a source's end."""

import math

import pytest
import torch

from rnnzoo import RnnZooError
from rnnzoo.models.attention import ATTENTIONS, AdditiveAttention, DotAttention, GeneralAttention, check_attention

B, T, S, Q, E = 2, 3, 4, 5, 6


def score(kind, module, q, m, c):
    """The score of one query and one source step, number by number."""
    if kind is DotAttention:
        return sum(q[i] * m[i] for i in range(len(q)))
    if kind is GeneralAttention:
        W = module.weight.weight
        return sum(q[i] * W[i, j] * m[j] for i in range(Q) for j in range(E))
    W, U, b, v = module.query.weight, module.key.weight, module.key.bias, module.score.weight[0]
    total = 0.0
    for i in range(Q):
        inner = b[i] + sum(W[i, j] * q[j] for j in range(Q)) + sum(U[i, j] * m[j] for j in range(E))
        if c is not None:
            inner = inner + module.coverage.weight[i, 0] * c
        total = total + v[i] * torch.tanh(inner)
    return total


def by_hand(kind, module, query, memory, lengths, coverage=None):
    contexts, weights = [], []
    for b in range(B):
        for t in range(T):
            scores = [
                score(kind, module, query[b, t], memory[b, s], None if coverage is None else coverage[b, s])
                for s in range(lengths[b])
            ]
            total = sum(torch.exp(one) for one in scores)
            a = [torch.exp(one) / total for one in scores] + [torch.zeros((), dtype=query.dtype)] * (S - lengths[b])
            weights.append(torch.stack(a))
            contexts.append(sum(a[s] * memory[b, s] for s in range(S)))
    return torch.stack(contexts).view(B, T, -1), torch.stack(weights).view(B, T, S)


def gradients(outputs, inputs):
    torch.manual_seed(5)
    return torch.autograd.grad(sum((y * torch.randn_like(y)).sum() for y in outputs), inputs)


@pytest.mark.parametrize(
    ("kind", "covered"),
    [(DotAttention, False), (GeneralAttention, False), (AdditiveAttention, False), (AdditiveAttention, True)],
)
def test_values_and_gradients_are_those_of_loops_over_single_numbers(kind, covered):
    size = Q if kind is DotAttention else E
    module = kind(Q, size, coverage=covered).double()
    query = torch.randn(B, T, Q, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(B, S, size, dtype=torch.float64, requires_grad=True)
    coverage = torch.rand(B, S, dtype=torch.float64, requires_grad=True) if covered else None
    lengths = [4, 2]
    mask = torch.arange(S) < torch.tensor(lengths)[:, None]
    got = module(query, memory, mask, coverage=coverage)
    expected = by_hand(kind, module, query, memory, lengths, coverage)
    inputs = [query, memory, *module.parameters(), *([coverage] if covered else [])]
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    for a, b in zip(gradients(got, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [DotAttention, GeneralAttention, AdditiveAttention])
def test_weights_add_up_to_one_and_what_lies_behind_the_end_has_none(kind):
    module = kind(Q, Q).double()
    query, memory = torch.randn(B, T, Q).double(), torch.randn(B, S, Q).double()
    mask = torch.arange(S) < torch.tensor([[3], [1]])
    context, weights = module(query, memory, mask)
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, T).double())
    assert (weights[0, :, 3:] == 0).all()
    assert (weights[1, :, 1:] == 0).all()
    torch.testing.assert_close(context[1], memory[1, :1].expand(T, Q))
    loud = memory.masked_fill(~mask[..., None], 1e6)
    assert torch.equal(module(query, loud, mask)[1], weights)


def test_keys_made_before_give_the_same():
    for name, kind in ATTENTIONS.items():
        module = kind(Q, Q).double()
        query, memory = torch.randn(B, T, Q).double(), torch.randn(B, S, Q).double()
        for a, b in zip(module(query, memory), module(query, memory, keys=module.keys(memory)), strict=True):
            assert torch.equal(a, b), name


def test_two_equal_steps_share_their_weight():
    memory = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    _, weights = DotAttention(2, 2)(torch.tensor([[[math.log(3), 0.0]]]), memory)
    torch.testing.assert_close(weights[0, 0], torch.tensor([3 / 7, 3 / 7, 1 / 7]))


def test_what_does_not_go_together_is_one_line():
    with pytest.raises(RnnZooError, match=r"decoder_size=6 or attention='general' would do"):
        DotAttention(5, 6)
    with pytest.raises(RnnZooError, match="reads no coverage"):
        GeneralAttention(5, 6, coverage=True)
    with pytest.raises(RnnZooError, match="attention 'genral' is unknown; did you mean 'general'"):
        check_attention("genral")
    assert check_attention("none") is check_attention(None) is None
