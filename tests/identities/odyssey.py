"""The LSTM and its eight variants of Greff et al. 2017: each is the vanilla LSTM with one thing held still."""

from functools import partial

import torch

from identities.notation import identity, random_cell, run
from rnnzoo.cells import HiddenCell


def sequence():
    return torch.randn(6, 4, 3, dtype=torch.float64)


def start():
    return HiddenCell(*torch.randn(2, 4, 5, dtype=torch.float64))


@torch.no_grad()
def vanilla_of(cell, rows):
    """peephole_lstm with the weights of a variant of row order `rows`; gates that it lacks are held open."""
    vanilla = random_cell("peephole_lstm")
    for k, gate in enumerate("ifgo"):
        for name in ("weight_ih", "weight_hh", "bias_ih"):
            block = getattr(vanilla, name).chunk(4)[k]
            if gate in rows:
                block.copy_(getattr(cell, name).chunk(len(rows))[rows.index(gate)])
            else:
                block.fill_(40 if name == "bias_ih" else 0)  # σ(40) is 1 to the last bit
        if gate != "g":
            getattr(vanilla, f"p_{gate}").copy_(getattr(cell, f"p_{gate}", torch.zeros(5)))
    return vanilla


def gate_held_open(name, rows):
    cell, x, s = random_cell(name), sequence(), start()
    return run(cell, x, s), run(vanilla_of(cell, rows), x, s)


for _name, _rows, _gate in (("nig", "fgo", "input"), ("nfg", "igo", "forget"), ("nog", "ifg", "output")):
    identity(f"{_name} is peephole_lstm with its {_gate} gate held open")(partial(gate_held_open, _name, _rows))


@identity("cifg is peephole_lstm with the rows of f those of i negated, for 1 - σ(a) = σ(-a)")
def coupled():
    cell, x, s = random_cell("cifg"), sequence(), start()
    vanilla = vanilla_of(cell, "igo")
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih"):
            i, f, _, _ = getattr(vanilla, name).chunk(4)
            f.copy_(-i)
        vanilla.p_f.copy_(-cell.p_i)
    return run(cell, x, s), run(vanilla, x, s)


@identity("np is lstm with half of its biases zero")
def no_peepholes():
    cell, lstm, x, s = random_cell("np"), random_cell("lstm"), sequence(), start()
    with torch.no_grad():
        lstm.bias_hh.zero_()
    lstm.load_state_dict(cell.state_dict(), strict=False)
    return run(cell, x, s), run(lstm, x, s)


@identity("peephole_lstm with its peepholes zero is np")
def peepholes_closed():
    cell, x, s = random_cell("np"), sequence(), start()
    return run(vanilla_of(cell, "ifgo"), x, s), run(cell, x, s)


@identity("fgr with deaf gates is peephole_lstm")
def gates_deaf():
    cell, x, s = random_cell("fgr"), sequence(), start()
    with torch.no_grad():
        cell.weight_gg.zero_()
    y, last = run(cell, x, type(cell.initial_state(4, x))(*s, *torch.rand(3, 4, 5, dtype=torch.float64)))
    return (y, *last[:2]), (lambda y, last: (y, *last))(*run(vanilla_of(cell, "ifgo"), x, s))


@identity("nog emits tanh(c)")
def memory_in_sight():
    y, last = run(random_cell("nog"), sequence(), start())
    return y[-1], last.c.tanh()


@identity("nig with its forget gate open adds up tanh(g)")
def adds_up():
    cell, x = random_cell("nig"), sequence()
    with torch.no_grad():
        cell.weight_ih[:5], cell.bias_ih[:5], cell.weight_hh[:10], cell.p_f[:] = 0, 40, 0, 0
    s = start()
    W, b = cell.weight_ih[5:10], cell.bias_ih[5:10]
    return run(cell, x, s)[1].c, s.c + (x @ W.t() + b).tanh().sum(0)


@identity("niaf with its input and forget gates open is linear in x")
def linear_in_x():
    cell, x, s = random_cell("niaf"), sequence(), start()
    with torch.no_grad():
        cell.weight_ih[:10], cell.bias_ih[:10], cell.weight_hh[:15] = 0, 40, 0
        cell.p_i.zero_()
        cell.p_f.zero_()
    W, b = cell.weight_ih[10:15], cell.bias_ih[10:15]
    return run(cell, x, s)[1].c, s.c + (x @ W.t() + b).sum(0)


def small(name):
    """What a variant without one of the squashes makes of a candidate of 1e-6, in millionths, beside the vanilla."""
    cell, x = random_cell(name), sequence()
    with torch.no_grad():
        for a in (cell.weight_ih, cell.weight_hh, cell.bias_ih):
            a[10:15] *= 1e-6
    return 1e6 * run(cell, x)[0], 1e6 * run(vanilla_of(cell, "ifgo"), x)[0]


identity("niaf is peephole_lstm where the candidate is small", 1e-10)(partial(small, "niaf"))
identity("noaf is peephole_lstm where the memory is small", 1e-10)(partial(small, "noaf"))
