"""LSTMs whose step holds products that depend on one another."""

import torch

from identities.notation import identity, random_cell, run


def copied(name, like, **constants):
    """A cell with the weights of another where it has them by the same name, and zeros where not."""
    cell = random_cell(name, like.input_size, like.hidden_size, **constants)
    theirs = dict(like.named_parameters())
    with torch.no_grad():
        for weight, p in cell.named_parameters():
            p.copy_(theirs[weight]) if weight in theirs else p.zero_()
    return cell


def both(one, other):
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    start = [torch.randn(4, 5, dtype=torch.float64) for _ in other.State._fields]
    return run(one, x, one.State(*start)), run(other, x, other.State(*start))


def lstm():
    cell = random_cell("lstm")
    torch.nn.init.zeros_(cell.bias_hh)
    return cell


@identity("wmc_lstm without V is lstm")
def no_working_memory():
    wanted = lstm()
    return both(copied("wmc_lstm", wanted), wanted)


@identity("mogrifier_lstm without rounds is lstm")
def no_rounds():
    wanted = lstm()
    return both(copied("mogrifier_lstm", wanted, rounds=0), wanted)


@identity("mogrifier_lstm with Q, M and their biases zero is lstm")
def rounds_that_scale_by_one():
    wanted = lstm()
    return both(copied("mogrifier_lstm", wanted), wanted)


@identity("residual_lstm with W_p = I and W_h = 0 is peephole_lstm")
def no_residual():
    wanted = random_cell("peephole_lstm")
    cell = copied("residual_lstm", wanted)
    torch.nn.init.eye_(cell.weight_proj)
    return both(cell, wanted)


@identity("residual_lstm with W_p = I, W_h = 0 and no peepholes is lstm")
def no_residual_and_no_peepholes():
    wanted = lstm()
    cell = copied("residual_lstm", wanted)
    torch.nn.init.eye_(cell.weight_proj)
    return both(cell, wanted)


@identity("multiplicative_lstm with a constant input that alone feeds m is lstm with R = U R_m")
def nothing_multiplied():
    cell, wanted = random_cell("multiplicative_lstm", 4), lstm()
    with torch.no_grad():
        cell.weight_ih[:5] = torch.tensor([0, 0, 0, 1.0])
        cell.weight_ih[5:] = torch.cat([wanted.weight_ih, torch.zeros(20, 1)], -1)
        cell.bias_mh.copy_(wanted.bias_ih)
        wanted.weight_hh.copy_(cell.weight_mh @ cell.weight_hh)
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    with_one = torch.cat([x, torch.ones_like(x[..., :1])], -1)
    return run(cell, with_one)[0], run(wanted, x)[0]


@identity("nested_lstm whose inner level is nearly linear is the LSTM with a linear candidate", 1e-7)
def a_linear_inner_level():
    """Gates shut on the old inner memory, open on the new; small sums pass tanh, scaled down before, up within."""
    cell, small = random_cell("nested_lstm"), 1e-5
    with torch.no_grad():
        cell.weight_ih_2.zero_()
        cell.weight_hh_2.zero_()
        cell.bias_2.copy_(torch.tensor([60.0, -800.0, 0.0, 60.0]).repeat_interleave(5))
        for W in (cell.weight_ih_2, cell.weight_hh_2):
            W[10:15] = torch.eye(5)
        cell.weight_ih[10:15] *= small  # the candidates; then so are c and tanh(c) of the outer level
        cell.bias_ih[10:15] *= small
        cell.weight_hh[10:15] *= small
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    got = run(cell, x)[1].c / small
    h, c = torch.zeros(4, 5, dtype=torch.float64), torch.zeros(4, 5, dtype=torch.float64)
    for x_t in x:
        i, f, g, o = (x_t @ cell.weight_ih.t() + cell.bias_ih + h @ cell.weight_hh.t()).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g
        h = o.sigmoid() * c.tanh()
    return got, c / small
