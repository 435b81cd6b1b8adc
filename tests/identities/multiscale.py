"""Two states, one faster and one slower."""

import torch

from identities.notation import identity, random_cell, run

x = torch.linspace(-2, 2, 6 * 4 * 3, dtype=torch.float64).cos().view(6, 4, 3)


@identity("scrn's context is the exponential moving average of B x")
def moving_average():
    cell = random_cell("scrn", context_size=2, alpha=0.8)
    drive = x @ cell.weight_is.t()
    average = [sum(0.2 * 0.8 ** (t - k) * drive[k] for k in range(t + 1)) for t in range(6)]
    return run(cell, x)[0][..., 5:], torch.stack(average)


@identity("scrn's context stays as it is with α = 1")
def frozen():
    cell = random_cell("scrn", context_size=2, alpha=1.0)
    start = cell.initial_state(4, x)._replace(context=x[0, :, :2])
    return run(cell, x, start)[0][..., 5:], x[:1, :, :2].expand(6, 4, 2)


@identity("lem with both steps closed holds its states")
def closed():
    cell = random_cell("lem")
    with torch.no_grad():
        cell.bias_ih[:10] = -60
    start = cell.State(x[0, :, [0, 1, 2, 0, 1]], x[1, :, [0, 1, 2, 0, 1]])
    return tuple(run(cell, x, start)[1]), tuple(start)


@identity("lem with both steps open is two layers of tanh a step, of which the second also reads x")
def opened():
    cell, y, ys = random_cell("lem"), torch.zeros(4, 5, dtype=torch.float64), []
    with torch.no_grad():
        cell.weight_ih[:10], cell.weight_hh[:10], cell.bias_ih[:10] = 0, 0, 60
    W, b = cell.weight_ih, cell.bias_ih
    for x_t in x:
        z = (x_t @ W[10:15].t() + b[10:15] + y @ cell.weight_hh[10:].t()).tanh()
        y = (x_t @ W[15:].t() + b[15:] + z @ cell.weight_zy.t()).tanh()
        ys.append(y)
    return run(cell, x)[0], torch.stack(ys)
