"""The CRF beside all of its sequences of tags, one by one."""

from itertools import product

import pytest
import torch

from rnnzoo import RnnZooError
from rnnzoo.models import LinearChainCRF

LENGTHS = [4, 1, 3, 5]


def crf(tags: int, forbidden=None) -> LinearChainCRF:
    made = LinearChainCRF(tags, forbidden).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def paths_and_scores(crf, emissions):
    """All sequences of tags over emissions (T, K), and the score of each, term by term."""
    paths = list(product(range(crf.tags), repeat=len(emissions)))
    scores = []
    for path in paths:
        score = crf.start[path[0]] + crf.end[path[-1]]
        for t, k in enumerate(path):
            score = score + emissions[t, k]
            if t:
                score = score + crf.transitions[path[t - 1], k]
        scores.append(score)
    return paths, torch.stack(scores)


def case(tags: int):
    emissions = torch.randn(len(LENGTHS), max(LENGTHS), tags, dtype=torch.float64, requires_grad=True)
    return crf(tags), emissions, torch.tensor(LENGTHS)


def gradients(value, crf, emissions):
    return torch.autograd.grad(value, [emissions, *crf.parameters()])


@pytest.mark.parametrize("tags", [1, 2, 3])
def test_the_partition_function_is_the_sum_over_all_paths_and_so_is_its_gradient(tags):
    model, emissions, lengths = case(tags)
    weights = torch.randn(len(LENGTHS), dtype=torch.float64)
    each = [paths_and_scores(model, e[:n])[1].exp().sum().log() for e, n in zip(emissions, LENGTHS, strict=True)]
    computed, expected = model.log_partition(emissions, lengths), torch.stack(each)
    torch.testing.assert_close(computed, expected)
    torch.testing.assert_close(
        gradients(computed @ weights, model, emissions), gradients(expected @ weights, model, emissions)
    )


@pytest.mark.parametrize("tags", [1, 3])
def test_the_log_likelihood_is_the_share_of_one_path_and_so_is_its_gradient(tags):
    model, emissions, lengths = case(tags)
    y = torch.randint(tags, emissions.shape[:2])
    shares = []
    for b, n in enumerate(LENGTHS):
        paths, scores = paths_and_scores(model, emissions[b, :n])
        shares.append(scores.log_softmax(0)[paths.index(tuple(y[b, :n].tolist()))])
    computed, expected = model.log_likelihood(emissions, y, lengths), torch.stack(shares)
    torch.testing.assert_close(computed, expected)
    assert (computed <= 1e-12).all()
    torch.testing.assert_close(
        gradients(computed.sum(), model, emissions), gradients(expected.sum(), model, emissions), atol=1e-12, rtol=1e-9
    )


@pytest.mark.parametrize("tags", [1, 2, 3])
def test_the_decoded_path_is_the_best_of_all(tags):
    model, emissions, lengths = case(tags)
    decoded = model.decode(emissions, lengths)
    for b, n in enumerate(LENGTHS):
        paths, scores = paths_and_scores(model, emissions[b, :n])
        assert tuple(decoded[b, :n].tolist()) == paths[int(scores.argmax())]
        assert (decoded[b, n:] == 0).all()


@pytest.mark.parametrize("tags", [1, 3])
def test_marginals_are_the_shares_of_the_paths_through_a_tag(tags):
    model, emissions, lengths = case(tags)
    marginals = model.marginals(emissions, lengths)
    for b, n in enumerate(LENGTHS):
        paths, scores = paths_and_scores(model, emissions[b, :n])
        expected = torch.zeros_like(emissions[b])
        for path, p in zip(paths, scores.softmax(0), strict=True):
            for t, k in enumerate(path):
                expected[t, k] += p
        torch.testing.assert_close(marginals[b], expected)
    slope = torch.autograd.grad(model.log_partition(emissions, lengths).sum(), emissions)[0]
    torch.testing.assert_close(marginals, slope)


def test_forbidden_steps_are_not_decoded():
    forbidden = torch.zeros(4, 4, dtype=torch.bool)
    forbidden[0, 1] = forbidden[1, 1] = forbidden[3, 2] = forbidden[0, 3] = True  # of three tags; 3 is the border
    for _ in range(20):
        model, emissions = crf(3, forbidden), 3 * torch.randn(1, 4, 3, dtype=torch.float64)
        paths, scores = paths_and_scores(model, emissions[0])
        may = [not any(forbidden[i, j] for i, j in zip((3, *path), (*path, 3), strict=True)) for path in paths]
        best = max((k for k in range(len(paths)) if may[k]), key=lambda k: scores[k].item())
        assert tuple(model.decode(emissions, torch.tensor([4]))[0].tolist()) == paths[best]


def test_where_every_path_is_forbidden_one_is_decoded_all_the_same():
    model = crf(2, torch.ones(3, 3, dtype=torch.bool))
    assert model.decode(torch.randn(1, 7, 2).double(), torch.tensor([7])).shape == (1, 7)


def test_what_lies_behind_the_end_and_the_other_sequences_have_no_effect():
    model, emissions, lengths = case(3)
    y = torch.randint(3, emissions.shape[:2])
    wide = torch.full((len(LENGTHS), 9, 3), torch.nan, dtype=torch.float64)
    for b, n in enumerate(LENGTHS):
        wide[b, :n] = emissions[b, :n].detach()
    wide.requires_grad_()
    far = torch.nn.functional.pad(y, (0, 4), value=-100).where(torch.arange(9) < lengths[:, None], -100)
    whole, padded = model.log_likelihood(emissions, y, lengths), model.log_likelihood(wide, far, lengths)
    alone = [model.log_likelihood(emissions[b : b + 1, :n], y[b : b + 1, :n], lengths[b : b + 1])
             for b, n in enumerate(LENGTHS)]  # fmt: skip
    assert (whole == padded).all()
    torch.testing.assert_close(whole, torch.cat(alone), atol=1e-14, rtol=1e-14)
    slopes = torch.autograd.grad(padded.sum(), wide)[0]
    assert (slopes[torch.arange(9) >= lengths[:, None]] == 0).all()
    assert (slopes[:, :5] == torch.autograd.grad(whole.sum(), emissions)[0]).all()
    assert (model.decode(wide, lengths)[:, :5] == model.decode(emissions, lengths)).all()
    assert (model.marginals(wide, lengths)[:, :5] == model.marginals(emissions, lengths)).all()


def test_scores_in_half_precision_are_added_up_in_float32():
    model, emissions, lengths = case(3)
    model = model.float()
    short = emissions.detach().bfloat16()
    assert model.log_partition(short, lengths).dtype == torch.float32
    torch.testing.assert_close(model.log_partition(short, lengths), model.log_partition(short.float(), lengths))


def test_shapes_that_do_not_fit_are_errors():
    with pytest.raises(RnnZooError, match=r"must be \(B, T, 3\) with lengths \(B,\), not \(2, 5, 4\) with \(2,\)"):
        crf(3).log_partition(torch.zeros(2, 5, 4), torch.tensor([5, 5]))
    with pytest.raises(RnnZooError, match=r"forbidden must be \(4, 4\) for 3 tags, not \(3, 3\)"):
        LinearChainCRF(3, torch.zeros(3, 3, dtype=torch.bool))
    with pytest.raises(RnnZooError, match="tags"):
        LinearChainCRF(0)
