"""lmu: what it starts from, and that its memory is the window that it says."""

import numpy as np
import pytest
import torch

from rnnzoo import RnnZooError, create


def test_the_memory_gives_back_a_smooth_input_of_the_window():
    theta, d, T = 50.0, 12, 300
    cell = create("lmu", 1, 5, order=d, theta=theta).double()
    with torch.no_grad():
        cell.encoder_ih.fill_(1.0)
        cell.encoder_hh.zero_()
        t = torch.arange(T).double()
        x = (t / 11).sin() + (t / 17).cos()
        s = cell.initial_state(1, x)
        for x_t in x:
            s = cell(x_t.view(1, 1), s)[1]
    ago = np.arange(5, 46)
    legendre = np.polynomial.legendre.legvander(2 * ago / theta - 1, d - 1)
    # an input that is held for a step lags half a step
    middle = (x[T - 1 - ago] + x[T - ago]) / 2
    np.testing.assert_allclose(legendre @ s.m[0].numpy(), middle, atol=0.02)


def test_it_starts_as_the_paper_says():
    cell = create("lmu", 30, 40)
    assert not cell.encoder_mh.any()
    assert not cell.bias_ih.any()
    assert 0.8 < cell.encoder_ih.abs().max() / (3 / 30) ** 0.5 <= 1
    assert 0.8 < cell.encoder_hh.abs().max() / (3 / 40) ** 0.5 <= 1
    for W in (cell.weight_ih, cell.weight_hh, cell.weight_mh):
        torch.testing.assert_close(W.std(), torch.tensor((2 / sum(W.shape)) ** 0.5), rtol=0.1, atol=0)


def test_a_window_of_no_length_or_an_order_below_one_is_refused():
    with pytest.raises(RnnZooError, match=r"theta of lmu must be above 0 steps, not 0\.0"):
        create("lmu", 3, 5, theta=0.0)
    with pytest.raises(RnnZooError, match="order must be a whole number of at least 1, not 0"):
        create("lmu", 3, 5, order=0)
