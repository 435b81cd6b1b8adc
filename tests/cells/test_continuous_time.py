"""Cells of continuous time: what they start from, and the bounds that their solvers keep."""

import pytest
import torch
import torch.nn.functional as F

from rnnzoo import RnnZooError, create


def within(a, low, high):
    """Whether the numbers lie in an interval and nearly fill it."""
    span = 0.1 * (high - low)
    return low - 1e-5 <= a.min() < low + span and high - span < a.max() <= high + 1e-5


def test_ltc_starts_in_the_ranges_of_the_authors_code():
    cell = create("ltc", 20, 50)
    with torch.no_grad():
        for side in ("ih", "hh"):
            assert within(F.softplus(getattr(cell, f"weight_{side}")), 0.001, 1)
            assert within(getattr(cell, f"slope_{side}"), 3, 8)
            assert within(getattr(cell, f"mid_{side}"), 0.3, 0.8)
            E = getattr(cell, f"reversal_{side}")
            assert set(E.unique().tolist()) == {-1.0, 1.0}
            assert 0.25 < (E < 0).float().mean() < 0.42
        assert within(F.softplus(cell.c), 0.4, 0.6)
        assert within(F.softplus(cell.g), 0.001, 1)
        assert within(cell.resting, -0.2, 0.2)


def test_the_potentials_of_ltc_stay_between_those_that_drive_it():
    cell = create("ltc", 3, 5)
    for p in cell.parameters():
        torch.nn.init.normal_(p)
    reversals = torch.cat([cell.reversal_ih.flatten(), cell.reversal_hh.flatten(), cell.resting])
    v = torch.linspace(-3, 3, 20).view(4, 5)
    most = float(torch.cat([reversals, v.flatten()]).abs().max().detach())
    s = cell.State(v)
    for _ in range(20):
        y, s = cell(30 * torch.randn(4, 3), s, dt=10 * torch.rand(4, 1))
        assert y.abs().max() <= most * (1 + 1e-6)


def test_the_state_of_gru_ode_stays_within_one():
    cell, s = create("gru_ode", 3, 5, unfolds=2), None
    for p in cell.parameters():
        torch.nn.init.normal_(p, std=3)
    for _ in range(50):
        y, s = cell(10 * torch.randn(4, 3), s, dt=2 * torch.rand(4, 1))
        assert y.abs().max() <= 1


def test_gru_ode_and_ode_rnn_start_as_their_authors_code():
    cell = create("gru_ode", 20, 50)
    assert (cell.bias_ih == 0.05).all()
    bounds = [(6 / 170) ** 0.5, *[(6 / 100) ** 0.5] * 3]
    for W, bound in zip((cell.weight_ih, *cell.weight_hh.chunk(3)), bounds, strict=True):
        assert within(W.detach(), -bound, bound)
    cell = create("ode_rnn", 20, 50)
    assert not cell.bias_hu.any()
    assert not cell.bias_uh.any()
    for W in (cell.weight_hu, cell.weight_uh):
        torch.testing.assert_close(W.std(), torch.tensor(0.1), rtol=0.1, atol=0)


def test_cfc_starts_as_the_authors_code():
    cell = create("cfc", 20, 50, backbone_units=60, backbone_layers=2)
    with torch.no_grad():
        weights = (cell.weight_ih, cell.weight_hh, cell.weight_deep[0], *cell.weight_head.chunk(4))
        bounds = [6 / 130] * 2 + [6 / 120] + [6 / 110] * 4
        for W, bound in zip(weights, bounds, strict=True):
            assert within(W, -(bound**0.5), bound**0.5)
        for b, fan in ((cell.bias_ih, 70), (cell.bias_deep, 60), (cell.bias_head, 60)):
            assert 0.9 < b.abs().max() * fan**0.5 <= 1
    pure = create("cfc_pure", 3, 50)
    assert (pure.A == 1).all()
    assert pure.w.all()  # |w| has no gradient at zero


@pytest.mark.parametrize("name", ["ltc", "gru_ode", "ode_rnn"])
def test_a_solver_without_steps_is_refused(name):
    with pytest.raises(RnnZooError, match="unfolds must be a whole number of at least 1, not 0"):
        create(name, 3, 5, unfolds=0)
