"""The notebooks run, in a setting that takes seconds, and are committed with what the full setting gave."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# slow: their quick settings take a minute each, most of it for kernels that other tests compile
COMPILING = ("lstm_and_gru", "your_own_cell")
named = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def cells_of_code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook):
    return "".join(o.text for cell in cells_of_code(notebook) for o in cell.outputs if o.output_type == "stream")


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, id=p.stem, marks=[pytest.mark.slow] if p.stem in COMPILING else []) for p in NOTEBOOKS],
)
def test_a_notebook_runs_in_the_quick_setting(path, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_NOTEBOOK", "quick")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # the package that is tested here, also where another one is installed
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent), prepend=os.pathsep)
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=1800, kernel_name="python3", resources=where).execute()  # raises what a cell does
    assert "setting: quick" in printed(notebook)


@named
def test_a_notebook_is_committed_as_the_full_setting_left_it(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    cells = [cell for cell in cells_of_code(notebook) if cell.source.strip()]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)], "run it from top to bottom"
    outputs = [o for cell in cells for o in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert [o for o in outputs if "image/png" in o.get("data", {})]
    assert "setting: full" in printed(notebook)


@named
def test_a_notebook_names_no_place_of_a_machine(path):
    text = re.sub(r'"image/png": "[^"]*"', "", path.read_text())
    assert not re.findall(r"(?:/home|/Users|/root|/tmp|/work|/mnt|/opt|/usr|/var|[A-Z]:\\\\)[/\\][\w.-]*", text)
