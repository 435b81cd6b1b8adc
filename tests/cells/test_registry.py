"""Cells by name: what is found, and one clear line for what is not."""

import importlib
import pickle
import sys
import warnings
from importlib.metadata import EntryPoint

import pytest
import torch

import rnnzoo
from rnnzoo import RNN, RnnZooError, create, list_cells, register
from rnnzoo.cells import Cell, GatedCell, Hidden, find, name_of, registry
from rnnzoo.cells.lstm import LSTM

LEAKY = '''
from rnnzoo.cells import GatedCell, Hidden

class Leaky(GatedCell):
    """h_t = (1 - a) h_{t-1} + a tanh(W x + R h)"""

    gates, State = 1, Hidden

    def __init__(self, input_size: int, hidden_size: int, *, a: float = 0.5, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.a = a

    def update(self, wx, rh, s):
        return Hidden((1 - self.a) * s.h + self.a * (wx + rh).tanh())

number = 3
'''


@pytest.fixture
def my_lab(tmp_path, monkeypatch):
    """A module with a cell of the user's own, outside the package."""
    (tmp_path / "my_lab_cells.py").write_text(LEAKY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_CELLS", dict(registry._CELLS))
    importlib.invalidate_caches()
    yield tmp_path
    for name in ("my_lab_cells", "broken_lab"):
        sys.modules.pop(name, None)


@pytest.fixture
def plugins(monkeypatch):
    """Entry points of packages that are not there, as importlib.metadata would list them."""
    points = []

    def entry_points(group, name=None):
        return [p for p in points if p.group == group and name in (None, p.name)]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    return lambda name, value: points.append(EntryPoint(name, value, "rnnzoo.cells"))


def test_the_public_names_are_where_the_readme_says():
    assert set(rnnzoo.__all__) <= set(dir(rnnzoo))
    for name in rnnzoo.__all__:
        assert getattr(rnnzoo, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'LSMT'"):
        _ = rnnzoo.LSMT


def test_the_cells_of_the_issue_are_registered():
    ours = {"rnn", "rnn_relu", "lstm", "gru", "cho_gru", "peephole_lstm", "janet", "mingru"}
    assert ours | {"cudnn_lstm", "cudnn_gru", "cudnn_rnn"} <= set(list_cells())
    assert list(list_cells()) == sorted(list_cells())


def test_a_bare_cell_has_torchs_parameter_names_and_shapes():
    shapes = {name: tuple(p.shape) for name, p in create("gru", 10, 20).named_parameters()}
    assert shapes == {"weight_ih": (60, 10), "weight_hh": (60, 20), "bias_ih": (60,), "bias_hh": (60,)}


def test_an_unknown_cell_suggests_the_nearest():
    for make in (lambda: create("lsmt", 3, 5), lambda: RNN("lsmt", 3, 5)):
        with pytest.raises(RnnZooError, match=r"^unknown cell 'lsmt'; did you mean 'lstm'\? `rnnzoo cells` lists all"):
            make()
    with pytest.raises(RnnZooError, match=r"^unknown cell 'qqqq'; `rnnzoo cells` lists all"):
        create("qqqq", 3, 5)


@pytest.mark.parametrize("thing", [None, 3, int, torch.nn.Linear(2, 2)], ids=["None", "3", "int", "Linear"])
def test_what_is_no_cell_is_named(thing):
    with pytest.raises(RnnZooError, match="cell must be a registered name, an import path or a Cell class, not "):
        RNN(thing, 3, 5)


def test_a_cell_instance_or_a_function_that_makes_none_is_named():
    with pytest.raises(RnnZooError, match=r"or a Cell class, not LSTM\(3, 5\)"):
        RNN(create("lstm", 3, 5), 3, 5)
    with pytest.raises(RnnZooError, match=r"cell, called with \(3, 5\), must make a Cell, not None"):
        RNN(lambda i, h: None, 3, 5)


def test_an_argument_that_a_cell_does_not_have_is_named_with_those_it_has():
    with pytest.raises(
        RnnZooError, match=r"cell 'janet' has no argument 'betta'; did you mean 'beta'\? it has: beta, "
    ):
        RNN("janet", 3, 5, betta=0.5)
    with pytest.raises(RnnZooError, match="cell 'lstm' has no argument 'alpha'; it has: bias"):
        create("lstm", 3, 5, alpha=1)


def test_an_argument_of_another_type_is_named_with_its_value():
    with pytest.raises(RnnZooError, match="argument 'beta' of cell 'janet' must be float, not 'high'"):
        create("janet", 3, 5, beta="high")
    with pytest.raises(RnnZooError, match=r"argument 'max_steps' of cell 'janet' must be int, not 7.5"):
        create("janet", 3, 5, max_steps=7.5)
    with pytest.raises(RnnZooError, match="argument 'bias' of cell 'gru' must be bool, not 1"):
        create("gru", 3, 5, bias=1)
    with pytest.raises(RnnZooError, match="max_steps of janet must be at least 3, not 2"):
        create("janet", 3, 5, max_steps=2)
    assert create("janet", 3, 5, beta=1).beta == 1  # a whole number is a float too


def test_constants_are_found_however_the_user_writes_them():
    class Positional(GatedCell):
        gates, State = 1, Hidden

        def __init__(self, input_size, hidden_size, alpha: "float" = 0.5, **kwargs):
            super().__init__(input_size, hidden_size, **kwargs)
            self.alpha = alpha

        def update(self, wx, rh, s):
            return Hidden(self.alpha * (wx + rh).tanh())

    cell = create(Positional, 3, 5, alpha=0.25, bias=False)
    assert (cell.alpha, cell.bias_ih) == (0.25, None)
    with pytest.raises(RnnZooError, match="has no argument 'gamma'; it has: alpha, bias"):
        create(Positional, 3, 5, gamma=1)
    with pytest.raises(RnnZooError, match=r"argument 'alpha' of cell .* must be float, not 'x'"):
        create(Positional, 3, 5, alpha="x")


def test_an_argument_without_a_default_has_to_be_given():
    class Needy(LSTM):
        def __init__(self, input_size: int, hidden_size: int, *, rank: int):
            super().__init__(input_size, hidden_size)

    with pytest.raises(RnnZooError, match="needs a value for 'rank'"):
        create(Needy, 3, 5)


def test_a_taken_name_is_an_error_that_says_by_whom(monkeypatch):
    monkeypatch.setattr(registry, "_CELLS", dict(registry._CELLS))
    with pytest.raises(RnnZooError, match=r"^cell name 'lstm' is already taken by rnnzoo\.cells\.lstm\.LSTM$"):
        register("lstm")(type("Mine", (LSTM,), {}))
    mine = register("my_lstm")(type("Mine", (LSTM,), {}))
    assert find("my_lstm") is mine
    assert name_of(mine) == "my_lstm"
    assert find(mine) is mine
    assert list_cells()["my_lstm"] is mine


def test_a_class_loaded_again_takes_its_own_name(monkeypatch):
    monkeypatch.setattr(registry, "_CELLS", dict(registry._CELLS))
    first = register("again")(type("Again", (LSTM,), {}))
    second = register("again")(type("Again", (LSTM,), {}))  # as a notebook cell that is run twice
    assert first is not second
    assert find("again") is second


@pytest.mark.parametrize("path", ["my_lab_cells.Leaky", "my_lab_cells:Leaky"])
def test_a_cell_outside_the_package_is_used_by_its_import_path(my_lab, path):
    rnn = RNN(path, 3, 5, 2, a=0.25)
    y, h_n = rnn(torch.randn(7, 4, 3))
    assert (tuple(y.shape), tuple(h_n.shape)) == ((7, 4, 5), (2, 4, 5))
    assert name_of(find(path)) == "my_lab_cells.Leaky"
    assert pickle.loads(pickle.dumps(rnn)).layers[0][0].a == 0.25


def test_an_import_path_that_leads_nowhere_is_named(my_lab):
    with pytest.raises(
        RnnZooError, match=r"cell 'no_such_lab\.Leaky' cannot be found: there is no module 'no_such_lab'"
    ):
        create("no_such_lab.Leaky", 3, 5)
    with pytest.raises(RnnZooError, match=r"my_lab_cells\.Leeky does not exist; did you mean 'Leaky'\?"):
        create("my_lab_cells.Leeky", 3, 5)
    with pytest.raises(RnnZooError, match=r"my_lab_cells\.number is a int, not a Cell class"):
        create("my_lab_cells.number", 3, 5)
    with pytest.raises(RnnZooError, match=r"cell 'my_lab_cells.Leaky' has no argument 'b'"):
        create("my_lab_cells.Leaky", 3, 5, b=0.5)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("1 / 0", "raised ZeroDivisionError: division by zero"),
        ("def f(:", "raised SyntaxError: "),
        ("import no_such_dependency", "failed: No module named 'no_such_dependency'"),
        ("raise SystemError('no licence')", "raised SystemError: no licence"),
    ],
)
def test_a_module_that_fails_at_import_says_why(my_lab, source, reason):
    (my_lab / "broken_lab.py").write_text(source)
    importlib.invalidate_caches()
    with pytest.raises(RnnZooError, match=f"cell 'broken_lab.Cell' cannot be used: importing broken_lab {reason}"):
        create("broken_lab.Cell", 3, 5)


