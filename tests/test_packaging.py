"""What a user gets: a README that is true, and a wheel that installs and runs."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from rnnzoo.cli.tables import families_table, zoo_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_table_of_families_is_the_registrys():
    table = re.search(r"<!-- cells -->\n(.*?)\n<!-- /cells -->", README, re.DOTALL)[1]
    assert table == families_table(), "put the output of `rnnzoo cells --families` into README.md"


def test_the_table_of_the_zoo_is_the_registrys():
    def of_no_machine(table):
        """All columns but the kernel and the speed."""
        return [line.split(" | ")[:6] for line in table.strip().split("\n") if line.startswith("|")]

    written, now = (of_no_machine(t) for t in ((ROOT / "ZOO.md").read_text(), zoo_table(64, 256, {})))
    assert written == now, "write ZOO.md anew: make zoo"


@pytest.mark.parametrize(
    "block", re.findall(r"```python\n(.*?)```", README, re.DOTALL), ids=["cell", "drop-in", "around", "task", "script"]
)
def test_the_readmes_python_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("block.py").write_text(block)
    done = subprocess.run([sys.executable, "block.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_readmes_cell_has_at_most_twelve_lines():
    block = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    assert len([line for line in block.splitlines() if line.strip()]) <= 12


def test_the_readmes_cell_passes_the_check(tmp_path):
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "cells.py").write_text(re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0])
    command = [sys.executable, "-m", "rnnzoo", "check", "my_lab.cells.Leaky"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout


def test_every_file_that_the_readme_names_is_there():
    for path in re.findall(r"(?:configs|rnnzoo|benchmarks)/[\w/]+\.(?:yaml|py)", README):
        assert (ROOT / path).exists(), path


def test_a_wheel_builds_and_runs_from_an_empty_folder(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "runs", "tests", "__pycache__"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("rnnzoo-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    project = {f"rnnzoo/templates/project/{name}" for name in ("config.yaml", "README.md", "my_project/cells.py")}
    shells = {f"rnnzoo/cli/shells/rnnzoo.{shell}" for shell in ("bash", "zsh", "fish")}
    assert project | shells <= set(names)
    assert {"rnnzoo/defaults.yaml", "rnnzoo/configs/char_lm.yaml", "rnnzoo/py.typed"} <= set(names)
    assert not [name for name in names if name.startswith("tests")]
    assert [name for name in names if name.endswith("licenses/LICENSE")]

    installed, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        installed,
        wheel,
    ]
    subprocess.run(install, check=True, capture_output=True)
    env = {**os.environ, "PYTHONPATH": str(installed)}
    where = [sys.executable, "-c", "import rnnzoo; print(rnnzoo.__file__)"]
    assert (
        str(installed) in subprocess.run(where, cwd=empty, env=env, capture_output=True, text=True, check=True).stdout
    )
    fit = [sys.executable, "-m", "rnnzoo", "fit", "--config", "configs/char_lm.yaml", "--print_config"]
    done = subprocess.run(fit, cwd=empty, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "dataset: kjv" in done.stdout
