"""State space models."""

import torch

from identities.notation import identity, random_cell, run


def sequences(features=3, steps=7):
    return torch.randn(steps, 4, features, dtype=torch.float64)


@identity("s4d is the convolution with its kernel, by FFT")
def convolution():
    cell, T = random_cell("s4d", 5, state_size=6), 40
    x = sequences(5, T)
    A = torch.complex(-cell.log_A_real.exp(), cell.A_imag)
    a = torch.exp(cell.log_dt.exp()[:, None] * A)
    weights = torch.complex(cell.C_re, cell.C_im) * (a - 1) / A
    kernel = 2 * (weights * a ** torch.arange(T)[:, None, None]).sum(-1).real  # (T, H)
    y = torch.fft.irfft(torch.fft.rfft(x, 2 * T, 0) * torch.fft.rfft(kernel, 2 * T, 0)[:, None], 2 * T, 0)[:T]
    return run(cell, x)[0], y + cell.D * x


@identity("the response of lru to an impulse is Re(C λ^t B) e^γ, and D at once")
def impulse_response():
    cell = random_cell("lru", state_size=4)
    x = torch.zeros(7, 3, 3, dtype=torch.float64)
    x[0] = torch.eye(3)
    decay = torch.exp(torch.complex(-cell.nu.exp(), cell.theta.exp()))
    B, C = (torch.complex(*a.chunk(2, k)) for k, a in enumerate((cell.weight_ih, cell.weight_out)))
    powers = decay ** torch.arange(7)[:, None] * cell.gamma.exp()
    wanted = torch.einsum("hn,tn,ni->tih", C, powers + 0j, B).real
    wanted[0] += cell.D.t()
    return run(cell, x)[0], wanted


def one_channel(cell):
    """A s5 and an lru of one input and one unit that do what a unit of s4d does."""
    layer, unit = random_cell("s5", 1, 1, state_size=6), random_cell("lru", 1, 1, state_size=3)
    A = torch.complex(-cell.log_A_real[0].exp(), cell.A_imag[0])
    z = cell.log_dt.exp() * A
    B = (z.exp() - 1) / A
    with torch.no_grad():
        layer.lambda_re.copy_(A.real)
        layer.lambda_im.copy_(A.imag)
        layer.log_step.copy_(cell.log_dt.expand(3))
        layer.weight_ih.copy_(torch.tensor([1.0, 1, 1, 0, 0, 0])[:, None])
        unit.nu.copy_((-z.real).log())
        unit.theta.copy_(z.imag.log())
        unit.gamma.zero_()
        unit.weight_ih.copy_(torch.cat([B.real, B.imag])[:, None])
        for other, copies in ((layer, 1), (unit, 2)):
            other.weight_out.copy_(copies * torch.cat([cell.C_re, cell.C_im], 1))
            other.D.copy_(cell.D)
    return layer, unit


@identity("a unit of s4d is s5 whose B is 1, and is lru with twice its C")
def siso():
    cell, x = random_cell("s4d", 1, 1, state_size=6), sequences(1)
    torch.nn.init.uniform_(cell.A_imag, 0.5, 2.0)
    layer, unit = one_channel(cell)
    y = run(cell, x)[0]
    return (y, y), (run(layer, x)[0], run(unit, x)[0])


@identity("s5 at twice its step is every second step, of an input that stays")
def twice_the_step():
    slow, fast = random_cell("s5", state_size=8), random_cell("s5", state_size=8, step_scale=2.0)
    fast.load_state_dict(slow.state_dict())
    x = sequences(steps=1)
    return run(fast, x.expand(4, 4, 3))[0], run(slow, x.expand(8, 4, 3))[0][1::2]


@identity("s6 that is shut keeps its state and shows D v")
def shut():
    cell, x = random_cell("s6", 5), sequences(5)
    with torch.no_grad():
        cell.weight_dt.zero_()
        cell.bias_dt.fill_(-80)
    start = cell.State(torch.randn(4, 5, 16, dtype=torch.float64))
    y, last = run(cell, x)
    return (y, last.h, run(cell, x, start)[1].h), (cell.D * x, torch.zeros_like(start.h), start.h)


@identity("s6 with A = -1 forgets as a gate σ does: the paper's theorem 1")
def gate():
    cell, x = random_cell("s6", 5, state_size=1), sequences(5)
    torch.nn.init.zeros_(cell.A_log)
    delta = (x @ cell.weight_x.t())[..., :1] @ cell.weight_dt.t() + cell.bias_dt
    start = cell.State(torch.randn(4, 5, 1, dtype=torch.float64))
    forgotten = run(cell, x, start)[1].h - run(cell, x)[1].h
    return forgotten, start.h * (1 - delta.sigmoid()).prod(0)[..., None]


@identity("s4d whose step is nothing keeps its state")
def no_step():
    cell = random_cell("s4d", state_size=6)
    torch.nn.init.constant_(cell.log_dt, -80)
    start = cell.State(torch.randn(4, 5, 3, dtype=torch.complex128))
    return run(cell, sequences(), start)[1].h, start.h
