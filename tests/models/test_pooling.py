import math

import pytest
import torch

from rnnzoo.errors import RnnZooError
from rnnzoo.models import Pooling
from rnnzoo.models.pooling import POOLINGS

B, T, H = 3, 7, 6


def by_hand(pooling, steps, both):
    """Of one sequence, a list of T lists of H numbers: what the pooling says, in scalar loops."""
    last, first, half = steps[-1], steps[0], len(steps[0]) // 2
    last = last[:half] + first[half:] if both else last
    mean = [sum(step[k] for step in steps) / len(steps) for k in range(len(first))]
    most = [max(step[k] for step in steps) for k in range(len(first))]
    if pooling.kind != "attention":
        return {"last": last, "mean": mean, "max": most, "concat": last + most + mean}[pooling.kind]
    weight, bias, query = pooling.key.weight.tolist(), pooling.key.bias.tolist(), pooling.query.weight[0].tolist()
    scores = []
    for step in steps:
        key = [
            math.tanh(sum(w * v for w, v in zip(row, step, strict=True)) + b)
            for row, b in zip(weight, bias, strict=True)
        ]
        scores.append(math.exp(sum(q * k for q, k in zip(query, key, strict=True))))
    return [sum(s * step[k] for s, step in zip(scores, steps, strict=True)) / sum(scores) for k in range(len(first))]


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("kind", POOLINGS)
def test_a_pooling_is_what_it_says_of_each_sequence_alone(kind, both):
    pooling = Pooling(kind, H, both).double()
    y, lengths = torch.randn(B, T, H, dtype=torch.float64), torch.tensor([7, 1, 4])
    expected = torch.tensor(
        [by_hand(pooling, row[:n].tolist(), both) for row, n in zip(y, lengths.tolist(), strict=True)]
    )
    found = pooling(y, lengths)
    assert found.shape == (B, pooling.output_size)
    torch.testing.assert_close(found, expected.double())
    torch.testing.assert_close(pooling(y), pooling(y, torch.full((B,), T)), rtol=0, atol=0)


@pytest.mark.parametrize("kind", POOLINGS)
def test_what_lies_behind_an_end_changes_nothing_and_has_no_gradient(kind):
    pooling = Pooling(kind, H)
    y, lengths = torch.randn(B, T, H), torch.tensor([2, 7, 4])
    behind = torch.arange(T) >= lengths[:, None]
    for padding in (0.0, 1e30, math.inf, math.nan):
        padded = y.masked_fill(behind[..., None], padding).requires_grad_()
        found = pooling(padded, lengths)
        assert torch.equal(found, pooling(y, lengths))
        found.square().sum().backward()
        assert torch.equal(padded.grad[behind], torch.zeros(int(behind.sum()), H))


def test_an_unknown_pooling_is_an_error_with_the_nearest():
    with pytest.raises(RnnZooError, match="pooling 'men' is unknown; did you mean 'mean'"):
        Pooling("men", H)
