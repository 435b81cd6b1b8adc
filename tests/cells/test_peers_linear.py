"""Linear cells equal other people's: SciPy's filters and discretisation, and the models in transformers."""

import math

import numpy as np
import pytest
import scipy.signal
import torch
from torch import nn
from transformers import MambaConfig, RecurrentGemmaConfig
from transformers.models.mamba.modeling_mamba import MambaMixer
from transformers.models.recurrent_gemma.modeling_recurrent_gemma import RecurrentGemmaRglru

from rnnzoo import create
from rnnzoo.cells import Hidden
from rnnzoo.cells.state_space import hippo
from rnnzoo.testing.case import expect, gradients, run

T, B, H = 9, 3, 6


def off_its_initial_values(cell):
    for p in cell.parameters():
        nn.init.normal_(p, std=0.5)
    return cell


def run_from(cell, x, s=None):
    return run(cell, x, cell.initial_state(x.shape[1], cell.like(x)) if s is None else s, {})


def test_ema_is_scipys_filter_of_order_one():
    cell = create("ema", H, H).double()
    x = torch.randn(T, B, H, dtype=torch.float64)
    y = run_from(cell, x)[0].detach()
    for j, a in enumerate(cell.rho.sigmoid().tolist()):
        wanted = scipy.signal.lfilter([1 - a], [1, -a], x[..., j].numpy(), axis=0)
        np.testing.assert_allclose(y[..., j].numpy(), wanted, rtol=1e-12, atol=1e-12)


def test_s4d_of_one_conjugate_pair_is_scipys_filter_of_order_two():
    cell = off_its_initial_values(create("s4d", H, H, state_size=2).double())
    x = torch.randn(T, B, H, dtype=torch.float64)
    y = (run_from(cell, x)[0] - cell.D * x).detach()
    A = torch.complex(-cell.log_A_real.exp(), cell.A_imag)[:, 0]
    a = (cell.log_dt.exp() * A).exp()
    z = torch.complex(cell.C_re, cell.C_im)[:, 0] * (a - 1) / A
    for j in range(H):
        zeros = [2 * z[j].real.item(), -2 * (z[j] * a[j].conj()).real.item()]
        poles = [1, -2 * a[j].real.item(), a[j].abs().item() ** 2]
        wanted = scipy.signal.lfilter(zeros, poles, x[..., j].numpy(), axis=0)
        np.testing.assert_allclose(y[..., j].numpy(), wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", ["zoh", "bilinear"])
@pytest.mark.parametrize("blocks", [1, 2])
def test_s5_starts_as_the_real_hippo_system_that_scipy_makes_discrete(method, blocks):
    cell, N, step = create("s5", 2, 3, state_size=8, blocks=blocks, method=method).double(), 8, 0.05
    cell.reset_parameters()  # again, in float64
    nn.init.constant_(cell.log_step, math.log(step))  # scipy knows one step for all
    n, half = np.arange(N // blocks), N // 2
    p, q = np.sqrt(2 * n + 1), np.sqrt(n + 0.5)
    normal = np.kron(np.eye(blocks), np.diag(n) - np.tril(np.outer(p, p)) + np.outer(q, q))
    V = torch.block_diag(*[hippo(N // blocks)[1]] * blocks)  # the real state is 2 Re(V h)
    back_B = 2 * (V @ torch.complex(cell.weight_ih[:half], cell.weight_ih[half:])).real
    back_C = 2 * (torch.complex(cell.weight_out[:, :half], cell.weight_out[:, half:]) @ V.mH).real
    system = (normal, back_B.detach().numpy(), back_C.detach().numpy(), np.zeros((3, 2)))
    a, b, *_ = scipy.signal.cont2discrete(system, step, method)
    x = torch.randn(T, B, 2, dtype=torch.float64)
    h, wanted = np.zeros((B, N)), []
    for x_t in x.numpy():
        h = h @ a.T + x_t @ b.T
        wanted.append(h @ system[2].T)
    y = (run_from(cell, x)[0] - x @ cell.D.t()).detach()
    np.testing.assert_allclose(y.numpy(), np.stack(wanted), rtol=1e-10, atol=1e-10)


def test_rg_lru_equals_that_of_transformers():
    # its state is float32 whatever the weights are; positions from 1 on, for at 0 it leaves out √(1 - a²)
    config = RecurrentGemmaConfig(hidden_size=H, lru_width=H, num_attention_heads=2)
    theirs, cell = off_its_initial_values(RecurrentGemmaRglru(config)), create("rg_lru", H, H, heads=2)
    with torch.no_grad():
        gates = (theirs.recurrent_gate_weight, theirs.input_gate_weight)
        cell.weight_gates.copy_(torch.stack([W.transpose(1, 2) for W in gates]))
        cell.bias_gates.copy_(torch.stack([theirs.recurrent_gate_bias, theirs.input_gate_bias]).flatten(1))
        cell.Lambda.copy_(-theirs.recurrent_param)
    x = torch.randn(T, B, H, requires_grad=True)
    positions = torch.arange(1, T + 1).expand(B, T)
    h_0 = torch.randn(B, H)
    theirs.recurrent_states = h_0
    wanted = {"outputs": theirs(x.transpose(0, 1), positions).transpose(0, 1)}
    got = {"outputs": run_from(cell, x, Hidden(h_0))[0]}
    leaves = {"x": x}
    claim = "expected rg_lru to equal RecurrentGemmaRglru"
    expect(got | gradients(got, leaves), wanted | gradients(wanted, leaves), claim, 1e-5)


def test_s6_equals_the_scan_of_transformers_mamba():
    # without its convolution, activation and gate: one tap of 1, "linear", and a gate whose SiLU is 1
    config = MambaConfig(
        hidden_size=H, expand=1, state_size=4, conv_kernel=1, time_step_rank=2, hidden_act="linear", use_bias=True
    )
    theirs = off_its_initial_values(MambaMixer(config, 0)).eval()
    cell = create("s6", H, H, state_size=4, dt_rank=2)
    names = {"weight_x": "x_proj.weight", "weight_dt": "dt_proj.weight", "bias_dt": "dt_proj.bias"}
    with torch.no_grad():
        theirs.in_proj.weight.copy_(torch.cat([torch.eye(H), torch.zeros(H, H)]))
        theirs.in_proj.bias.copy_(torch.cat([torch.zeros(H), torch.full((H,), 1.2784645427610738)]))
        theirs.conv1d.weight.fill_(1)
        theirs.conv1d.bias.zero_()
        theirs.out_proj.weight.copy_(torch.eye(H))
        theirs.out_proj.bias.zero_()
        for ours in ("weight_x", "weight_dt", "bias_dt", "A_log", "D"):
            getattr(cell, ours).copy_(theirs.get_parameter(names.get(ours, ours)))
    x = torch.randn(T, B, H, requires_grad=True)
    leaves = {"x": x}
    wanted = {"outputs": theirs(x.transpose(0, 1)).transpose(0, 1)}
    got = {"outputs": run_from(cell, x)[0]}
    claim = "expected s6 to equal MambaMixer"  # which computes A and D in float32
    expect(got | gradients(got, leaves), wanted | gradients(wanted, leaves), claim, 1e-5)
