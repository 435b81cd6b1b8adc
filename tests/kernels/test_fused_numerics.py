"""Numbers at their ends: accuracy over the whole range, NaN, infinities and denormals, as in torch."""

import pytest
import torch

from rnnzoo import RNN
from rnnzoo.cells import Cell, Hidden

ONE_ARGUMENT = {
    "exp": torch.exp,
    "relu": torch.relu,
    "clamp": lambda x: x.clamp(-1, 1),
    "maximum": lambda x: torch.maximum(x, x.new_zeros(())),
    "minimum": lambda x: torch.minimum(x.new_zeros(()), x),
    "abs": torch.abs,
    "sign": torch.sign,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "round": torch.round,
    "where": lambda x: torch.where(x > 0, x, 2 * x),
    "amax": lambda x: x.amax(-1, keepdim=True).expand(x.shape),
    "softmax": lambda x: torch.softmax(x, -1),
    "erf": torch.erf,
    "pow": lambda x: x**1.5,
    "square": torch.square,
    "isnan": lambda x: x.isnan().to(x.dtype),
    "log1p": torch.log1p,
    "expm1": torch.expm1,
    "softplus": torch.nn.functional.softplus,
    "log2": torch.log2,
    "exp2": torch.exp2,
    "atan": torch.atan,
}


def apply(function, x):
    """`function` of x (B, n), by the kernel."""

    class Applied(Cell):
        def step(self, u, s):
            return Hidden(function(u))

    n = x.shape[-1]
    rnn = RNN(Applied, n, n, kernel="fused", dtype=x.dtype)
    with torch.no_grad():
        return rnn(x[None])[0][0]


def ulps(got, x, function):
    """Errors in units of the last place of float32."""
    wanted = function(x.double())
    near = wanted.float()
    spacing = (torch.nextafter(near.abs(), near.new_tensor(torch.inf)) - near.abs()).double()
    return ((got.double() - wanted).abs() / spacing).max().item()


def everywhere():
    """float32 numbers of every size and both signs."""
    small = torch.logspace(-44, 2, 40_000, base=10.0, dtype=torch.float64).float()
    return torch.cat([-small, small, torch.linspace(-20, 20, 40_001)])[None]


@pytest.mark.parametrize("function", [torch.tanh, torch.sigmoid], ids=["tanh", "sigmoid"])
def test_tanh_and_sigmoid_are_within_two_ulp_and_a_quarter_in_float32(function):
    x = everywhere()
    x = x[:, x[0] > -87] if function is torch.sigmoid else x  # below, torch's own is a denormal
    assert ulps(apply(function, x), x, function) <= 2.25


@pytest.mark.parametrize("function", [torch.log1p, torch.expm1], ids=["log1p", "expm1"])
def test_log1p_and_expm1_keep_their_digits_near_zero_and_reach_both_ends(function):
    x = torch.cat([everywhere(), torch.linspace(-1, 1, 40_001)[None], torch.logspace(0, 38, 999)[None]], -1)
    x = x[:, x[0] > -1] if function is torch.log1p else x[:, x[0] < 88.7]  # beyond, float32 has no number for it
    assert ulps(apply(function, x), x, function) <= 5
    assert apply(torch.log1p, torch.tensor([[-1.0, -1.5]])).tolist()[0][0] == -torch.inf
    assert apply(torch.log1p, torch.tensor([[-1.0, -1.5]])).isnan().tolist() == [[False, True]]
    assert apply(torch.expm1, torch.tensor([[88.8, 1e30, -1e30]])).tolist() == [[torch.inf, torch.inf, -1.0]]


@pytest.mark.parametrize("function", [torch.tanh, torch.sigmoid, torch.exp], ids=["tanh", "sigmoid", "exp"])
def test_float64_is_torchs_to_the_last_digits(function):
    x = torch.cat([everywhere().double(), 1e3 * torch.randn(1, 99, dtype=torch.float64)], -1)
    torch.testing.assert_close(apply(function, x), function(x), rtol=2e-15, atol=1e-300, equal_nan=True)


def test_exp_reaches_from_denormals_to_infinity():
    x = torch.linspace(-100, 95, 3001)[None]
    got, wanted = apply(torch.exp, x), torch.exp(x.double())
    torch.testing.assert_close(got, wanted.float(), rtol=5e-7, atol=3e-45)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["tanh", "sigmoid", *ONE_ARGUMENT])
def test_nan_and_infinities_come_through_as_in_torch(name, dtype):
    function = ONE_ARGUMENT.get(name) or getattr(torch, name)
    special = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, -0.0, 1e-40, 1.5, -2.5, 30.0], dtype=dtype)
    x = torch.stack([special, special.flip(0), special.nan_to_num(1.0, 2.0, 3.0), special.nan_to_num(1.0)])
    torch.testing.assert_close(apply(function, x), function(x), equal_nan=True, rtol=2e-6, atol=1e-12)


def test_denormals_stay_in_the_kernel_and_in_the_process():
    x = torch.full((3, 40), 1e-40)
    assert (apply(lambda u: 0.5 * u, x) == 0.5 * x).all()
    assert (apply(torch.tanh, x) == x).all()
    assert (x * 0.5 > 0).all()
    assert 5e-324 * 1.0 > 0
