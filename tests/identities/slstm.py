"""The scalar memory of xLSTM."""

import torch

from identities.notation import identity, random_cell, run


def start_at(m):
    zero = torch.zeros(4, 6, dtype=torch.float64)
    return zero, zero, zero, zero + m


@identity("slstm from an empty memory does not see m_0")
def where_m_starts():
    cell, x = random_cell("slstm", 3, 6, heads=2), torch.randn(6, 4, 3, dtype=torch.float64)
    return run(cell, x, cell.State(*start_at(700.0)))[0], run(cell, x, cell.State(*start_at(-3.0)))[0]


@identity("slstm from an empty memory does not see a constant that is added to every i")
def a_shift_of_i():
    cell, x = random_cell("slstm", 3, 6, heads=2), torch.randn(6, 4, 3, dtype=torch.float64)
    wanted = run(cell, x)[0]
    with torch.no_grad():
        cell.bias_ih[:6] += 11
    return run(cell, x)[0], wanted


@identity("slstm is exp(i), σ(f) and c / n as they stand, where no number is large")
def without_a_stabilizer():
    cell, x = random_cell("slstm", 3, 6, heads=2), torch.randn(6, 4, 3, dtype=torch.float64)
    h, c, n, wanted = *(torch.zeros(4, 6, dtype=torch.float64) for _ in range(3)), []
    R = [torch.block_diag(*(head.chunk(4)[gate] for head in cell.weight_hh)) for gate in range(4)]
    for x_t in x:
        wx = (x_t @ cell.weight_ih.t() + cell.bias_ih).chunk(4, -1)
        i, f, z, o = (a + h @ block.t() for a, block in zip(wx, R, strict=True))
        c, n = f.sigmoid() * c + i.exp() * z.tanh(), f.sigmoid() * n + i.exp()
        h = o.sigmoid() * c / n
        wanted.append(h)
    return run(cell, x)[0], torch.stack(wanted)
