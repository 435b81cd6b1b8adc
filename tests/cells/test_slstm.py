"""sLSTM: heads, the stabilizer where numbers are large, and how it starts."""

import pytest
import torch
from oracles import ORACLES, run_oracle

from rnnzoo import RnnZooError, create
from rnnzoo.testing.case import expect, results, run

T, B, I = 6, 4, 3


def randomised(heads=3, hidden_size=6, dtype=torch.float64):
    cell = create("slstm", I, hidden_size, heads=heads).to(dtype)
    for p in cell.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return cell


def outputs(cell, dtype=torch.float64):
    torch.manual_seed(1)
    x = torch.randn(T, B, I, dtype=dtype)
    return run(cell, x, cell.initial_state(B, x), {})


def test_heads_of_several_units_equal_the_oracle():
    cell, x = randomised(), torch.randn(T, B, I, dtype=torch.float64)
    s = cell.initial_state(B, x)
    wanted = run_oracle(ORACLES["slstm"].step, cell, x, s)
    expect(results(*run(cell, x, s, {})), results(*wanted), "expected heads of two units", 1e-12)


@torch.no_grad()
def test_one_head_sees_nothing_of_the_others():
    cell = randomised()
    before = outputs(cell)[0]
    cell.weight_hh[1].mul_(-2)
    moved = (outputs(cell)[0] - before).abs().amax((0, 1))
    assert (moved > 1e-4).tolist() == [False, False, True, True, False, False]


@torch.no_grad()
def test_outputs_are_a_mean_of_squashed_values():
    y, last = outputs(randomised())
    assert (y.abs() < 1).all()
    assert ((last.c / last.n).abs() <= 1).all()


@pytest.mark.parametrize("i", [-800.0, -100.0, 500.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_input_gate_far_off_gives_what_it_gives_near_zero(i, dtype):
    cell = randomised(dtype=dtype)
    with torch.no_grad():
        cell.bias_ih[:6] = 0
        wanted = outputs(cell, dtype)[0]
        cell.bias_ih[:6] = i
    y, _ = outputs(cell, dtype)
    torch.testing.assert_close(y, wanted, rtol=0, atol=1e-4 if dtype == torch.float32 else 1e-12)
    y.sum().backward()
    assert all(p.grad.isfinite().all() for p in cell.parameters())


def test_it_starts_as_the_authors_code():
    cell = create("slstm", 500, 40, heads=4)
    i, f, z, o = cell.bias_ih.detach().chunk(4)
    assert not torch.cat([i, z, o, cell.weight_hh.flatten()]).any()
    for head in f.chunk(4):
        assert (head[0].item(), head[-1].item()) == (5, -7)
        torch.testing.assert_close(head[3].item(), 5 - 12 * (3 / 9) ** 0.3, rtol=0, atol=1e-5)
    assert abs(cell.weight_ih.std().item() - (2 / (5 * 500)) ** 0.5) < 1e-3


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(RnnZooError, match="heads of slstm must divide hidden_size=6, which 4 does not"):
        create("slstm", I, 6, heads=4)
