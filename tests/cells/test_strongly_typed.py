"""The strongly typed cells: sizes, initialisation and states."""

import pytest
import torch

from rnnzoo import RNN, create

I, H = 3, 5


def test_all_products_are_with_inputs():
    sizes = {name: sum(p.numel() for p in create(name, I, H).parameters()) for name in ("t_rnn", "t_gru", "t_lstm")}
    assert sizes == {"t_rnn": 2 * I * H + H, "t_gru": 6 * I * H + 3 * H, "t_lstm": 6 * I * H + 3 * H}


@pytest.mark.parametrize("name", ["t_rnn", "t_gru", "t_lstm"])
def test_every_parameter_starts_as_that_of_a_linear_layer(name):
    for p in create(name, 25, 60).parameters():
        assert 0.19 < float(p.detach().abs().max()) <= 0.2


def test_states_of_a_stack_are_tensors_in_torchs_shapes_though_inputs_differ_in_size():
    _, last = RNN("t_gru", I, H, 2)(torch.randn(7, 4, I))
    assert [tuple(a.shape) for a in last] == [(2, 4, H), (2, 4, 3 * H)]


def test_the_output_at_a_step_depends_on_no_weight_of_the_previous_input_at_the_first():
    cell, x = create("t_gru", I, H).double(), torch.randn(2, 4, I).double()
    first, s = cell(x[0])
    second = cell(x[1], s)[0]
    with torch.no_grad():
        cell.weight_previous += 1
    again, s = cell(x[0])
    assert torch.equal(again, first)
    assert (cell(x[1], s)[0] != second).all()
