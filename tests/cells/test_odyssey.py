"""The Odyssey's nine: sizes, initialisation, bounds, and which peephole acts when."""

import pytest
import torch

from rnnzoo import create
from rnnzoo.cells import HiddenCell

I, H = 3, 5
ROWS = {"peephole_lstm": 4, "nig": 3, "nfg": 3, "nog": 3, "niaf": 4, "noaf": 4, "np": 4, "cifg": 3, "fgr": 4}
PEEPHOLES = {"peephole_lstm": 3, "nig": 2, "nfg": 2, "nog": 2, "niaf": 3, "noaf": 3, "np": 0, "cifg": 2, "fgr": 3}


@pytest.mark.parametrize("name", ROWS)
def test_a_variant_has_no_parameters_of_what_it_leaves_out(name):
    count = sum(p.numel() for p in create(name, I, H).parameters())
    extra = 9 * H * H if name == "fgr" else 0
    assert count == ROWS[name] * (I * H + H * H + H) + PEEPHOLES[name] * H + extra


@pytest.mark.parametrize("name", ROWS)
def test_every_parameter_starts_from_a_normal_distribution_of_the_papers_width(name):
    numbers = torch.cat([p.flatten() for p in create(name, 40, 60).parameters()]).detach()
    assert abs(float(numbers.std()) - 0.1) < 0.002
    assert abs(float(numbers.mean())) < 0.002
    assert 0.3 < float(numbers.abs().max()) < 0.7  # no uniform distribution of that width


def test_at_the_first_step_the_output_peephole_acts_and_the_others_have_nothing_to_see():
    cell, x = create("peephole_lstm", I, H).double(), torch.randn(2, I).double()
    s = HiddenCell(*torch.zeros(2, 2, H).double())
    before = cell(x, s)[0]
    with torch.no_grad():
        cell.p_i += 1
        cell.p_f += 1
        assert torch.equal(cell(x, s)[0], before)
        cell.p_o += 1
        assert (cell(x, s)[0] != before).all()


@pytest.mark.parametrize("name", [name for name in ROWS if name != "noaf"])
def test_outputs_stay_within_one_however_far_the_memory_goes(name):
    cell = create(name, I, H).double()
    for p in cell.parameters():
        torch.nn.init.normal_(p, std=3)
    s = cell.initial_state(4, torch.empty(()).double())
    for _ in range(30):
        y, s = cell(3 * torch.randn(4, I).double(), s)
        assert y.abs().max() <= 1
        if name == "cifg":  # a mean of what was and of tanh(g)
            assert s.c.abs().max() <= 1
