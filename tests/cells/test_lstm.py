"""The LSTM family: sizes, initialisation, arguments and bounds."""

import pytest
import torch

from rnnzoo import RNN, RnnZooError, create

I, H = 3, 5


def test_the_lstm_of_1997_starts_with_its_output_gates_nearly_closed():
    cell = create("lstm_1997", I, H)
    bias = cell.bias_ih.detach()
    assert bias[2 * H :].tolist() == [-1.0] * H
    for a in (bias[: 2 * H], cell.weight_ih.detach(), cell.weight_hh.detach()):
        assert 0.05 < float(a.abs().max()) <= 0.1
    assert sum(p.numel() for p in cell.parameters()) == 3 * (I * H + H * H + H)


def test_a_projection_is_half_as_wide_where_no_width_is_given():
    for hidden_size, P in ((6, 3), (5, 2), (1, 1)):
        cell = create("lstmp", I, hidden_size)
        assert (cell.proj_size, cell.output_size) == (P, P)
        assert tuple(cell.weight_hr.shape) == (P, hidden_size)
    with pytest.raises(RnnZooError, match="proj_size must be a whole number of at least 1, not 0"):
        create("lstmp", I, H, proj_size=0)
    with pytest.raises(RnnZooError, match="hidden_size must be a whole number of at least 1, not '5'"):
        create("lstmp", I, "5")


def test_a_stack_of_projected_cells_hands_projections_on():
    rnn = RNN("lstmp", I, H, 2, bidirectional=True, proj_size=2)
    y, (h_n, c_n) = rnn(torch.randn(7, 4, I))
    assert [tuple(a.shape) for a in (y, h_n, c_n)] == [(7, 4, 4), (4, 4, 2), (4, 4, H)]
    assert tuple(rnn.layers[1][0].weight_ih.shape) == (4 * H, 4)


def test_what_is_emitted_by_subtraction_stays_within_one():
    cell = create("sub_lstm", I, H).double()
    for p in cell.parameters():
        torch.nn.init.normal_(p, std=3)
    s = cell.initial_state(4, torch.empty(()).double())
    for _ in range(30):
        y, s = cell(3 * torch.randn(4, I).double(), s)
        assert y.abs().max() <= 1
