"""Cells whose state is a gated sum."""

import torch

from identities.notation import identity, random_cell, run


def sequence():
    return torch.randn(6, 4, 3, dtype=torch.float64)


@identity("atr with R and d negated exchanges its gates: i(p, -q) = f(p, q)")
@torch.no_grad()
def exchanged():
    one, other = random_cell("atr"), random_cell("atr")
    other.load_state_dict(one.state_dict())
    for p in (other.weight_hh, other.bias_hh):
        p.neg_()
    x, h = sequence()[0], torch.randn(4, 5, dtype=torch.float64)
    p = x @ one.weight_ih.t() + one.bias_ih
    i_p_f_h, f_p_i_h = one(x, one.State(h))[0], other(x, one.State(h))[0]
    q = h @ one.weight_hh.t() + one.bias_hh
    return i_p_f_h + f_p_i_h, ((p + q).sigmoid() + (p - q).sigmoid()) * (p + h)


@identity("atr without R and d has one gate for both")
@torch.no_grad()
def one_gate():
    cell = random_cell("atr")
    cell.weight_hh.zero_()
    cell.bias_hh.zero_()
    x, h = sequence()[:1], torch.randn(4, 5, dtype=torch.float64)
    p = x @ cell.weight_ih.t() + cell.bias_ih
    return run(cell, x, cell.State(h))[0], p.sigmoid() * (p + h)


@identity("the memory of ran is a weighted sum of its contents: twice W_c with the same gates is twice the memory")
@torch.no_grad()
def weighted_sum():
    # with R = 0 the gates stay as they are
    one, two = random_cell("ran"), random_cell("ran")
    one.weight_hh.zero_()
    two.load_state_dict(one.state_dict())
    two.weight_ih[:5] *= 2
    x = sequence()
    return run(two, x)[1].c, 2 * run(one, x)[1].c


@identity("ran is lstm without squashing its content and its output gate: tanh' = 1 for small contents", 1e-14)
@torch.no_grad()
def small_contents():
    ran, lstm = random_cell("ran"), random_cell("lstm")
    ran.weight_ih[:5] *= 1e-6
    c, i, f = ran.weight_ih.chunk(3)
    none = torch.zeros_like(c)
    lstm.weight_ih.copy_(torch.cat([i, f, c, none]))
    lstm.weight_hh.copy_(torch.cat([ran.weight_hh, torch.zeros(10, 5)]))
    lstm.bias_ih.copy_(torch.cat([ran.bias_ih, torch.zeros(5), torch.full((5,), 60.0)]))
    lstm.bias_hh.zero_()
    x = sequence()
    return run(ran, x)[0], run(lstm, x)[0]


@identity("each unit of lrn sees itself alone: h moves with its own past only")
def units_alone():
    return jacobian_and_its_diagonal("lrn")


@identity("each unit of brc sees itself alone: h moves with its own past only")
def bistable_units_alone():
    return jacobian_and_its_diagonal("brc")


def jacobian_and_its_diagonal(name):
    cell, x = random_cell(name), sequence()
    h = torch.randn(5, dtype=torch.float64)
    J = torch.autograd.functional.jacobian(lambda h: run(cell, x[:, :1], cell.State(h[None]))[1].h[0], h)
    assert J.diag().abs().min() > 0
    return J, J.diag().diag()
