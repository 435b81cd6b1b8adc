"""MC-LSTM: where mass goes, and how it starts."""

import pytest
import torch

from rnnzoo import RnnZooError, create


def test_a_source_gives_away_all_it_has_and_emits_after_that():
    """One unit of mass in unit 0, sent to unit 2 by the row of its source, half of it then going out."""
    cell = create("mc_lstm", 1, 3).double()
    with torch.no_grad():
        for p in cell.parameters():
            p.zero_()
        cell.bias_ih[6 + 2] = 800  # after o and i, row 0 of the matrix between units, its column 2
    s = cell.State(torch.zeros(1, 3).double(), torch.tensor([[1.0, 0, 0]]).double())
    y, new = cell(torch.zeros(1, 1).double(), s)
    assert y.tolist() == [[0, 0, 0.5]]
    assert new.c.tolist() == [[0, 0, 0.5]]


def test_gates_see_shares_not_amounts_of_what_is_held():
    cell = create("mc_lstm", 3, 4).double()
    c, x = torch.rand(2, 4).double(), torch.randn(2, 3).double()
    x[:, 0] = 0  # no mass comes in: then all is proportional to c
    one, ten = (cell(x, cell.State(torch.zeros_like(c), k * c))[0] for k in (1, 10))
    torch.testing.assert_close(10 * one, ten, rtol=0, atol=1e-12)


def test_it_starts_as_the_authors_code():
    M, A, H = 2, 3, 4
    cell = create("mc_lstm", M + A, H, mass_size=M)
    b_o, b_i, b_r = cell.bias_ih.detach().split([H, M * H, H * H])
    assert (b_o == -3).all()
    assert not b_i.any()
    assert torch.equal(b_r.view(H, H), torch.eye(H))
    o, i, r = torch.cat([cell.weight_ih, cell.weight_hh], -1).detach().split([H, M * H, H * H])
    torch.testing.assert_close(o @ o.t(), torch.eye(H))
    for W in (i, r):  # taller than wide
        torch.testing.assert_close(W.t() @ W, torch.eye(A + H))


def test_more_mass_than_there_are_inputs_is_refused():
    with pytest.raises(RnnZooError, match="mass_size of mc_lstm must be at most input_size=3, not 4"):
        create("mc_lstm", 3, 5, mass_size=4)
