"""Linear cells: how they start, what they keep in float32, and gradients at the ends of their range."""

import math

import pytest
import torch
from torch import nn

from rnnzoo import RNN, RnnZooError, create
from rnnzoo.cells import LinearCell, list_cells
from rnnzoo.cells.state_space import hippo

LINEAR = [name for name, cls in list_cells().items() if issubclass(cls, LinearCell)]


def spread(a, low, high):
    """Whether numbers fill an interval and do not leave it."""
    a, width = a.detach().double(), high - low
    return bool((a >= low - 1e-6).all() and (a <= high + 1e-6).all() and a.max() - a.min() > 0.9 * width)


# ---- How they start


def test_ema_starts_with_time_constants_from_2_to_max_steps():
    cell = create("ema", 400, 400, max_steps=50.0)
    assert spread(-torch.log(1 - cell.rho.sigmoid()), math.log(2), math.log(50))


def test_rg_lru_starts_with_a_to_the_c_from_09_to_0999():
    cell = create("rg_lru", 400, 400, heads=4, c=5.0)
    assert spread(cell.Lambda.sigmoid() ** 5, 0.9, 0.999)
    assert abs(cell.weight_gates.std() - 0.1) < 0.005
    assert not cell.bias_gates.any()


def test_lru_starts_in_its_ring_and_keeps_the_variance_of_noise():
    cell = create("lru", 3, 2, state_size=2000, r_min=0.6, r_max=0.95, max_phase=0.5)
    assert spread((-2 * cell.nu.exp()).exp(), 0.6**2, 0.95**2)
    assert spread(cell.theta.exp(), 0, 0.5)
    with torch.no_grad():
        h = RNN(lambda *_: cell, 3, 2)(torch.randn(200, 50, 3))[1]
    assert abs(h.abs().square().mean() - 1) < 0.1
    many = create("lru", 3, 2, state_size=20_000)  # of which some |λ| come near 0 and 1
    assert all(p.isfinite().all() for p in many.parameters())


def test_s4d_starts_as_s4d_lin():
    cell = create("s4d", 400, 400, state_size=8)
    torch.testing.assert_close(cell.log_A_real.exp(), torch.full((400, 4), 0.5))
    torch.testing.assert_close(cell.A_imag[7], torch.tensor([0, 1, 2, 3]) * torch.pi)
    assert spread(cell.log_dt, math.log(0.001), math.log(0.1))


def test_s5_starts_from_the_eigenvalues_of_the_normal_part_of_hippo():
    frequencies, V = hippo(6)
    n = torch.arange(6, dtype=torch.float64)
    p, q = (2 * n + 1).sqrt(), (n + 0.5).sqrt()
    normal = n.diag() - torch.outer(p, p).tril() + torch.outer(q, q)
    torch.testing.assert_close((normal + 0j) @ V, V * (-0.5 + 1j * frequencies))
    cell = create("s5", 3, 5, state_size=12, blocks=2)
    assert (cell.lambda_re == -0.5).all()
    torch.testing.assert_close(cell.lambda_im.double(), frequencies.repeat(2), rtol=1e-6, atol=0)


def test_s6_starts_with_steps_from_0001_to_01():
    cell = create("s6", 400, 400, state_size=3)
    assert spread(nn.functional.softplus(cell.bias_dt).log(), math.log(0.001), math.log(0.1))
    torch.testing.assert_close(cell.A_log[9].exp(), torch.tensor([1.0, 2, 3]))
    assert cell.weight_dt.shape == (400, 13)  # H / 32, rounded up


@pytest.mark.parametrize(("same", "scale"), [(True, 1.0), (False, math.sqrt(1 + 2 * math.exp(-1.0)))])
def test_sru_starts_with_the_scales_of_its_package(same, scale):
    cell = create("sru", 300 if same else 200, 300, highway_bias=-1.0)
    bound = math.sqrt(3 / cell.input_size)
    z, f, r = cell.weight_ih.chunk(3)
    assert spread(z, -bound, bound)
    assert spread(torch.cat([f, r]), -bound * math.sqrt(0.5), bound * math.sqrt(0.5))
    assert spread(torch.cat([cell.v_f, cell.v_r]), -math.sqrt(1.5), math.sqrt(1.5))
    assert cell.bias_ih.tolist() == [0.0] * 300 + [-1.0] * 300
    assert (cell.weight_skip is None) == same
    if not same:
        assert spread(cell.weight_skip, -bound * scale, bound * scale)


