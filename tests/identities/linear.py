"""Cells that are linear in time, of one number a unit."""

import math

import torch
import torch.nn.functional as F

from identities.notation import identity, random_cell, run


def sequences(features=3):
    return torch.randn(7, 4, features, dtype=torch.float64)


@identity("ema of a constant is that constant times 1 - a^t")
def ema_of_a_constant():
    cell, v = random_cell("ema", 5), torch.randn(4, 5, dtype=torch.float64)
    t = torch.arange(1, 8, dtype=torch.float64)[:, None, None]
    return run(cell, v.expand(7, 4, 5))[0], v * (1 - cell.rho.sigmoid() ** t)


@identity("gilr without tanh whose gate does not see x is ema")
def gilr_with_a_constant_gate():
    ours, averages = random_cell("gilr", activation="identity"), random_cell("ema")
    with torch.no_grad():
        ours.weight_ih[:5], ours.bias_ih[:5] = 0, averages.rho
        ours.weight_ih[5:], ours.bias_ih[5:] = averages.weight_ih, averages.bias_ih
    x = sequences()
    return run(ours, x)[0], run(averages, x)[0]


@identity("minlstm whose gates have opposite rows is mingru")
def opposite_gates():
    ours, simple = random_cell("minlstm"), random_cell("mingru")
    with torch.no_grad():
        for name in ("weight_ih", "bias_ih"):
            z, n = getattr(simple, name).chunk(2)
            getattr(ours, name).copy_(torch.cat([-z, z, n]))
    x = sequences()
    return run(ours, x)[0], run(simple, x)[0]


@identity("minlstm whose gates are alike keeps a half")
def equal_gates():
    cell = random_cell("minlstm")
    with torch.no_grad():
        cell.weight_ih[5:10], cell.bias_ih[5:10] = cell.weight_ih[:5], cell.bias_ih[:5]
    x = sequences()
    n = F.linear(x, cell.weight_ih[10:], cell.bias_ih[10:])
    h, wanted = torch.zeros(4, 5, dtype=torch.float64), []
    for n_t in n:
        h = (h + torch.where(n_t >= 0, n_t + 0.5, n_t.sigmoid())) / 2
        wanted.append(h)
    return run(cell, x)[0], torch.stack(wanted)


@identity("hgrn without a lower bound is gilr with silu")
def no_lower_bound():
    ours, impulses = random_cell("hgrn"), random_cell("gilr", activation="silu")
    impulses.load_state_dict(ours.state_dict())
    x = sequences()
    return run(ours, x)[0], run(impulses, x)[0]


@identity("the state of complex_hgrn without rotation and without imaginary input is that of hgrn")
def no_rotation():
    ours, real = (random_cell(name, lower_bound=0.4) for name in ("complex_hgrn", "hgrn"))
    with torch.no_grad():
        ours.theta.zero_()
        for name in ("weight_ih", "bias_ih"):
            f, i = getattr(real, name).chunk(2)
            getattr(ours, name)[:15] = torch.cat([f, i, 0 * i])
    x = sequences()
    return run(ours, x)[1].h, run(real, x)[1].h + 0j


@identity("rg_lru with its recurrence gate shut keeps its state")
def recurrence_gate_shut():
    cell = random_cell("rg_lru")
    with torch.no_grad():
        cell.weight_gates[0], cell.bias_gates[0] = 0, -80
    h = torch.randn(4, 5, dtype=torch.float64)
    return run(cell, sequences(), cell.State(h))[0], h.expand(7, 4, 5)


@identity("rg_lru with its gates open is ema, scaled so that variance is kept")
def gates_open():
    ours, averages = random_cell("rg_lru"), random_cell("ema")
    with torch.no_grad():
        ours.weight_gates.zero_()
        ours.bias_gates.fill_(60)
        a = ours.Lambda.sigmoid() ** 8
        averages.rho.copy_(a.logit())
        averages.weight_ih.copy_(ours.weight_ih)
        averages.bias_ih.copy_(ours.bias_ih)
    x = sequences()
    return run(ours, x)[0], run(averages, x)[0] * (1 - a * a).sqrt() / (1 - a)


def as_wide_as_its_input(name, **constants):
    """A cell of H inputs, which reads or passes them unit by unit, and one of H + 1 with the products for that."""
    own, more = random_cell(name, 5, 5, **constants), random_cell(name, 6, 5, **constants)
    alpha = math.sqrt(3) if constants.get("rescale") else 1.0
    with torch.no_grad():
        for key, p in more.named_parameters():
            q = own._parameters[key]
            if q is None:  # the product that H inputs do without
                q = torch.zeros_like(p) if key == "bias_ih" else alpha * torch.eye(5, dtype=p.dtype)
            elif q.dim() < p.dim():
                q = q.diag()
            p.copy_(q if q.shape == p.shape else F.pad(q, (0, 1)))
    x = sequences(6)
    return run(own, x[..., :5])[0], run(more, x)[0]


for _name, _constants in {
    "ema": {},
    "rg_lru": {},
    "sru_v1": {"rescale": True},
    "sru": {"rescale": True},
    "sru_pp": {"rescale": False},
    "lru": {"state_size": 4},
    "s5": {"state_size": 8},
    "s4d": {"state_size": 4},
    "s6": {},
}.items():
    identity(f"{_name} with H inputs is {_name} with H + 1 of which the last is not read")(
        lambda name=_name, constants=_constants: as_wide_as_its_input(name, **constants)
    )
