"""Plain and structured cells: how they start, their clocks and sizes, and what they refuse."""

import pickle

import pytest
import torch

from rnnzoo import RNN, RnnZooError, create

COUNTS = {  # numbers of parameters at I = 3, H = 5, from the papers' equations
    "indrnn": 5 * 3 + 2 * 5,
    "clockwork_rnn": 5 * 3 + 5 * 5 + 5,
    "scrn": 40 * 3 + 5 * 3 + 5 * 40 + 5 * 5 + 5,
    "rhn": 2 * 5 * 3 + 3 * (2 * 25 + 2 * 5),
    "uncoupled_rhn": 3 * 5 * 3 + 3 * (3 * 25 + 3 * 5),
    "fastrnn": 5 * 3 + 25 + 5 + 2,
    "fastgrnn": 5 * 3 + 25 + 2 * 5 + 2,
    "antisymmetric_rnn": 5 * 3 + 25 + 5,
    "gated_antisymmetric_rnn": 2 * 5 * 3 + 25 + 2 * 5,
    "lipschitz_rnn": 5 * 3 + 2 * 25 + 5,
    "cornn": 5 * 3 + 2 * 25 + 5,
    "unicornn": 5 * 3 + 3 * 5,
    "lem": 4 * 5 * 3 + 4 * 25 + 4 * 5,
    "leaky_rnn": 5 * 3 + 25 + 5,
    "ctrnn": 5 * 3 + 25 + 5 + 5,
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_cell_has_as_many_parameters_as_its_equations(name):
    assert sum(p.numel() for p in create(name, 3, 5).parameters()) == COUNTS[name]


def test_low_rank_weights_have_fewer_parameters():
    cell = create("fastrnn", 30, 50, rank_ih=4, rank_hh=6)
    assert sum(p.numel() for p in cell.parameters()) == 4 * (30 + 50) + 6 * (50 + 50) + 50 + 2


def test_irnn_starts_from_the_identity_times_its_scale():
    for scale in (1.0, 0.01):
        cell = create("irnn", 200, 100, scale=scale)
        assert torch.equal(cell.weight_hh, scale * torch.eye(100))
        assert cell.weight_ih.std().item() == pytest.approx(0.001, rel=0.05)
        assert not cell.bias_ih.any()
        assert not cell.bias_hh.any()


def test_indrnns_recurrent_weights_start_and_stay_within_the_gains_over_a_sequence():
    cell = create("indrnn", 3, 1000, max_steps=10, max_gain=2.0, min_gain=0.5)
    gains = cell.weight_hh.detach() ** 10
    assert 0.5 <= gains.min() < 0.51
    assert 1.98 < gains.max() <= 2.0001
    with torch.no_grad():
        cell.weight_hh.mul_(-3)
    cell.constrain_()
    torch.testing.assert_close(cell.weight_hh.detach() ** 10, torch.full((1000,), 2.0))
    assert (cell.weight_hh < 0).all()


def test_rhns_transform_gates_start_shut_and_uncoupled_carry_gates_open():
    rows = create("uncoupled_rhn", 3, 5, depth=2, gate_bias=-4.0).bias_hh.view(2, 3, 5)
    assert torch.equal(rows[:, 0], torch.zeros(2, 5))
    assert torch.equal(rows[:, 1], torch.full((2, 5), -4.0))
    assert torch.equal(rows[:, 2], torch.full((2, 5), 4.0))


def test_fastrnn_starts_near_the_identity_and_fastgrnn_with_its_gate_open():
    fast, gated = create("fastrnn", 3, 5), create("fastgrnn", 3, 5)
    assert (fast.alpha.item(), fast.beta.item()) == (-3, 3)
    assert (gated.zeta.item(), gated.nu.item()) == (1, -4)
    for bias in (fast.bias_ih, gated.bias_z, gated.bias_n):
        assert torch.equal(bias, torch.ones(5))


def test_lipschitz_rnn_starts_narrower_the_larger_it_is():
    for H in (100, 200):
        assert create("lipschitz_rnn", 3, H, init_std=2.0).weight_hh.std().item() == pytest.approx(2 / H, rel=0.05)


def test_antisymmetric_rnn_starts_from_the_variances_of_its_paper():
    cell = create("antisymmetric_rnn", 400, 100)
    assert cell.weight_hh.var().item() == pytest.approx(1 / 100, rel=0.05)
    assert cell.weight_ih.var().item() == pytest.approx(1 / 400, rel=0.05)


def test_a_clock_goes_round_in_every_dtype():
    for dtype in (torch.float64, torch.bfloat16):
        cell = create("clockwork_rnn", 2, 8).to(dtype)
        s = cell.initial_state(1, cell.like(torch.empty(0)))
        seen = []
        for _ in range(300):
            seen.append(int(s.t))
            s = cell(torch.zeros(1, 2, dtype=dtype), s)[1]
        assert seen == [t % 128 for t in range(300)]


def test_a_clock_starts_where_it_is_told_and_may_differ_from_row_to_row():
    cell = create("clockwork_rnn", 2, 4, periods=(1, 2), t0=3)
    x, h = torch.randn(2, 2), torch.zeros(2, 4)
    assert cell.initial_state(2, h).t.tolist() == [1, 1]  # 3, modulo 2
    y, s = cell(x, cell.State(h, torch.tensor([0.0, 1.0])))
    assert y[0, 2:].all()
    assert not y[1, 2:].any()
    assert s.t.tolist() == [1, 0]


def test_units_are_shared_out_between_modules_and_each_gets_one():
    assert create("clockwork_rnn", 2, 7, periods=(1, 4, 6)).period.tolist() == [1, 1, 1, 4, 4, 6, 6]
    assert create("clockwork_rnn", 2, 3).periods == (1, 2, 4)
    assert len(create("clockwork_rnn", 2, 64).periods) == 8


def test_a_slow_context_of_its_own_size_is_part_of_the_output():
    y, (h, context) = RNN("scrn", 3, 5, context_size=2)(torch.randn(6, 4, 3))
    assert (h.shape, context.shape) == ((1, 4, 5), (1, 4, 2))
    assert torch.equal(y[-1], torch.cat([h[0], context[0]], -1))


def test_the_state_of_a_fast_slow_rnn_names_its_parts_and_pickles():
    rnn = RNN("fast_slow_rnn", 3, 5, fast="gru", slow="lstm", slow_size=7, depth=3)
    x = torch.randn(6, 4, 3)
    y, last = rnn(x)
    assert last._fields == ("fast_h", "slow_h", "slow_c")
    assert [a.shape[-1] for a in last] == [5, 7, 7]
    again = pickle.loads(pickle.dumps(last))
    assert type(again) is type(last)
    torch.testing.assert_close(pickle.loads(pickle.dumps(rnn))(x, again)[0], rnn(x, last)[0])
    assert torch.equal(y[-1], last.fast_h[0])


def test_a_fast_slow_rnn_of_a_users_own_cell():
    from rnnzoo.cells.leaky import LeakyRNN

    rnn = RNN("fast_slow_rnn", 3, 5, fast=LeakyRNN, slow="scrn")
    assert rnn(torch.randn(6, 4, 3))[0].shape == (6, 4, 5)


@pytest.mark.parametrize(
    ("name", "constants", "message"),
    [
        ("indrnn", {"activation": "silu"}, "activation of indrnn must be 'relu' or 'tanh', not 'silu'"),
        ("indrnn", {"min_gain": 3.0}, "gains of indrnn must be 0 <= min_gain <= max_gain, not 3.0 and 2.0"),
        (
            "clockwork_rnn",
            {"periods": (4, 2)},
            r"periods must be 1 to 5 \(hidden_size\) ascending numbers, not \(4, 2\)",
        ),
        ("clockwork_rnn", {"periods": ()}, r"periods must be 1 to 5 \(hidden_size\) ascending numbers, not \(\)"),
        ("clockwork_rnn", {"periods": (0, 2)}, "a period must be a whole number of at least 1, not 0"),
        ("rhn", {"depth": 0}, "depth must be a whole number of at least 1, not 0"),
        ("fast_slow_rnn", {"depth": 1}, "depth of fast_slow_rnn must be at least 2, not 1: the slow cell feeds"),
        ("fast_slow_rnn", {"slow_size": 0}, "slow_size must be a whole number of at least 1, not 0"),
        ("fast_slow_rnn", {"fast": "lsmt"}, "unknown cell 'lsmt'; did you mean 'lstm'?"),
        ("fastrnn", {"rank_hh": 0}, "rank_hh must be a whole number of at least 1, not 0"),
        ("cornn", {"damping": "none"}, "damping of cornn must be 'explicit' or 'implicit', not 'none'"),
        ("leaky_rnn", {"alpha": 0.0}, r"alpha of leaky_rnn must be in \(0, 1\], not 0.0"),
        ("ctrnn", {"dt": 0.0}, "dt of ctrnn must be above 0, not 0.0"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_would_be_right(name, constants, message):
    with pytest.raises(RnnZooError, match=message):
        create(name, 3, 5, **constants)
