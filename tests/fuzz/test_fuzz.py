"""A few cases of each kind, drawn anew for each version of hypothesis, and all that once ended badly."""

import os
from pathlib import Path

import lightning.pytorch  # noqa: F401  # its log handler keeps the stderr that it is imported under
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before `datasets` is imported, which reads it once

import drawing
from fuzz import draw_and_run
from judge import Case, fault_of, read_case
from recipes import RECIPES

CORPUS = sorted(path for path in (Path(__file__).parent / "corpus").iterdir() if path.is_dir())


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("RNNZOO_CACHE", str(cache / "rnnzoo"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(cache / "datasets"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return drawing.make_checkpoints(tmp_path_factory.mktemp("made"), ("memory", "labels"))


@pytest.mark.parametrize("kind", ["settings", "configs", "data_files", "checkpoints"])
def test_no_case_ends_in_a_traceback_hangs_or_leaves_something_half_written(kind, tmp_path_factory, request):
    strategy = getattr(drawing, kind)
    drawn = strategy(request.getfixturevalue("made")) if kind == "checkpoints" else strategy()
    found = []

    def see(case):
        if fault := fault_of(case, tmp_path_factory.mktemp("case")):
            found.append((case.args, fault))

    draw_and_run(drawn, 5, 1, see)
    assert not found


@pytest.mark.parametrize("folder", CORPUS, ids=lambda path: path.name)
def test_what_once_ended_badly_ends_well(folder, tmp_path):
    assert fault_of(read_case(folder), tmp_path) == ""


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_what_the_cases_start_from_trains(name, tmp_path):
    """A case proves nothing where it fails before it comes to what was changed."""
    recipe = RECIPES[name]
    file = next(iter(recipe.files), None)
    assert fault_of(Case(recipe.command(file), {file: recipe.files[file]} if file else {}), tmp_path) == ""
    assert next(tmp_path.rglob("last.ckpt"))


def test_the_judge_sees_a_traceback_a_hang_and_what_is_left_behind(tmp_path, monkeypatch):
    def fault(main, name):
        (tmp_path / name).mkdir()
        monkeypatch.setattr("judge.main", main)
        return fault_of(Case(["cells"]), tmp_path / name, limit=1)

    def endless(args):
        while True:
            pass

    assert fault(lambda args: 0, "good") == ""
    assert "ZeroDivisionError" in fault(lambda args: 1 // 0, "error")
    assert "TookTooLong" in fault(endless, "hang")
    assert "exit status 2 with 0 lines" in fault(lambda args: 2, "silent")
    assert "half written" in fault(lambda args: Path(".last.ckpt.1.part").touch() or 0, "part")
    assert "empty folder" in fault(lambda args: Path("runs").mkdir() or 0, "folder")
    assert "damaged" in fault(lambda args: Path("x.ckpt").write_bytes(b"PK\3\4") * 0, "checkpoint")
