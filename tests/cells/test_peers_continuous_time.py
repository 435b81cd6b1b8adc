"""Cells of continuous time equal ncps' and torch's: values, states and gradients, in float64, a step at a time.

A step at a time, for ncps' own loop hands a cell the elapsed times as (B,), which then run along the units.
"""

import pytest
import torch
from ncps.torch import CfCCell, LTCCell
from ncps.wirings import FullyConnected
from torch import nn

from rnnzoo.cells import Hidden, create
from rnnzoo.testing.case import expect, gradients, results
from rnnzoo.testing.case import run as run_cell

T, B, I, H, U = 6, 4, 3, 5, 7


def compare(cell, their_step, weights):
    """`their_step`: (x, h, dt) -> the new h; `weights`: of ours by name, a parameter of theirs in the same layout."""
    leaves = {"x": torch.randn(T, B, I), "dt": 2 * torch.rand(T, B, 1), "h": torch.randn(B, H)}
    leaves = {name: a.double().requires_grad_() for name, a in leaves.items()}
    x, dt, h = leaves.values()
    got = results(*run_cell(cell, x, Hidden(h), {"dt": dt}))
    got |= gradients(got, leaves | {name: getattr(cell, name) for name in weights})
    hs = []
    for x_t, dt_t in zip(x, dt, strict=True):
        h = their_step(x_t, h, dt_t)
        hs.append(h)
    wanted = results(torch.stack(hs), Hidden(h))
    expect(got, wanted | gradients(wanted, leaves | weights), "expected the peer's", 1e-12)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize(("name", "mode"), [("cfc", "default"), ("cfc_no_gate", "no_gate"), ("cfc_pure", "pure")])
def test_cfc_equals_that_of_ncps(name, mode, layers):
    cell = create(name, I, H, backbone_units=U, backbone_layers=layers).double()
    theirs = CfCCell(I, H, mode, backbone_units=U, backbone_layers=layers).double()
    first, *deep = (m for m in theirs.backbone if isinstance(m, nn.Linear))
    heads = [theirs.ff1] if mode == "pure" else [theirs.ff1, theirs.ff2, theirs.time_a, theirs.time_b]
    with torch.no_grad():
        first.weight.copy_(torch.cat([cell.weight_ih, cell.weight_hh], 1))
        first.bias.copy_(cell.bias_ih)
        for k, linear in enumerate(deep):
            linear.weight.copy_(cell.weight_deep[k])
            linear.bias.copy_(cell.bias_deep[k])
        for linear, W, b in zip(heads, cell.weight_head.split(H), cell.bias_head.split(H), strict=True):
            linear.weight.copy_(W)
            linear.bias.copy_(b)
        if mode == "pure":
            theirs.A.copy_(cell.A)
            theirs.w_tau.copy_(cell.w)
    compare(cell, lambda x, h, dt: theirs(x, h, dt)[0], {"bias_ih": first.bias})


@pytest.mark.parametrize("unfolds", [6, 2])
def test_ltc_equals_that_of_ncps(unfolds):
    cell = create("ltc", I, H, unfolds=unfolds).double()
    theirs = LTCCell(
        FullyConnected(H),
        I,
        input_mapping=None,
        output_mapping=None,
        ode_unfolds=unfolds,
        epsilon=0,  # against a division by zero, which c > 0 rules out
        implicit_param_constraints=True,
    ).double()
    names = {"weight": "w", "slope": "sigma", "mid": "mu", "reversal": "erev"}
    with torch.no_grad():
        for ours, their_name in names.items():
            getattr(theirs, their_name).copy_(getattr(cell, f"{ours}_hh").t())
            getattr(theirs, f"sensory_{their_name}").copy_(getattr(cell, f"{ours}_ih").t())
        for ours, their_name in {"c": "cm", "g": "gleak", "resting": "vleak"}.items():
            getattr(theirs, their_name).copy_(getattr(cell, ours))
    weights = {"c": theirs.cm, "g": theirs.gleak, "resting": theirs.vleak}
    compare(cell, lambda x, h, dt: theirs(x, h, dt)[1], weights)


def test_ode_rnn_is_a_solver_and_torchs_gru():
    cell, gru = create("ode_rnn", I, H, ode_units=U).double(), nn.GRUCell(I, H).double()
    gru.load_state_dict({name: getattr(cell, name) for name in gru.state_dict()})
    field = nn.Sequential(nn.Linear(H, U), nn.Tanh(), nn.Linear(U, H)).double()
    with torch.no_grad():
        for p, ours in zip(field.parameters(), ("weight_hu", "bias_hu", "weight_uh", "bias_uh"), strict=True):
            p.copy_(getattr(cell, ours))

    def step(x, h, dt):
        for _ in range(cell.unfolds):
            h = h + dt / cell.unfolds * field(h)
        return gru(x, h)

    names = ("weight_hu", "bias_hu", "weight_uh", "bias_uh")
    compare(cell, step, dict(gru.named_parameters()) | dict(zip(names, field.parameters(), strict=True)))
