"""Every registered cell equals its oracle: outputs, final states and every gradient."""

import pytest
import torch
from oracles import ORACLES, run_oracle

from rnnzoo.cells import create, list_cells
from rnnzoo.cells.registry import constants_of
from rnnzoo.testing.case import differentiable, expect, gradients, named, results, tracked
from rnnzoo.testing.case import run as run_cell

T, B, I, H = 4, 2, 3, 5


def cases():
    for name, oracle in ORACLES.items():
        for settings in oracle.settings:
            biases = ({}, {"bias": False}) if "bias" in constants_of(list_cells()[name]) else ({},)
            for bias in biases:
                chosen = settings | bias
                text = "-".join([name, *(f"{n}={v}" for n, v in chosen.items())])
                yield pytest.param(name, chosen, id=text)


def test_every_registered_cell_has_an_oracle():
    ours = [name for name, cls in list_cells().items() if cls.__module__.startswith("rnnzoo.")]
    missing = [name for name in ours if name not in ORACLES]
    assert not missing, f"write the equations of {', '.join(missing)} in tests/oracles/"


@pytest.mark.parametrize(("name", "settings"), list(cases()))
def test_a_cell_equals_its_oracle(name, settings):
    cell = create(name, I, H, **settings).double().train(ORACLES[name].training)
    for p in cell.parameters():  # not as initialised: zeros and equal biases would hide mistakes
        torch.nn.init.normal_(p, std=0.5)
    inputs = {n: make(T, B).double() for n, make in ORACLES[name].inputs.items()}
    x, start = torch.randn(T, B, I).double(), cell.initial_state(B, torch.empty(()).double())
    start = type(start)(*(torch.randn_like(a) if differentiable(a) else a for a in start))

    def everything(run):
        x_, s, more = tracked(x, start, inputs)
        got = results(*run(x_, s, more))
        return got | gradients(got, {"x": x_} | named(s, "initial state") | more | dict(cell.named_parameters()))

    ours = everything(lambda x, s, more: run_cell(cell, x, s, more))
    theirs = everything(lambda x, s, more: run_oracle(ORACLES[name].step, cell, x, s, **more))
    expect(ours, theirs, f"expected {name} to equal its oracle", 1e-12)
