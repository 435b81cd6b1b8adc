"""The command line as a user meets it: a text, a series, a run of each, and two ways to give a command."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch  # noqa: F401  # its log handler keeps the stderr it is imported under: pytest's, not a test's
import pytest
from command_line import TINY_FORECASTER, TINY_LM, TINY_MEMORY, Answer, Run, make_series, make_text, shell

from rnnzoo.cli.main import main

os.environ["HF_HUB_OFFLINE"] = "1"  # before `datasets` is imported, which reads it once


@pytest.fixture(autouse=True)
def _as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A command runs in an empty folder, and what it changes in this process is undone."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["rnnzoo"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("RNNZOO_CACHE", str(cache / "rnnzoo"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(cache / "datasets"))  # of the commands that are processes
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # which Lightning has loaded already
    if "datasets" in sys.modules:
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(cache / "datasets"))


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Gives a command in this process, which saves the seconds that Lightning takes to load."""

    def give(*args: object) -> Answer:
        capsys.readouterr()
        try:
            status = main([str(a) for a in args])
        except SystemExit as done:  # argparse's, after --help and --print_config
            status = int(done.code or 0)
        return Answer(status, *capsys.readouterr())

    return give


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "small.txt"
    path.write_text(make_text(1600, seed=0))
    return path


@pytest.fixture(scope="session")
def series_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("series") / "small.csv"
    path.write_text(make_series(600, seed=0))
    return path


@pytest.fixture(scope="session")
def lm_run(tmp_path_factory: pytest.TempPathFactory, text_file: Path) -> Run:
    folder = tmp_path_factory.mktemp("lm")
    return Run(folder, shell("fit", *TINY_LM, f"--data.dataset={text_file}", cwd=folder))


@pytest.fixture(scope="session")
def forecast_run(tmp_path_factory: pytest.TempPathFactory, series_file: Path) -> Run:
    folder = tmp_path_factory.mktemp("forecast")
    given = [f"--data.dataset={series_file}", "--data.column=load"]
    return Run(folder, shell("fit", *TINY_FORECASTER, *given, cwd=folder))


@pytest.fixture(scope="session")
def memory_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("memory")
    return Run(folder, shell("fit", *TINY_MEMORY, cwd=folder))
