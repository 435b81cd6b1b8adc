"""Layer-normalised cells are the paper's, written with nn.LayerNorm, and start as the authors' code."""

import pytest
import torch
from torch import nn

from rnnzoo import RnnZooError, create
from rnnzoo.testing.case import run

T, B, I, H = 6, 4, 3, 5


def layer_norm(gain, shift):
    norm = nn.LayerNorm(len(gain)).double()
    norm.load_state_dict({"weight": gain, "bias": shift})
    return norm


def randomised(name):
    cell = create(name, I, H).double()
    for p in cell.parameters():
        nn.init.normal_(p, std=0.5)
    return cell


@torch.no_grad()
def test_the_papers_shift_in_each_product_adds_to_the_bias_of_the_lstm():
    cell, (beta_x, beta_h) = randomised("layernorm_lstm"), torch.randn(2, 4 * H, dtype=torch.float64)
    of_x, of_h = layer_norm(cell.gain_ih, beta_x), layer_norm(cell.gain_hh, beta_h)
    of_c = layer_norm(cell.gain_c, cell.bias_c)
    b = cell.bias_ih - beta_x - beta_h
    x, ys = torch.randn(T, B, I, dtype=torch.float64), []
    h = c = torch.zeros(B, H, dtype=torch.float64)
    for x_t in x:
        i, f, g, o = (of_x(x_t @ cell.weight_ih.t()) + of_h(h @ cell.weight_hh.t()) + b).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * of_c(c).tanh()
        ys.append(h)
    y, last = run(cell, x, cell.initial_state(B, x), {})
    torch.testing.assert_close((y, last.c), (torch.stack(ys), c), rtol=0, atol=1e-12)


@torch.no_grad()
def test_the_papers_shifts_of_both_gate_products_add_to_one_bias_of_the_gru():
    cell, rz = randomised("layernorm_gru"), 2 * H
    beta = torch.randn(rz, dtype=torch.float64)
    x_rz, h_rz = layer_norm(cell.gain_ih[:rz], cell.bias_ih[:rz] - beta), layer_norm(cell.gain_hh[:rz], beta)
    x_n, h_n = layer_norm(cell.gain_ih[rz:], cell.bias_ih[rz:]), layer_norm(cell.gain_hh[rz:], cell.bias_hn)
    x, ys = torch.randn(T, B, I, dtype=torch.float64), []
    h = torch.zeros(B, H, dtype=torch.float64)
    for x_t in x:
        wx, rh = x_t @ cell.weight_ih.t(), h @ cell.weight_hh.t()
        r, z = (x_rz(wx[:, :rz]) + h_rz(rh[:, :rz])).sigmoid().chunk(2, -1)
        n = (x_n(wx[:, rz:]) + r * h_n(rh[:, rz:])).tanh()
        h = z * h + (1 - z) * n
        ys.append(h)
    torch.testing.assert_close(run(cell, x, cell.initial_state(B, x), {})[0], torch.stack(ys), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["layernorm_lstm", "layernorm_gru"])
def test_gains_start_at_one_biases_at_zero_and_each_R_orthogonal(name):
    cell = create(name, I, H)
    for weight, p in cell.named_parameters():
        if not weight.startswith("weight"):
            assert (p == (1 if weight.startswith("gain") else 0)).all(), weight
    for R in cell.weight_hh.chunk(cell.gates):
        torch.testing.assert_close(R @ R.t(), torch.eye(H))


@torch.no_grad()
def test_the_scale_of_a_single_gate_matters_for_it_is_normalised_with_the_others():
    for name in ("layernorm_lstm", "layernorm_gru"):
        cell, x = randomised(name), torch.randn(T, B, I, dtype=torch.float64)
        before = run(cell, x, cell.initial_state(B, x), {})[0]
        cell.weight_hh[:H] *= 0.5
        assert (run(cell, x, cell.initial_state(B, x), {})[0] - before).abs().max() > 1e-3


def test_an_eps_that_divides_by_zero_is_refused():
    with pytest.raises(RnnZooError, match="eps must be above 0, not 0"):
        create("layernorm_lstm", I, H, eps=0.0)
