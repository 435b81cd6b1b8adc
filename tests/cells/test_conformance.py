"""Every registered cell passes the public suite, whatever its own arguments."""

import pytest
import torch
from oracles import ORACLES

from rnnzoo import RNN
from rnnzoo.cells import create, list_cells
from rnnzoo.testing import check_cell

FIRST = [(name, oracle.settings[0]) for name, oracle in ORACLES.items()]
FURTHER = [(name, settings) for name, oracle in ORACLES.items() for settings in oracle.settings[1:]]
# every third; the others take minutes, and are slow tests
WITHOUT_BIASES = [pytest.param(name, marks=[pytest.mark.slow] if k % 3 else []) for k, name in enumerate(list_cells())]
QUICK_FURTHER = [  # every second, for the same reason; a cell's values with each of its settings are its oracle's tests
    pytest.param(name, settings, marks=[pytest.mark.slow] if k % 2 else [])
    for k, (name, settings) in enumerate(FURTHER)
]


def shown(value):
    return value if isinstance(value, str) else str(value or "")


@pytest.mark.parametrize(("name", "settings"), FIRST, ids=shown)
def test_a_registered_cell_passes_every_check(name, settings):
    check_cell(create(name, 3, 5, **settings), inputs=ORACLES[name].inputs)


@pytest.mark.parametrize(("name", "settings"), QUICK_FURTHER, ids=shown)
def test_a_cell_of_other_settings_passes_every_quick_check(name, settings):
    check_cell(create(name, 3, 5, **settings), inputs=ORACLES[name].inputs, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), FURTHER, ids=shown)
def test_a_cell_of_other_settings_passes_every_check(name, settings):
    check_cell(create(name, 3, 5, **settings), inputs=ORACLES[name].inputs)


@pytest.mark.parametrize("name", WITHOUT_BIASES)
def test_a_registered_cell_without_biases_passes_every_quick_check(name):
    check_cell(create(name, 3, 2, bias=False), inputs=ORACLES[name].inputs, slow=False)


@pytest.mark.parametrize("name", list_cells())
def test_a_cell_names_its_paper_and_gives_its_equations(name):
    doc = list_cells()[name].__doc__
    first, rest = doc.split("\n", 1)
    assert any(year in first for year in map(str, range(1980, 2030))), "the first line names source and year"
    assert "_t = " in rest, "the equations follow"


def test_a_linear_cell_keeps_a_float32_state_under_autocast():
    for kernel in ("linear_scan", "reference"):
        rnn = RNN("mingru", 3, 5, kernel=kernel)
        with torch.autocast("cpu", torch.bfloat16):
            _, h_n = rnn(torch.randn(7, 2, 3))
        assert h_n.dtype == torch.float32
