"""What the numbers of a forecast mean, beside scipy's distributions."""

import numpy as np
import pytest
import torch
from scipy import stats

from rnnzoo import RnnZooError
from rnnzoo.models.forecast_losses import LOSSES, make_loss
from rnnzoo.models.forecast_model import Outlook

QUANTILES = [0.05, 0.3, 0.5, 0.95]
B, K = 3, 4


def outlook(outputs: int, scale: float = 2.5) -> Outlook:
    draw = torch.Generator().manual_seed(0)
    left = torch.randn(B, K, outputs, generator=draw, dtype=torch.float64)
    base = 10 + torch.randn(B, K, generator=draw, dtype=torch.float64)
    return Outlook(left, base, torch.full((B, 1), scale, dtype=torch.float64))


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def distribution(name: str, out: Outlook, b: int, k: int):
    """scipy's, of one step ahead, in the units of the series."""
    left, base, scale = out.left[b, k].numpy(), out.base[b, k].item(), out.scale[b, 0].item()
    if name == "normal":
        return stats.norm(base + scale * left[0], scale * (softplus(left[1]) + 1e-4))
    if name == "student_t":
        return stats.t(2 + softplus(left[0]) + 1e-4, base + scale * left[1], scale * (softplus(left[2]) + 1e-4))
    rate = scale * softplus(base / scale + left[0]) + 1e-6
    if name == "poisson":
        return stats.poisson(rate)
    r = 1 / (softplus(left[1]) + 1e-4)
    return stats.nbinom(r, r / (r + rate))


@pytest.mark.parametrize("name", ["normal", "student_t", "poisson", "negative_binomial"])
def test_losses_and_quantiles_are_those_of_scipys_distributions(name):
    loss = make_loss(name, QUANTILES)
    out = outlook(loss.outputs)
    counts = name in ("poisson", "negative_binomial")
    y = torch.randint(0, 30, (B, K)).double() if counts else 10 + 3 * torch.randn(B, K, dtype=torch.float64)
    nats, quantiles = loss.loss(out, y), loss.quantiles(out)
    for b in range(B):
        for k in range(K):
            own = distribution(name, out, b, k)
            expected = own.logpmf(y[b, k].item()) if counts else own.logpdf(y[b, k].item()) + np.log(2.5)
            assert nats[b, k].item() == pytest.approx(-expected, rel=1e-6)  # -ln p in units of the scale
            assert quantiles[b, k].tolist() == pytest.approx(own.ppf(QUANTILES).tolist(), rel=1e-6)


def test_a_mixtures_loss_and_quantiles_are_those_of_its_parts():
    loss = make_loss("normal_mixture", QUANTILES)
    out = outlook(loss.outputs)
    y = 10 + 3 * torch.randn(B, K, dtype=torch.float64)
    nats, quantiles = loss.loss(out, y), loss.quantiles(out)
    for b in range(B):
        for k in range(K):
            weight, loc, spread = np.split(out.left[b, k].numpy(), 3)
            weight = np.exp(weight) / np.exp(weight).sum()
            parts = stats.norm(out.base[b, k].item() + 2.5 * (loc + np.arange(-1, 2)), 2.5 * (softplus(spread) + 1e-4))
            density = (weight * parts.pdf(y[b, k].item())).sum()
            assert nats[b, k].item() == pytest.approx(-np.log(2.5 * density), rel=1e-6)
            for q, value in zip(QUANTILES, quantiles[b, k].tolist(), strict=True):
                assert (weight * parts.cdf(value)).sum() == pytest.approx(q, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "error"),
    [("mse", lambda e: e**2), ("mae", abs), ("huber", lambda e: e**2 / 2 if abs(e) < 1 else abs(e) - 0.5)],
)
def test_points_by_their_errors_in_units_of_the_scale(name, error):
    loss, out, y = make_loss(name, QUANTILES), outlook(1), 10 + 5 * torch.randn(B, K, dtype=torch.float64)
    point = out.base + 2.5 * out.left[..., 0]
    expected = [error(e) for e in ((point - y) / 2.5).flatten().tolist()]
    assert loss.loss(out, y).flatten().tolist() == pytest.approx(expected)
    assert torch.equal(loss.quantiles(out), point[..., None].expand(-1, -1, 4))


@pytest.mark.parametrize("name", LOSSES)
def test_quantiles_rise_and_gradients_are_those_of_finite_differences(name):
    loss = make_loss(name, QUANTILES)
    out = outlook(loss.outputs)
    assert (loss.quantiles(out).diff(dim=-1) >= -1e-12).all()
    y = torch.randint(0, 30, (B, K)).double()
    left = out.left.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a: loss.loss(out._replace(left=a), y), (left,), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", ["poisson", "negative_binomial"])
@pytest.mark.parametrize("value", [-1.0, 2.5])
def test_what_is_no_count_is_one_line(name, value):
    loss = make_loss(name, QUANTILES)
    out, y = outlook(loss.outputs), torch.full((B, K), value, dtype=torch.float64)
    with pytest.raises(RnnZooError, match=rf"are for counts, 0, 1, 2 and so on, but a value is {value:g}"):
        loss.loss(out, y)


def test_a_loss_that_there_is_not_is_one_line():
    with pytest.raises(RnnZooError, match="loss 'quantiles' is unknown; did you mean 'quantile'"):
        make_loss("quantiles", QUANTILES)


@pytest.mark.parametrize("name", ["normal", "student_t", "poisson", "negative_binomial"])
def test_a_quantile_may_be_asked_at_a_level_of_each_step(name):
    loss = make_loss(name, [0.5])
    out = outlook(loss.outputs)
    levels = torch.rand(B, K, 2, dtype=torch.float64) * 0.98 + 0.01
    found = loss.at(out, levels)
    for b in range(B):
        for k in range(K):
            expected = distribution(name, out, b, k).ppf(levels[b, k].numpy())
            assert found[b, k].tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_between_quantiles_and_beyond_them_lies_a_normal_distribution_where_they_are_its():
    loss, out = make_loss("quantile", QUANTILES), outlook(len(QUANTILES))
    of_normal = torch.from_numpy(stats.norm(0.3, 1.7).ppf(QUANTILES)).expand(B, K, -1)
    levels = torch.tensor([0.01, 0.05, 0.2, 0.5, 0.8, 0.99], dtype=torch.float64).expand(B, K, -1)
    found = loss.at(out._replace(left=of_normal), levels)
    expected = out.base[..., None] + out.scale[..., None] * torch.from_numpy(stats.norm(0.3, 1.7).ppf(levels.numpy()))
    torch.testing.assert_close(found, expected)
    alone = make_loss("quantile", [0.5])
    assert (
        alone.at(out._replace(left=out.left[..., :1]), levels) == alone.quantiles(out._replace(left=out.left[..., :1]))
    ).all()
