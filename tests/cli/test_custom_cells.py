"""A cell of one's own: a file in the working directory, or an installed package's entry point."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from command_line import TINY_LM, shell

from rnnzoo.cells.registry import _CELLS

LEAKY = '''from rnnzoo.cells import GatedCell, Hidden


class Leaky(GatedCell):
    """h_t = (1 - α) h_{t-1} + α tanh(W x + R h), with one learned rate α = σ(rate) a unit."""

    gates, State, vectors = 1, Hidden, ("rate",)

    def update(self, wx, rh, s):
        a = self.rate.sigmoid()
        return Hidden((1 - a) * s.h + a * (wx + rh).tanh())
'''
DAMPED = '''"""Cells of a laboratory."""
from rnnzoo.cells import GatedCell, Hidden


class Damped(GatedCell):
    """Nobody 2026: h_t = beta tanh(W x + R h)."""

    gates = 1

    def __init__(self, input_size, hidden_size, *, beta: float = 1.0, bias=True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.beta = beta

    def update(self, wx, rh, s):
        return Hidden(self.beta * (wx + rh).tanh())


class Branches(GatedCell):
    gates = 1

    def update(self, wx, rh, s):
        return Hidden((wx + rh).tanh() if wx.sum() > -1e9 else wx)


class NoUpdate(GatedCell):
    gates = 1


class WrongShape(GatedCell):
    gates = 1

    def update(self, wx, rh, s):
        return Hidden((wx + rh).tanh()[:, :2])


class WrongState(GatedCell):
    gates = 1

    def update(self, wx, rh, s):
        return (wx + rh).tanh()


class Tall(GatedCell):
    gates = 2

    def update(self, wx, rh, s):
        return Hidden((wx + rh).tanh())


class Loud(GatedCell):
    gates = 1

    def update(self, wx, rh, s):
        raise RuntimeError("a mistake of the user's own")


NOT_A_CELL = 3
'''


@pytest.fixture
def my_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`my_lab/cells.py` in the working directory; forgotten afterwards, for the next test has a file of its own."""
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "cells.py").write_text(DAMPED)
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_lab"]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path / "my_lab"


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("rnnzoo.cells.registry._CELLS", dict(_CELLS))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in ("my_lab", "zoo_of_my_lab")]:
        del sys.modules[name]


@pytest.mark.compiler
def test_a_cell_of_at_most_twelve_lines_trains_by_the_installed_command(tmp_path, text_file, zoo):
    assert len(LEAKY.splitlines()) <= 12
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "cells.py").write_text(LEAKY)
    command = (str(Path(sys.executable).with_name("rnnzoo")),)
    given = [*TINY_LM, f"--data.dataset={text_file}", "--model.cell", "my_lab.cells.Leaky"]
    answer = shell("fit", *given, cwd=tmp_path, launcher=command)
    assert answer.status == 0, answer.err
    assert re.search(r"^my_lab\.cells\.Leaky, 1 x 16 units, .* runs by kernel 'fused' on 1 threads$", answer.out, re.M)
    checkpoint = tmp_path / answer.checkpoint
    assert torch.load(checkpoint, weights_only=True)["hyper_parameters"]["cell"] == "my_lab.cells.Leaky"
    # the checkpoint and the check find it again
    assert zoo("generate", checkpoint, "--prompt=the", "--length=5").status == 0
    checked = zoo("check", "my_lab.cells.Leaky")
    assert checked.status == 0, checked.out
    assert "my_lab.cells.Leaky" in checked.out.splitlines()[-1]


def test_the_cells_own_arguments_are_reached_from_the_command_line(zoo, text_file, my_lab):
    given = ["fit", *TINY_LM, f"--data.dataset={text_file}", "--model.cell=my_lab.cells.Damped"]
    answer = zoo(*given, "--model.cell_args.beta", "0.5")
    assert answer.status == 0, answer.err
    saved = torch.load(answer.checkpoint, weights_only=True)["hyper_parameters"]
    assert saved["cell_args"] == {"beta": 0.5}
    assert zoo(*given, "--model.cell_args.beat", "0.5").complaint == (
        "cell 'my_lab.cells.Damped' has no argument 'beat'; did you mean 'beta'? it has: beta, bias"
    )
    assert "argument 'beta' of cell 'my_lab.cells.Damped' must be float, not 'much'" in (
        zoo(*given, "--model.cell_args.beta", "much").complaint
    )


def test_the_cells_own_arguments_are_reached_from_a_config(zoo, text_file, tmp_path):
    (tmp_path / "janet.yaml").write_text("model:\n  init_args:\n    cell: janet\n    cell_args:\n      beta: 0.25\n")
    given = ["fit", *TINY_LM, "--config", "janet.yaml", f"--data.dataset={text_file}"]
    answer = zoo(*given, "--trainer.limit_train_batches=2")
    assert answer.status == 0, answer.err
    saved = yaml.safe_load((answer.checkpoint.parent.parent / "config.yaml").read_text())["model"]["init_args"]
    assert (saved["cell"], saved["cell_args"]) == ("janet", {"beta": 0.25})
    assert zoo("generate", answer.checkpoint, "--prompt=a", "--length=3").status == 0


