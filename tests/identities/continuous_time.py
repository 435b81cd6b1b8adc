"""Cells of continuous time."""

import torch
import torch.nn.functional as F

from identities.notation import identity, random_cell, run

T, B = 6, 4


def sequence():
    return torch.randn(T, B, 3, dtype=torch.float64), 2 * torch.rand(T, B, 1, dtype=torch.float64)


@identity("gru_ode in one Euler step of 1 is cho_gru with the rows of z negated")
def one_euler_step():
    ode, gru = random_cell("gru_ode", unfolds=1), random_cell("cho_gru")
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih"):
            r, z, n = getattr(ode, name).chunk(3)
            getattr(gru, name).copy_(torch.cat([r, -z, n]))
    x, dt = sequence()
    return run(ode, x, dt=torch.ones_like(dt))[0], run(gru, x)[0]


@identity("ode_rnn whose equation is dh/dt = 0 is gru")
def nothing_between():
    ode, gru = random_cell("ode_rnn", ode_units=4), random_cell("gru")
    gru.load_state_dict(ode.state_dict(), strict=False)
    with torch.no_grad():
        ode.weight_uh.zero_()
        ode.bias_uh.zero_()
    x, dt = sequence()
    return run(ode, x, dt=dt)[0], run(gru, x)[0]


@identity("ode_rnn whose equation is dh/dt = -λ h decays by (1 - λ dt/K)^K between its steps", tolerance=1e-6)
def decay_between():
    ode, gru = random_cell("ode_rnn", ode_units=5, unfolds=3), random_cell("gru")
    gru.load_state_dict(ode.state_dict(), strict=False)
    with torch.no_grad():
        ode.weight_hu.copy_(1e-4 * torch.eye(5))  # so small that tanh is linear
        ode.weight_uh.copy_(-0.8e4 * torch.eye(5))
        ode.bias_hu.zero_()
        ode.bias_uh.zero_()
    x, dt = sequence()
    s, wanted = gru.initial_state(B, x), []
    for x_t, dt_t in zip(x, dt, strict=True):
        y, s = gru(x_t, gru.State(s.h * (1 - 0.8 * dt_t / 3) ** 3))
        wanted.append(y)
    return run(ode, x, dt=dt)[0], torch.stack(wanted)


@identity("cfc and cfc_no_gate are one cell where f says nothing")
def late_alone():
    gated, free = (random_cell(name, backbone_units=4) for name in ("cfc", "cfc_no_gate"))
    with torch.no_grad():
        gated.weight_head[:5], gated.bias_head[:5] = 0, 0
    free.load_state_dict(gated.state_dict())
    x, dt = sequence()
    return run(gated, x, dt=dt)[0], run(free, x, dt=dt)[0]


@identity("cfc in no time does not ask how fast it is")
def no_time():
    one, other = (random_cell("cfc", backbone_units=4) for _ in range(2))
    with torch.no_grad():
        for name in ("weight_head", "bias_head"):
            fast = getattr(other, name)[10:15].clone()
            getattr(other, name).copy_(getattr(one, name))[10:15] = fast
    other.load_state_dict({n: a for n, a in one.state_dict().items() if "head" not in n}, strict=False)
    x, dt = sequence()
    return run(one, x, dt=0 * dt)[0], run(other, x, dt=0 * dt)[0]


@identity("cfc_pure in no time is A (1 - f)")
def pure_start():
    cell = random_cell("cfc_pure", backbone_units=4)
    (x, dt), h = sequence(), torch.randn(B, 5, dtype=torch.float64)
    z = 1.7159 * (0.666 * (F.linear(x[0], cell.weight_ih, cell.bias_ih) + h @ cell.weight_hh.t())).tanh()
    f = F.linear(z, cell.weight_head, cell.bias_head)
    return cell(x[0], cell.State(h), dt=0 * dt[0])[0], cell.A * (1 - f)


def unconnected(unfolds):
    cell = random_cell("ltc", unfolds=unfolds)
    with torch.no_grad():
        cell.weight_ih.fill_(-800)  # whose softplus is zero
        cell.weight_hh.fill_(-800)
    return cell, torch.randn(B, 5, dtype=torch.float64)


@identity("ltc without synapses goes towards its resting potential by c / (c + δ g) a solver's step")
def to_rest():
    cell, v = unconnected(4)
    x, dt = sequence()
    factor = F.softplus(cell.c) / (F.softplus(cell.c) + dt[0] / 4 * F.softplus(cell.g))
    wanted = cell.resting + factor**4 * (v - cell.resting)
    return cell(x[0], cell.State(v), dt=dt[0])[0], wanted


@identity("ltc without synapses between units forgets where it started in a long time", tolerance=1e-9)
def steady():
    cell, v = unconnected(1)
    with torch.no_grad():
        cell.weight_ih.zero_()
    x, dt = sequence()
    ends = [cell(x[0], cell.State(start), dt=1e12 + dt[0])[0] for start in (v, -3 * v)]
    return ends[0], ends[1]


@identity("ltc, gru_ode and ode_rnn between gaps of no time: the solvers stand still")
def standing():
    (x, dt), got, wanted = sequence(), [], []
    for name in ("ltc", "gru_ode"):
        cell, h = random_cell(name), torch.randn(B, 5, dtype=torch.float64)
        got.append(cell(x[0], cell.State(h), dt=0 * dt[0])[0])
        wanted.append(h)
    ode, gru = random_cell("ode_rnn"), random_cell("gru")
    gru.load_state_dict(ode.state_dict(), strict=False)
    return (*got, run(ode, x, dt=0 * dt)[0]), (*wanted, run(gru, x)[0])
