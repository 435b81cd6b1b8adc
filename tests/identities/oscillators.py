"""Driven oscillators."""

import torch

from identities.notation import identity, random_cell, run


def started(cell):
    y, z = torch.randn(2, 4, 5, dtype=torch.float64)
    return cell.State(y, z)


@identity("cornn without weights is a damped harmonic oscillator, a matrix a step")
def damped():
    dt, gamma, epsilon = 0.1, 2.0, 0.5
    cell = random_cell("cornn", dt=dt, gamma=gamma, epsilon=epsilon)
    with torch.no_grad():
        for p in cell.parameters():
            p.zero_()
    start, rows = started(cell), [[1 - dt**2 * gamma, dt * (1 - dt * epsilon)], [-dt * gamma, 1 - dt * epsilon]]
    step = torch.tensor(rows, dtype=torch.float64).matrix_power(6)
    last = run(cell, torch.randn(6, 4, 3, dtype=torch.float64), start)[1]
    return torch.stack(tuple(last)), (step @ torch.stack(tuple(start)).flatten(1)).view(2, 4, 5)


@identity("cornn with implicit damping is, without damping, the explicit one")
def undamped():
    one, two = (random_cell("cornn", epsilon=0.0, damping=d) for d in ("explicit", "implicit"))
    two.load_state_dict(one.state_dict())
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    return run(one, x)[0], run(two, x)[0]


@identity("unicornn is invertible: its old state can be had from the new one")
def inverse():
    cell = random_cell("unicornn", dt=0.4, alpha=2.0)
    old, x = started(cell), torch.randn(4, 3, dtype=torch.float64)
    new, dt = cell(x, old)[1], 0.4 * cell.c.sigmoid()
    y = new.y - dt * new.z
    force = (x @ cell.weight_ih.t() + cell.bias_ih + cell.weight_hh * y).tanh() + 2.0 * y
    return (y, new.z + dt * force), tuple(old)


@identity("unicornn keeps volumes: the determinant of its Jacobian is 1")
def volume():
    cell, x = random_cell("unicornn", dt=0.4, alpha=2.0), torch.randn(1, 3, dtype=torch.float64)

    def step(s):
        return torch.cat(cell(x, cell.State(*s.view(2, 1, 5)))[1], -1)[0]

    J = torch.autograd.functional.jacobian(step, torch.randn(10, dtype=torch.float64))
    return J.det(), torch.ones((), dtype=torch.float64)