def install(folder: Path, points: str) -> None:
    """A package with entry points, as pip would leave it in `folder`."""
    (folder / "zoo_of_my_lab.py").write_text(DAMPED)
    info = folder / "zoo_of_my_lab-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-of-my-lab\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[rnnzoo.cells]\n{points}\n")


def test_a_cell_of_an_installed_package_is_known_by_its_name(zoo, text_file, tmp_path, monkeypatch):
    site = tmp_path / "site"
    site.mkdir()
    install(site, "damped = zoo_of_my_lab:Damped")
    monkeypatch.syspath_prepend(str(site))
    given = ["fit", *TINY_LM, f"--data.dataset={text_file}", "--model.cell=damped", "--model.cell_args.beta=0.5"]
    answer = zoo(*given)
    assert answer.status == 0, answer.err
    assert answer.out.startswith("damped, 1 x 16 units")
    assert torch.load(answer.checkpoint, weights_only=True)["hyper_parameters"]["cell"] == "damped"


def test_the_table_of_cells_lists_those_of_installed_packages(tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    site.mkdir()
    elsewhere.mkdir()
    install(site, "damped = zoo_of_my_lab:Damped\nbroken = zoo_of_my_lab:Missing\nlstm = zoo_of_my_lab:Damped")
    env = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "rnnzoo", "cells"]
    done = subprocess.run(command, env=env, cwd=elsewhere, capture_output=True, text=True, check=True)
    assert re.search(r"^damped +Nobody 2026 +h ", done.stdout, re.M)
    assert re.search(r"^lstm +Hochreiter", done.stdout, re.M)
    assert "entry point 'broken' is left out" in done.stderr
    assert "cell name 'lstm' is already taken by rnnzoo.cells.lstm.LSTM" in done.stderr


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("my_lab.cells.NoUpdate", "cell NoUpdate must define update(wx, rh, s)"),
        ("my_lab.cells.WrongShape", "cell WrongShape returned h of shape (2, 2) from a step; its state has (2, 16)"),
        ("my_lab.cells.WrongState", "cell WrongState must return a Hidden from a step, not a Tensor"),
        ("my_lab.cells.Tall", "cell Tall returned h of shape"),
        ("my_lab.cells.Missing", "my_lab.cells.Missing does not exist"),
        ("my_lab.cells.Dampd", "my_lab.cells.Dampd does not exist; did you mean 'Damped'?"),
        ("my_lab.cells.NOT_A_CELL", "my_lab.cells.NOT_A_CELL is a int, not a Cell class"),
        ("my_lab.celsl.Damped", "there is no module 'my_lab.celsl' in the working directory"),
        ("their_lab.cells.Damped", "there is no module 'their_lab' in the working directory"),
    ],
)
def test_a_cell_that_cannot_be_used_is_an_error(zoo, text_file, my_lab, tmp_path, cell, said):
    complaint = zoo("fit", *TINY_LM, f"--data.dataset={text_file}", f"--model.cell={cell}").complaint
    assert re.sub(r"\(\d+, (\d+)\)", r"(_, \1)", said) in re.sub(r"\(\d+, (\d+)\)", r"(_, \1)", complaint)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import not_installed_anywhere", "No module named 'not_installed_anywhere'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def broken(:", "SyntaxError: invalid syntax"),
    ],
)
def test_a_module_that_fails_at_import_is_an_error(zoo, text_file, my_lab, tmp_path, line, said):
    (my_lab / "cells.py").write_text(f"{line}\n{DAMPED}")
    complaint = zoo("fit", *TINY_LM, f"--data.dataset={text_file}", "--model.cell=my_lab.cells.Damped").complaint
    assert complaint.startswith("cell 'my_lab.cells.Damped' cannot be used: importing my_lab.cells ")
    assert said in complaint
    assert not (tmp_path / "runs").exists()


def test_why_a_loop_in_python_runs_a_cell_is_said_unless_it_was_asked_for(my_lab, text_file, zoo):
    given = ["fit", *TINY_LM, f"--data.dataset={text_file}", "--trainer.max_steps=2"]
    slow = zoo(*given, "--model.cell=my_lab.cells.Branches").out.splitlines()
    assert slow[1].startswith(
        "kernel 'reference' is a loop in Python; fused cannot: my_lab.cells.Branches: its step reads"
    )
    asked = zoo(*given, "--model.cell=my_lab.cells.Branches", "--model.kernel=reference").out
    assert "loop in Python" not in asked


def test_a_mistake_in_a_users_own_cell_shows_its_traceback(my_lab, text_file, zoo):
    given = ["fit", *TINY_LM, f"--data.dataset={text_file}", "--model.cell=my_lab.cells.Loud"]
    with pytest.raises(RuntimeError, match="a mistake of the user's own"):
        zoo(*given)
