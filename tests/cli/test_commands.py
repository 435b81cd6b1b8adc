"""`rnnzoo --help`, `cells` and `check`."""

import json
import os
import re
import subprocess
import sys

import pytest
from command_line import Answer, shell

from rnnzoo import __version__
from rnnzoo.cells import Cell, GatedCell, Hidden, list_cells, register
from rnnzoo.cells.registry import _CELLS
from rnnzoo.cli.main import LIGHTNING, OTHERS


class Forgetful(GatedCell):
    """Nobody 2026: not row-wise, so one sequence sees another."""

    gates = 1

    def update(self, wx, rh, s):
        return Hidden((wx + rh).tanh() + s.h.mean(0))


def rows(answer: Answer) -> dict[str, list[str]]:
    """The table's rows by name."""
    assert answer.status == 0, answer.err
    lines = answer.out.splitlines()
    rule = next(k for k, line in enumerate(lines) if line.startswith("---"))
    table = [re.split(r" {2,}", line.strip()) for line in lines[rule - 1 :] if re.search(r" {2,}", line)]
    return {row[0]: dict(zip(table[0], row, strict=True)) for row in table[2:]}


def modules_loaded_by(*args):
    """The modules that a command has loaded when it is done."""
    script = (
        "import json, sys; from rnnzoo.cli.main import main; status = main(sys.argv[1:]);"
        "print(json.dumps([status, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, check=True)
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == 0
    return set(modules)


def test_help_answers_without_waiting_for_torch():
    assert not modules_loaded_by("--help") & {"torch", "lightning", "numpy", "jsonargparse"}


def test_cells_are_listed_without_waiting_for_lightning():
    loaded = modules_loaded_by("cells")
    assert "torch" in loaded
    assert not loaded & {"lightning", "pytorch_lightning", "datasets", "jsonargparse", "torchmetrics"}


def test_help_names_every_command(zoo):
    for asked in (["--help"], ["-h"], []):
        answer = zoo(*asked)
        assert answer.status == 0
        for command in (*LIGHTNING, *OTHERS):
            assert re.search(rf"^  {command} ", answer.out, re.M)


def test_the_version_is_the_packages(zoo):
    assert zoo("--version").out == f"rnnzoo {__version__}\n"


@pytest.mark.parametrize("command", [*LIGHTNING, *OTHERS])
def test_every_command_explains_itself(zoo, command):
    answer = zoo(command, "--help")
    assert answer.status == 0
    assert "usage: " in answer.out


def test_python_m_and_the_installed_command_are_the_same(tmp_path):
    script = sys.executable.rpartition("/")[0] + "/rnnzoo"
    one, other = (shell("--help", cwd=tmp_path, launcher=by) for by in ((sys.executable, "-m", "rnnzoo"), (script,)))
    assert one == other


def test_every_registered_cell_is_listed(zoo):
    assert list(rows(zoo("cells"))) == list(list_cells())


def test_the_table_says_what_a_cell_is(zoo):
    table = rows(zoo("cells", "--input-size", 3, "--hidden-size", 5))
    assert table["lstm"] == {
        "name": "lstm",
        "paper": "Hochreiter & Schmidhuber 1997",
        "state": "h c",
        "gates": "4",
        "parameters": str(4 * 5 * (3 + 5 + 2)),
        "in time": "sequential",
        "kernel": "native",
    }
    assert table["mingru"]["in time"] == "parallel"
    assert table["mingru"]["parameters"] == str(2 * 5 * (3 + 1))
    assert table["peephole_lstm"]["parameters"] == str(4 * 5 * (3 + 5 + 1) + 3 * 5)


def test_the_sizes_change_the_numbers_of_parameters(zoo):
    small, large = rows(zoo("cells", "--hidden-size=8")), rows(zoo("cells", "--hidden-size=16"))
    number = {name: [int(t[name]["parameters"].replace(",", "")) for t in (small, large)] for name in small}
    assert all(a < b for a, b in number.values()), number


def test_a_cells_equations_are_printed(zoo):
    out = zoo("cells", "lstm").out
    assert "c_t = σ(f) c_{t-1} + σ(i) tanh(g)" in out
    assert "state: h, c" in out
    assert "weight_hh (1024, 256)" in out
    assert "beta=1.0" in zoo("cells", "janet").out


def test_a_name_that_is_no_cell_is_an_error_that_suggests_the_nearest(zoo):
    for command in ("cells", "check"):
        assert zoo(command, "lsmt").complaint.startswith("unknown cell 'lsmt'; did you mean 'lstm'? `rnnzoo cells`")


@pytest.mark.parametrize("option", ["--input-size", "--hidden-size"])
@pytest.mark.parametrize("size", ["0", "-3", "many"])
def test_a_size_that_is_none_is_an_error(zoo, option, size):
    said = zoo("cells", option, size).complaint
    assert option.strip("-").replace("-", "_") in said.replace("-", "_")
    assert size in said


def test_a_consistent_cell_passes_the_check(zoo):
    answer = zoo("check", "janet", "--cell-args", '{"beta": 0.5}')
    assert answer.status == 0, answer.out
    assert re.search(r"^janet: \d+ passed, 0 failed, \d+ skipped$", answer.out, re.M)
    assert "FAILED" not in answer.out


def test_a_cell_with_a_mistake_fails_the_check(zoo, monkeypatch):
    monkeypatch.setitem(_CELLS, "forgetful", Forgetful)
    answer = zoo("check", "forgetful")
    assert answer.status == 1
    assert answer.err == ""
    assert re.search(r"^FAILED +\S.*: ", answer.out, re.M)


def test_a_cell_that_needs_an_argument_is_checked_with_it(zoo, monkeypatch):
    class Slow(GatedCell):
        """Nobody 2026, with a rate that has no default."""

        gates = 1

        def __init__(self, input_size, hidden_size, *, rate: float, bias=True):
            super().__init__(input_size, hidden_size, bias=bias)
            self.rate = rate

        def update(self, wx, rh, s):
            return Hidden(s.h + self.rate * (wx + rh).tanh())

    monkeypatch.setitem(_CELLS, "slow", Slow)
    assert "needs a value for 'rate'" in zoo("check", "slow").complaint
    assert zoo("check", "slow", "--cell-args", '{"rate": 0.1}').status == 0
    assert "'rat'" in zoo("check", "slow", "--cell-args", '{"rat": 0.1}').complaint
    for wrong in ("{rate}", "3", "[1]"):
        said = zoo("check", "slow", "--cell-args", wrong).complaint
        assert said == f"--cell-args must be a JSON object such as '{{\"beta\": 0.5}}', not {wrong!r}"


def test_a_listed_cell_that_needs_an_argument_does_not_spoil_the_table(zoo, monkeypatch):
    class Needy(GatedCell):
        """Nobody 2026, with a rate that has no default."""

        gates = 1

        def __init__(self, input_size, hidden_size, *, rate: float, bias=True):
            super().__init__(input_size, hidden_size, bias=bias)

        def update(self, wx, rh, s):
            return Hidden((wx + rh).tanh())

    monkeypatch.setitem(_CELLS, "needy", Needy)
    table = rows(zoo("cells"))
    assert table["needy"]["parameters"] == "-"
    assert table["lstm"]["parameters"] != "-"
    assert "arguments: rate, bias=True" in zoo("cells", "needy").out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["train"], ["unknown command 'train'; did you mean 'fit'?"]),
        (["--config", "x", "fit"], ["'--config' stands before the command"]),
        (["---", "fit"], ["'---' stands before the command"]),
        (["#"], ["unknown command '#'"]),
        (["check", "Leaky"], ["unknown cell 'Leaky'", "my_lab.cells.Leaky"]),
        (["check", "my_lab/cells.py"], ["written with dots"]),
        (["check", "torch.nn.LSTM"], ["torch.nn.LSTM is a class, but no Cell"]),
        (["cells", "--sizes", "3"], ["unknown option --sizes", "rnnzoo cells --help"]),
        (["cells", "--speeds", "x.json"], ["--speeds x.json is for --markdown"]),
        (["generate"], ["a checkpoint is missing"]),
        (["generate", "a.ckpt", "--lenght", "3"], ["unknown option --lenght; did you mean '--length'?"]),
        (["generate", "a.ckpt", "--ckpt_path", "b.ckpt"], ["two checkpoints", "'a.ckpt'", "'b.ckpt'"]),
        (["generate", "a.ckpt", "---"], ["---"]),
    ],
)
def test_what_a_newcomer_mistypes_is_named_in_one_line(zoo, args, says):
    said = zoo(*args).complaint
    for part in says:
        assert part in said


