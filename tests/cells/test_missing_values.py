"""gru_d: missing values as NaN, the mean, its masks in stacks, and the time since a variable was observed."""

import pytest
import torch

from rnnzoo import RNN, RnnZooError, create
from rnnzoo.cells.missing_values import time_since_observed

T, B, I, H = 7, 4, 3, 5


@pytest.mark.parametrize("kernel", ["reference", "auto"])
def test_missing_values_may_be_nan_and_what_stands_there_does_not_matter(kernel):
    rnn = RNN("gru_d", I, H, kernel=kernel, dtype=torch.float64)
    mask = torch.rand(T, B, I) < 0.5
    x, dt = torch.randn(T, B, I).double(), torch.rand(T, B, I).double()
    y, last = rnn(x, mask=mask, dt=dt)
    holes = torch.where(mask, x, torch.nan).requires_grad_()
    y_holes, last_holes = rnn(holes, mask=mask.double(), dt=dt)
    torch.testing.assert_close((y_holes, last_holes), (y, last), rtol=0, atol=1e-12)
    y_holes.sum().backward()
    assert holes.grad.isfinite().all()
    assert not holes.grad[~mask].any()
    assert all(p.grad.isfinite().all() for p in rnn.parameters())


def test_what_was_never_observed_is_the_mean():
    cell = create("gru_d", I, H)
    cell.mean.copy_(torch.tensor([1.0, -2.0, 0.5]))
    s = cell.initial_state(B, torch.empty(()))
    torch.testing.assert_close(s.x, cell.mean.expand(B, I))
    nothing = {"mask": torch.zeros(B, I), "dt": torch.rand(B, I)}
    y, _ = cell(torch.full((B, I), torch.nan), s, **nothing)
    told, _ = cell(cell.mean.expand(B, I), s, **nothing)
    torch.testing.assert_close(y, told)


def test_one_mask_for_all_variables_goes_through_a_stack_and_one_a_variable_does_not():
    rnn = RNN("gru_d", I, H, 2)
    x, dt, mask = torch.randn(T, B, I), torch.rand(T, B, 1), torch.rand(T, B, 1) < 0.5
    y, _ = rnn(x, mask=mask, dt=dt)
    assert y.shape == (T, B, H)
    with pytest.raises(RnnZooError, match="mask of gru_d must have 1 or 5 features, not 3"):
        rnn(x, mask=mask.expand(T, B, I), dt=dt)
    with pytest.raises(RnnZooError, match="dt of gru_d must have 1 or 3 features, not 2"):
        rnn(x, mask=mask, dt=dt.expand(T, B, 2))


def test_the_time_since_a_variable_was_observed_is_that_of_the_papers_example():
    # Che et al. 2018, figure 1: two variables at times 0, 0.1, 0.6, 1.6, 2.2, 2.5, 3.1
    gaps = torch.tensor([0.0, 0.1, 0.5, 1.0, 0.6, 0.3, 0.6])[:, None]
    mask = torch.tensor([[0, 1, 0, 1, 0, 1, 0], [1, 0, 0, 1, 0, 0, 1]]).t()
    wanted = torch.tensor([[0.0, 0.1, 0.5, 1.5, 0.6, 0.9, 0.6], [0.0, 0.1, 0.6, 1.6, 0.6, 0.9, 1.5]]).t()
    torch.testing.assert_close(time_since_observed(gaps, mask), wanted)


def test_it_starts_as_the_authors_code_with_decays_that_learn():
    cell = create("gru_d", 16, 50)
    for R in cell.weight_hh.detach().chunk(3):
        torch.testing.assert_close(R @ R.t(), torch.eye(50), rtol=0, atol=1e-5)
    for W in (*cell.weight_ih.chunk(3), *cell.weight_mh.chunk(3)):
        assert 0.9 < W.abs().max() / (6 / 66) ** 0.5 <= 1
    for W in (cell.decay_x, cell.decay_h):
        assert 0 <= W.min() < W.max() <= 0.25
    assert not any(b.any() for b in (cell.bias_ih, cell.bias_decay_x, cell.bias_decay_h))
