"""The command line as a user meets it: a text, a series, a run of each, and two ways to give a command."""

import os
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch  # noqa: F401  # its log handler keeps the stderr it is imported under: pytest's, not a test's
import pytest
from command_line import (
    TINY_FORECASTER,
    TINY_LM,
    TINY_MEMORY,
    Answer,
    Run,
    begin,
    make_series,
    make_text,
    status_of,
    trained,
)

os.environ["HF_HUB_OFFLINE"] = "1"  # before `datasets` is imported, which reads it once


@pytest.fixture(autouse=True)
def _as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A command runs in an empty folder, and what it changes in this process is undone."""
    monkeypatch.chdir(tmp_path)
    begin(monkeypatch, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Gives a command in this process."""

    def give(*args: object) -> Answer:
        capsys.readouterr()
        return Answer(status_of(*args), *capsys.readouterr())

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
    folders = tmp_path_factory.mktemp("lm"), tmp_path_factory.mktemp("cache")
    return trained(*folders, *TINY_LM, f"--data.dataset={text_file}")


@pytest.fixture(scope="session")
def forecast_run(tmp_path_factory: pytest.TempPathFactory, series_file: Path) -> Run:
    folders = tmp_path_factory.mktemp("forecast"), tmp_path_factory.mktemp("cache")
    return trained(*folders, *TINY_FORECASTER, f"--data.dataset={series_file}", "--data.column=load")


@pytest.fixture(scope="session")
def memory_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("memory"), tmp_path_factory.mktemp("cache"), *TINY_MEMORY)
