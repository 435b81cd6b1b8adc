"""Initialisations by what a cell's gates are for."""

import pytest
import torch
from oracles import ORACLES
from torch.utils._pytree import tree_map

from rnnzoo import RNN, RnnZooError, create, list_cells
from rnnzoo.initialize import chrono_, forget_bias_, identity_, orthogonal_recurrence_
from rnnzoo.transforms import Zoneout

I, H = 3, 50


def test_chrono_gives_time_scales_from_two_to_the_longest():
    rnn = chrono_(RNN("lstm", I, 2000, 2, transforms=Zoneout), 100)
    for layer in rnn.layers:
        cell = layer[0].cell
        i, f, g, o = cell.bias_ih.chunk(4)
        assert torch.equal(i, -f)
        assert not torch.cat([g, o, cell.bias_hh]).any()
        scales = 1 / (1 - f.sigmoid())
        assert scales.min() >= 2
        assert scales.max() <= 100
        assert scales.mean().item() == pytest.approx(51, abs=3)


def test_chrono_knows_which_gate_keeps_and_which_writes():
    z = chrono_(create("gru", I, H), 20).bias_ih.chunk(3)[1]
    assert (z > 0).all()  # z keeps the old state
    z = chrono_(create("cho_gru", I, H), 20).bias_ih.chunk(3)[1]
    assert (z < 0).all()  # z lets the new one in
    assert (chrono_(create("mingru", I, H), 20).bias_ih.chunk(2)[0] < 0).all()


def test_a_forget_bias_is_the_sum_of_both_and_leaves_the_rest():
    cell = create("lstm", I, H)
    before = cell.bias_ih.clone()
    assert forget_bias_(cell) is cell
    (i, f, g, o), (_, f2, *_) = cell.bias_ih.chunk(4), cell.bias_hh.chunk(4)
    assert (f + f2).eq(1).all()
    assert torch.equal(torch.cat([i, g, o]), before[torch.cat([torch.arange(H), torch.arange(2 * H, 4 * H)])])
    assert forget_bias_(create("cho_gru", I, H), 2.0).bias_ih.chunk(3)[1].eq(-2).all()


def test_every_gates_recurrent_matrix_is_orthogonal_or_the_identity():
    rnn = orthogonal_recurrence_(RNN("gru", I, H, 2, bidirectional=True))
    for R in (R for name, p in rnn.named_parameters() if "weight_hh" in name for R in p.chunk(3)):
        torch.testing.assert_close(R @ R.T, torch.eye(H), atol=1e-5, rtol=0)
    rnn = identity_(RNN("rnn_relu", I, H), 0.5)
    assert torch.equal(rnn.layers[0][0].weight_hh, 0.5 * torch.eye(H))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: chrono_(create("rnn", I, H), 10), "chrono_ needs a cell with a gate that keeps or writes, .* TanhRNN"),
        (lambda: forget_bias_(create("rnn", I, H)), "forget_bias_ needs a cell with a gate that keeps or writes"),
        (lambda: chrono_(create("lstm", I, H, bias=False), 10), "chrono_ sets biases, and this LSTM has none"),
        (lambda: chrono_(create("lstm", I, H), 2), "max_steps of chrono_ must be a whole number of at least 3, not 2"),
        (lambda: identity_(create("mingru", I, H)), "identity_ needs a weight_hh of H rows a gate, .* MinGRU has not"),
        (lambda: chrono_(torch.nn.Linear(2, 3), 10), "Linear has no cells that could be initialised"),
    ],
)
def test_a_cell_without_what_is_initialised_is_named(call, message):
    with pytest.raises(RnnZooError, match=message):
        call()


def test_rows_say_what_every_gate_is_for():
    for name, cls in list_cells().items():
        assert len(cls.rows) in (0, cls.gates), name
        assert set(cls.rows) <= {"keep", "write", "new", "read", "reset"}, name


NAMED = [name for name, cls in list_cells().items() if {"keep", "write"} & set(cls.rows)]


def test_most_gated_cells_say_what_their_gates_are_for():
    assert len(NAMED) > 30
    assert {"lstmp", "layernorm_lstm", "mogrifier_lstm", "slstm", "mgu", "minlstm", "mut3"} <= set(NAMED)


MOVES = {"nig": "it has no gate before what it writes", "ode_rnn": "its state moves between the steps too"}


@pytest.mark.parametrize("name", [name for name in NAMED if name not in MOVES])
def test_gates_that_keep_and_do_not_write_leave_a_memory_as_it_is_and_the_others_do_not(name):
    cell = create(name, 5, 5)
    assert len(cell.bias_ih) == 5 * len(cell.rows)
    inputs = {n: make(1, 7).float() for n, make in ORACLES[name].inputs.items()}
    s = cell.initial_state(7, torch.empty(0))
    old = type(s)(*(a + torch.randn_like(a) / 2 if a.is_floating_point() else a for a in s))
    x = torch.randn(1, 7, 5)
    changes = []
    for b in (30.0, -30.0):
        with torch.no_grad():
            for part, bias in zip(cell.rows, cell.bias_ih.chunk(len(cell.rows)), strict=True):
                bias.fill_({"keep": b, "write": -b}.get(part, 0.3))
            new = cell.step(tree_map(lambda u: u[0], cell.project(x, **inputs)), old)
        fields = [(f, a) for f, a in zip(new, old, strict=True) if f.is_floating_point()]
        changes.append(min((f - a).abs().max().item() for f, a in fields))
    assert changes[0] < 1e-5
    assert changes[1] > 1e-3
