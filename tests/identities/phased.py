"""A rhythm in the state."""

import torch

from identities.notation import identity, random_cell, run


def phased_and_peephole(**constants):
    cell, plain = random_cell("phased_lstm", **constants), random_cell("peephole_lstm")
    cell.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        cell.tau.fill_(4)
        cell.shift.zero_()
    return cell, plain, torch.randn(6, 4, 3, dtype=torch.float64)


def times(*of_steps):
    return torch.tensor(of_steps, dtype=torch.float64)[:, None, None].expand(-1, 4, 1)


@identity("phased_lstm in the middle of its open phase is peephole_lstm", 0.0)
def wide_open():
    cell, plain, x = phased_and_peephole(ratio=1.0)
    return run(cell, x, time=times(2, 6, 10, -2, 402, 2)), run(plain, x)


@identity("phased_lstm closed keeps its state to the bit, and the state alone goes on", 0.0)
def closed():
    cell, plain, x = phased_and_peephole(ratio=0.25)
    y, last = run(cell, x, time=times(0.5, 1, 2, 3.75, 4.5, 7.75))
    _, first = run(plain, x[:1])
    _, second = run(plain, x[4:5], first)
    return (*y, *last), (*(first.h,) * 4, *(second.h,) * 2, *second)