def test_an_entry_point_makes_a_cell_known_by_its_name(my_lab, plugins):
    plugins("leaky", "my_lab_cells:Leaky")
    assert find("leaky").__name__ == "Leaky"
    assert "leaky" in list_cells()
    assert create("leaky", 3, 5, a=0.125).a == 0.125
    assert name_of(find("my_lab_cells.Leaky")) == "leaky"
    with pytest.raises(RnnZooError, match=r"unknown cell 'laeky'; did you mean 'leaky'\?"):
        create("laeky", 3, 5)


def test_an_entry_point_that_cannot_be_loaded_spoils_no_other_cell(my_lab, plugins):
    plugins("gone", "no_such_lab:Gone")
    plugins("lstm", "my_lab_cells:Leaky")
    with pytest.warns(UserWarning, match="is left out") as caught:
        known = list_cells()
    said = [str(w.message) for w in caught]
    assert "entry point 'gone' is left out: cell 'no_such_lab:Gone' cannot be found" in said[0]
    assert "entry point 'lstm' is left out: cell name 'lstm' is already taken by rnnzoo.cells.lstm.LSTM" in said[1]
    assert known["lstm"] is LSTM
    with pytest.raises(RnnZooError, match="there is no module 'no_such_lab'"):
        create("gone", 3, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        create("lstm", 3, 5)  # a built-in cell asks no plugin


def test_the_contract_can_be_imported_as_the_issue_writes_it():
    from rnnzoo.cells import GatedCell, HiddenCell, LinearCell

    assert issubclass(GatedCell, Cell)
    assert issubclass(LinearCell, Cell)
    assert HiddenCell._fields == ("h", "c")