def test_the_module_of_a_cell_is_told_from_its_cells(zoo, tmp_path):
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "some_cells.py").write_text(
        "from rnnzoo.cells import GatedCell, Hidden\n\nclass Leaky(GatedCell):\n    gates, State = 1, Hidden\n"
    )
    for command in ("check", "cells"):
        said = zoo(command, "my_lab.some_cells").complaint
        assert "my_lab.some_cells is a module" in said
        assert said.endswith("give one of its cells: my_lab.some_cells.Leaky")


def test_help_of_a_command_can_be_asked_for_in_front(zoo):
    assert zoo("help").out == zoo("--help").out
    assert zoo("help", "check").out == zoo("check", "--help").out


COMMANDS = [["-h"], ["--version"], *([c, "-h"] for c in (*LIGHTNING, *OTHERS)), ["cells"], ["cells", "lstm"]]


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_a_pipe_that_is_closed_is_no_error(args):
    """As by ``rnnzoo cells | head -1``, but closed before the first line, so that it always is."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "rnnzoo", *args], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode in (0, 141)  # argparse takes no notice of it where its help is longer than a buffer


def test_a_command_that_does_not_exist_is_an_error(zoo):
    said = zoo("fti", "--config", "x").complaint
    assert said.startswith("unknown command 'fti'; did you mean 'fit'? there are: fit, ")


def test_a_cell_without_its_one_method_is_an_error(zoo, monkeypatch):
    class Empty(GatedCell):
        """Nobody 2026."""

        gates = 1

    class Bare(Cell):
        """Nobody 2026."""

    monkeypatch.setitem(_CELLS, "empty", Empty)
    monkeypatch.setitem(_CELLS, "bare", Bare)
    assert zoo("check", "empty").complaint == "cell Empty must define update(wx, rh, s)"
    assert zoo("check", "bare").complaint == "cell Bare must define step(u, s)"


def test_two_cells_of_one_name_are_an_error():
    with pytest.raises(ValueError, match=r"cell name 'lstm' is already taken by rnnzoo\.cells\.lstm\.LSTM"):
        register("lstm")(Forgetful)
