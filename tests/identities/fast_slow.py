"""A fast network around a slow one."""

import torch

from identities.notation import identity, random_cell, run


@identity("fast_slow_rnn whose second fast cell ignores the slow one is a deep transition of the fast cells")
def slow_unread():
    cell, x = random_cell("fast_slow_rnn", slow="gru"), torch.randn(6, 4, 3, dtype=torch.float64)
    first, second = cell.fast_cells
    with torch.no_grad():
        second.weight_ih.zero_()
    s, ys = None, []
    for x_t in x:
        _, s = first(x_t, s)
        y, s = second(torch.randn(4, 5, dtype=torch.float64), s)
        ys.append(y)
    return run(cell, x)[0], torch.stack(ys)
