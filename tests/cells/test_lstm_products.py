"""What neither oracles nor identities say of LSTMs with more products."""

import pytest
import torch
from oracles import ORACLES, run_oracle

from rnnzoo import RnnZooError, create
from rnnzoo.testing.case import expect, results, run

T, B, I, H = 4, 2, 3, 5


def randomised(name, *sizes, **constants):
    cell = create(name, *(sizes or (I, H)), **constants).double()
    for p in cell.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return cell


def count(name, **constants):
    return sum(p.numel() for p in create(name, I, H, **constants).parameters())


def test_parameters_are_as_many_as_the_papers_have():
    lstm = 4 * (I * H + H * H + H)
    assert count("multiplicative_lstm") == 5 * I * H + 5 * H * H + 4 * H
    assert count("mogrifier_lstm", rounds=5) == lstm + 3 * (I * H + I) + 2 * (I * H + H)
    assert count("mogrifier_lstm", rounds=3, rank=2) == lstm + 3 * 2 * (I + H) + 2 * I + H
    assert count("nested_lstm", depth=3) == lstm + 2 * 4 * (2 * H * H + H)
    assert count("wmc_lstm") == lstm + 3 * H * H
    assert count("residual_lstm") == lstm + 3 * H + H * H + I * H


def test_a_residual_lstm_of_as_many_inputs_as_units_adds_x_itself():
    cell = randomised("residual_lstm", H, H)
    assert cell.weight_res is None
    x = torch.randn(T, B, H, dtype=torch.float64)
    s = cell.State(*torch.randn(2, B, H, dtype=torch.float64))
    wanted = run_oracle(ORACLES["residual_lstm"].step, cell, x, s)
    expect(results(*run(cell, x, s, {})), results(*wanted), "expected x as the shortcut", 1e-12)


def test_the_first_step_of_a_multiplicative_lstm_from_zero_sees_no_recurrent_weight():
    cell, x = randomised("multiplicative_lstm"), torch.randn(B, I, dtype=torch.float64)
    before = cell(x)[0]
    with torch.no_grad():
        cell.weight_hh.mul_(2)
        cell.weight_mh.mul_(-3)
    torch.testing.assert_close(cell(x)[0], before, rtol=0, atol=0)


def test_a_single_round_of_a_mogrifier_scales_x_alone():
    cell, x = randomised("mogrifier_lstm", rounds=1), torch.randn(B, I, dtype=torch.float64)
    torch.nn.init.zeros_(cell.bias_1)
    plain = create("lstm", I, H).double()
    plain.load_state_dict({n: p for n, p in cell.state_dict().items() if n in plain.state_dict()}, strict=False)
    torch.nn.init.zeros_(plain.bias_hh)
    torch.testing.assert_close(cell(x)[0], plain(x)[0], rtol=0, atol=1e-15)  # from h = 0 it scales by one


def test_the_output_gate_of_a_wmc_lstm_sees_the_new_memory_and_the_others_the_old():
    cell, x = randomised("wmc_lstm"), torch.randn(B, I, dtype=torch.float64)
    before = cell(x)[0]
    with torch.no_grad():
        cell.weight_ch[: 2 * H] *= -2
        torch.testing.assert_close(cell(x)[0], before, rtol=0, atol=0)
        cell.weight_ch[2 * H :] *= -2
        assert (cell(x)[0] - before).abs().max() > 1e-3


def test_memories_of_a_nested_lstm_are_the_outputs_of_the_level_within():
    cell = randomised("nested_lstm", depth=4)
    s = cell(10 * torch.randn(B, I, dtype=torch.float64))[1]
    assert tuple(s.inner.shape) == (B, 3 * H)
    outer = torch.cat([s.c, s.inner[:, : 2 * H]], -1)
    assert (outer.abs() < 1).all()  # each is a gate times a tanh of the next


@pytest.mark.parametrize(
    ("name", "constants", "message"),
    [
        ("mogrifier_lstm", {"rounds": -1}, "rounds of mogrifier_lstm must be 0 or more, not -1"),
        ("mogrifier_lstm", {"rank": -2}, "rank of mogrifier_lstm must be 0 or more, not -2"),
        ("nested_lstm", {"depth": 1}, "depth of nested_lstm must be at least 2, not 1; 'lstm' has one level"),
    ],
)
def test_a_constant_out_of_range_is_named_with_its_value(name, constants, message):
    with pytest.raises(RnnZooError, match=message):
        create(name, I, H, **constants)
