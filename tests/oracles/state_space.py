"""State space models, each number of state on its own."""

import torch

from oracles.linear import one_each, softplus
from oracles.notation import dot, entry, oracle


def pair(rows, k, half, x):
    """A complex number from rows k and k + half: real parts come first, then imaginary ones."""
    return torch.complex(dot(rows[k], x), dot(rows[k + half], x))


def read(w, h, x, copies):
    """y = copies Re(C h) + D x."""
    y = []
    for j, row in enumerate(w.weight_out):
        C = [torch.complex(row[k], row[k + len(h)]) for k in range(len(h))]
        skip = w.D[j] * x[j] if w.I == w.H else dot(w.D[j], x)
        y.append(copies * dot(C, h).real + skip)
    return y


@oracle("lru", settings=({}, {"state_size": 4, "r_min": 0.5, "r_max": 0.9, "max_phase": 1.0}))
def lru(w, x, h):
    new = []
    for k in range(w.state_size):
        decay = torch.exp(torch.complex(-w.nu[k].exp(), w.theta[k].exp()))
        new.append(decay * h[k] + w.gamma[k].exp() * pair(w.weight_ih, k, w.state_size, x))
    return read(w, new, x, 1), (new,)


@oracle(
    "s5",
    settings=(
        {},
        {"state_size": 8, "blocks": 2, "step_scale": 1.5, "clip": True},
        {"state_size": 4, "method": "bilinear"},
    ),
)
def s5(w, x, h):
    new, half = [], w.state_size // 2
    for k in range(half):
        re = w.lambda_re[k].clamp(max=-1e-4) if w.clip else w.lambda_re[k]
        eigenvalue, step = torch.complex(re, w.lambda_im[k]), w.step_scale * w.log_step[k].exp()
        if w.method == "zoh":
            a = torch.exp(step * eigenvalue)
            b = (a - 1) / eigenvalue
        else:
            b = 1 / (1 / step - eigenvalue / 2)
            a = b * (1 / step + eigenvalue / 2)
        new.append(a * h[k] + b * pair(w.weight_ih, k, half, x))
    return read(w, new, x, 2), (new,)


@oracle("s4d", settings=({"state_size": 6}, {}))
def s4d(w, x, h):
    v, y, new = one_each(w, x), [], []
    for j in range(w.H):
        unit = []
        for n in range(w.state_size // 2):
            A = torch.complex(-w.log_A_real[j][n].exp(), w.A_imag[j][n])
            a = torch.exp(w.log_dt[j].exp() * A)
            unit.append(a * h[j][n] + (a - 1) / A * v[j])
        C = [torch.complex(re, im) for re, im in zip(w.C_re[j], w.C_im[j], strict=True)]
        y.append(2 * dot(C, unit).real + w.D[j] * v[j])
        new.append(unit)
    return y, (new,)


@oracle("s6", settings=({}, {"state_size": 2, "dt_rank": 4}))
def s6(w, x, h):
    v, R, N = one_each(w, x), w.dt_rank, w.state_size
    mixed = [dot(row, v) for row in w.weight_x]
    delta, B, C = mixed[:R], mixed[R : R + N], mixed[R + N :]
    y, new = [], []
    for j in range(w.H):
        step = softplus(dot(w.weight_dt[j], delta) + entry(w.bias_dt, j))
        unit = [torch.exp(-step * w.A_log[j][n].exp()) * h[j][n] + step * B[n] * v[j] for n in range(N)]
        y.append(dot(C, unit) + w.D[j] * v[j])
        new.append(unit)
    return y, (new,)
