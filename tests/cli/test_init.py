"""`rnnzoo init`: a project that runs as it is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Answer, shell

from rnnzoo.cli.init import NAME, TEMPLATES

ONE_LINE = "project name {!r} must be a name in Python"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """A project, made as a user makes it, and what was said."""
    folder = tmp_path_factory.mktemp("init")
    return folder / "swift_cells", shell("init", "swift_cells", cwd=folder)


def test_the_folder_holds_a_config_a_cell_a_task_a_test_and_a_readme(project):
    folder, answer = project
    assert answer.status == 0, answer.err
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix != ".pyc")
    assert files == [
        *("README.md", "config.yaml", "pyproject.toml", "swift_cells", "swift_cells/__init__.py"),
        *("swift_cells/cells.py", "swift_cells/tasks.py", "tests", "tests/test_cells.py"),
    ]
    assert not [path for path in folder.rglob("*") if path.is_file() and NAME.encode() in path.read_bytes()]
    assert not [path for path in folder.parent.iterdir() if path != folder]


def test_the_end_says_three_commands_to_try(project):
    _, answer = project
    assert answer.out.splitlines()[-4:] == [
        "Try next:",
        "  cd swift_cells && pytest",
        "  rnnzoo fit --config config.yaml",
        "  rnnzoo check swift_cells.cells.UpdateGated",
    ]


def test_its_tests_pass(project):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project[0],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_its_config_trains_with_its_own_cell_and_task(zoo, tmp_path, monkeypatch):
    assert zoo("init", "one").status == 0
    monkeypatch.chdir(tmp_path / "one")
    monkeypatch.syspath_prepend(str(tmp_path / "one"))
    quick = ["--data.examples=[100,50,50]", "--trainer.max_steps=2", "--trainer.enable_progress_bar=false"]
    answer = zoo("fit", "--config", "config.yaml", *quick)
    assert answer.status == 0, answer.err
    assert "one.cells.UpdateGated, 1 x 64 units" in answer.out
    assert re.search(r"held-out .*0\.\d+", answer.out)
    assert answer.checkpoint == Path("runs/one/version_0/checkpoints/best.ckpt")
    assert zoo("test", "--ckpt_path", answer.checkpoint, *quick[:1]).status == 0
    shown = zoo("fit", "--config", "config.yaml", "--help").out
    assert "--model.delta 1" in shown
    assert "the error from which on the loss grows linearly" in " ".join(shown.split())


def test_the_commands_of_its_readme_are_commands(project):
    folder, _ = project
    given = re.findall(r"^rnnzoo (\w+) (.*?)(?: +#.*)?$", (folder / "README.md").read_text(), re.M)
    assert [name for name, _ in given] == ["fit", "fit", "fit", "fit", "check", "bench", "test"]
    assert "swift_cells.cells.UpdateGated" in (folder / "README.md").read_text()
    assert "class UpdateGated(GatedCell):" in (folder / "swift_cells" / "cells.py").read_text()


def test_its_cells_can_be_had_by_name_when_it_is_installed(project):
    text = (project[0] / "pyproject.toml").read_text()
    assert 'update_gated = "swift_cells.cells:UpdateGated"' in text


def test_its_task_is_short():
    assert len((TEMPLATES / NAME / "tasks.py").read_text().splitlines()) < 30


def test_an_empty_folder_is_taken_and_so_is_this_one(zoo, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    assert zoo("init", "empty").status == 0
    assert (tmp_path / "empty" / "empty" / "cells.py").is_file()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert zoo("init", ".").out.endswith(
        "Try next:\n  pytest\n  rnnzoo fit --config config.yaml\n  rnnzoo check here.cells.UpdateGated\n"
    )
    assert sorted(os.listdir()) == ["README.md", "config.yaml", "here", "pyproject.toml", "tests"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("my-project", ONE_LINE.format("my-project")),
        ("2fast", ONE_LINE.format("2fast")),
        ("class", ONE_LINE.format("class")),
        ("größe", ONE_LINE.format("größe")),
        ("", "project name is empty"),
        ("torch", "project name 'torch' is taken by a package"),
        ("rnnzoo", "project name 'rnnzoo' is taken by a package"),
        ("tests", "project name 'tests' is that of a folder in the project"),
        ("full", "folder 'full' is not empty (it has 'notes.txt')"),
        ("a_file", "'a_file' exists and is no folder"),
        ("none/mine", "folder 'none', for the project 'mine', does not exist"),
        ("a_file/mine", "folder 'a_file', for the project 'mine', does not exist"),
    ],
)
def test_a_name_or_folder_that_cannot_be_is_one_line_and_writes_nothing(zoo, tmp_path, name, says):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    (tmp_path / "a_file").touch()
    before = sorted(tmp_path.rglob("*"))
    assert says in zoo("init", name).complaint
    assert sorted(tmp_path.rglob("*")) == before


def test_a_disk_that_cannot_be_written_is_one_line_and_leaves_nothing(zoo, tmp_path, monkeypatch):
    whole = Path.write_text

    def fails_late(self, *args, **kwargs):
        if self.name == "config.yaml":
            raise OSError(28, "No space left on device")
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", fails_late)
    assert zoo("init", "mine").complaint == "project 'mine' cannot be written: No space left on device"
    assert not list(tmp_path.iterdir())


def test_without_a_name_it_says_what_is_missing(zoo):
    assert "project" in zoo("init").complaint