def test_numbers_of_parameters_are_those_of_the_papers():
    def count(name, *sizes, **constants):
        return sum(p.numel() for p in create(name, *sizes, **constants).parameters())

    I, H, N = 5, 5, 4
    assert count("ema", I, H) == H
    assert count("gilr", I, H) == 2 * H * (I + 1)
    assert count("minlstm", I, H) == 3 * H * (I + 1)
    assert count("sru", I, H) == 3 * H * I + 4 * H
    assert count("sru", 3, H) == 4 * H * 3 + 4 * H
    assert count("sru_v1", I, H) == 3 * H * I + 2 * H
    assert count("sru_pp", I, H, attention_size=N) == N * I + 2 * N**2 + 3 * H * N + 2 * N + 1 + 4 * H
    assert count("qrnn", I, H, window=3) == 3 * I * 3 * H + 3 * H
    assert count("lru", I, H, state_size=N) == 3 * N + 2 * N * I + 2 * N * H + H
    assert count("rg_lru", H, H) == 2 * (H * H + H) + H
    assert count("s4d", H, H, state_size=N) == H * (2 * N + 2)
    assert count("s5", I, H, state_size=N) == N + N * I + N * H + H + N // 2
    assert count("s6", H, H, state_size=N, dt_rank=2) == H * (2 + 2 * N) + 2 * H + H + H * N + H


# ---- Numerics


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_cell_keeps_a_float32_state_under_autocast(name):
    for kernel in ("linear_scan", "reference"):
        rnn = RNN(name, 3, 5, kernel=kernel)
        with torch.autocast("cpu", torch.bfloat16):
            _, h_n = rnn(torch.randn(7, 2, 3))
        assert h_n.dtype in (torch.float32, torch.complex64)


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_cell_of_bfloat16_gives_bfloat16_by_either_kernel(name):
    rnn, x = RNN(name, 3, 5, 2, dtype=torch.bfloat16), torch.randn(7, 2, 3, dtype=torch.bfloat16)
    for kernel in ("linear_scan", "reference"):
        rnn.kernel = kernel
        assert rnn(x)[0].dtype == torch.bfloat16


@pytest.mark.parametrize("gate", [-200.0, 200.0])
@pytest.mark.parametrize("name", ["gilr", "minlstm", "hgrn", "rg_lru", "sru_v1", "sru", "qrnn", "complex_hgrn", "s6"])
def test_gradients_are_finite_where_gates_are_shut_or_open(name, gate):
    rnn = RNN(name, 5, 5)
    (cell,) = rnn.layers[0]
    for p in cell.parameters():
        if p.dim() == 1 or p.shape == (2, 5):
            nn.init.constant_(p, gate)
    x = torch.randn(7, 2, 5, requires_grad=True)
    y, _ = rnn(x)
    assert y.isfinite().all()
    y.square().sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in cell.parameters())


def test_s5_that_is_clipped_cannot_grow():
    cell = create("s5", 3, 5, state_size=8, clip=True)
    nn.init.constant_(cell.lambda_re, 3.0)
    a, _ = cell.coefficients(torch.zeros(8))
    assert (a.abs() < 1).all()


# ---- Arguments


@pytest.mark.parametrize(
    ("name", "constants", "message"),
    [
        ("ema", {"max_steps": 1.0}, "max_steps of ema must be at least 2, not 1.0"),
        ("gilr", {"activation": "tan"}, "activation of gilr is 'tan'; did you mean 'tanh'?"),
        ("sru", {"activation": "relu"}, "activation of sru is 'relu'; there are identity, tanh, silu"),
        ("hgrn", {"lower_bound": 1.0}, r"lower_bound of hgrn must be in \[0, 1\), not 1.0"),
        ("complex_hgrn", {"lower_bound": -0.1}, "lower_bound of complex_hgrn must be in"),
        ("rg_lru", {"heads": 2}, "heads of rg_lru must divide hidden_size 5, which 2 does not"),
        ("rg_lru", {"c": 0.0}, "c of rg_lru must be above 0, not 0.0"),
        ("qrnn", {"window": 1}, "window of qrnn must be at least 2, not 1; a qrnn of one input is gilr"),
        ("qrnn", {"pooling": "o"}, "pooling of qrnn must be 'f', 'fo' or 'ifo', not 'o'"),
        ("sru_pp", {"window": 0}, "window must be a whole number of at least 1, not 0"),
        ("lru", {"r_min": 0.9, "r_max": 0.5}, "lru needs 0 <= r_min < r_max <= 1, not r_min=0.9 and r_max=0.5"),
        ("lru", {"max_phase": 0.0}, "max_phase of lru must be above 0, not 0.0"),
        ("s4d", {"state_size": 3}, "state_size of s4d must be even, for its numbers come in pairs, not 3"),
        ("s5", {"state_size": 6, "blocks": 2}, "state_size of s5 must be a multiple of 2 blocks, 4, not 6"),
        ("s5", {"method": "euler"}, "method of s5 must be 'zoh' or 'bilinear', not 'euler'"),
        ("s5", {"step_scale": 0.0}, "step_scale of s5 must be above 0, not 0.0"),
        ("s6", {"dt_rank": 0}, "dt_rank must be a whole number of at least 1, not 0"),
    ],
)
def test_an_argument_out_of_range_is_named(name, constants, message):
    with pytest.raises(RnnZooError, match=message):
        create(name, 3, 5, **constants)
