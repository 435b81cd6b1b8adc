"""Files from elsewhere that hold a pickle which runs code when it is read freely: nothing of it is run."""

import os
import pickle
import re
from pathlib import Path

import pytest
import torch
from command_line import TINY_LM, TINY_MEMORY

from rnnzoo.kernels.fused import build, kept

ROOT = Path(__file__).parents[2]


class Trap:
    """Makes a file when it is read by a free pickle."""

    def __reduce__(self):
        return os.system, ("touch sprung",)


@pytest.fixture
def planted(tmp_path):
    """Files of each make: a torch archive, torch's older format, a bare pickle."""
    torch.save({"rnnzoo": Trap(), "state_dict": {}}, tmp_path / "archive.ckpt")
    torch.save({"rnnzoo": Trap()}, tmp_path / "older.ckpt", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.ckpt").write_bytes(pickle.dumps(Trap()))
    for path in list(tmp_path.glob("*.ckpt")):
        for ending in ("pt", "bin", "pkl", "vec", "txt", "json", "csv", "parquet", "jsonl", "arrow"):
            path.with_suffix(f".{ending}").write_bytes(path.read_bytes())
    return tmp_path


def test_the_trap_springs_where_a_pickle_is_read_freely(planted):
    for name in ("archive", "older"):
        torch.load(planted / f"{name}.ckpt", weights_only=False)
        assert (planted / "sprung").exists()
        (planted / "sprung").unlink()
    pickle.loads((planted / "bare.ckpt").read_bytes())
    assert (planted / "sprung").exists()


@pytest.mark.parametrize(
    "make", ["archive", *(pytest.param(make, marks=pytest.mark.slow) for make in ("older", "bare"))]
)
@pytest.mark.parametrize(
    "command",
    [
        ["test", "--ckpt_path=MAKE.ckpt"],
        ["predict", "--ckpt_path=MAKE.ckpt"],
        ["test", "--ckpt_path=MAKE.ckpt", "--weights_only=false"],
        ["generate", "MAKE.ckpt"],
        ["fit", *TINY_MEMORY, "--model.pretrained=MAKE.ckpt"],
        ["fit", *TINY_MEMORY, "--ckpt_path=MAKE.ckpt", "--weights_only=false"],
        *(["fit", *TINY_LM, f"--data.dataset=MAKE.{ending}"] for ending in ("csv", "parquet", "jsonl", "arrow", "txt")),
        *(["fit", *TINY_LM, "--data.dataset=kjv", f"--model.embeddings=MAKE.{e}"] for e in ("pt", "bin", "vec", "txt")),
        ["fit", *TINY_LM, "--data.dataset=kjv", "--data.vocabulary=MAKE.ckpt"],
        ["fit", "--config=CONFIGS/word_lm.yaml", "--data.tokenizer=MAKE.ckpt"],
        ["fit", "--config=CONFIGS/word_lm.yaml", "--data.tokenizer=MAKE.json"],
        *(["import", library, "MAKE.pt", "--output=x.ckpt"] for library in ("fastai", "flair", "stanza", "mamba")),
    ],
    ids=lambda command: f"{command[0]} {command[-1]}" if isinstance(command, list) else None,
)
def test_no_command_runs_what_a_file_holds(zoo, planted, command, make):
    given = [a.replace("MAKE", make).replace("CONFIGS", str(ROOT / "configs")) for a in command]
    assert zoo(*given).complaint
    assert not (planted / "sprung").exists()


def test_plans_and_libraries_of_kernels_are_not_taken_from_a_folder_of_others(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(build, "_GIVEN_UP", set())
    folder = tmp_path / "kernels"
    assert build.kernel_folder("x.pickle") == folder
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert build.kernel_folder("x.pickle") == folder
    assert folder.stat().st_mode & 0o777 == 0o755
    content = pickle.dumps(Trap())
    (folder / "x.pickle").write_bytes(content + build.checksum(content))
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 4321)
    if folder.stat().st_uid:  # root's are trusted
        with pytest.warns(UserWarning, match="belongs to another user"):
            path = build.kernel_folder("x.pickle") / "x.pickle"
    elif os.getuid() == 0:
        os.chown(folder, 4321, -1)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        with pytest.warns(UserWarning, match="belongs to another user"):
            path = build.kernel_folder("x.pickle") / "x.pickle"
    assert kept._load(path, None, None) is None
    assert not (tmp_path / "sprung").exists()


def test_nothing_here_reads_a_pickle_freely_but_what_says_why():
    """The unpickler of `rnnzoo import` refuses by itself; plans are of this user's own folder; checks are our text."""
    free = r"weights_only=False|pickle\.loads?\(|allow_pickle=True|yaml\.(unsafe_)?load\(|trust_remote_code"
    free += r"|(?<![\w.])eval\("
    known = {
        "kernels/fingerprint/checks.py",
        "kernels/fused/kept.py",
        "tasks/imports/unpickler.py",
        "testing/checks.py",
    }
    found = set()
    for path in (ROOT / "rnnzoo").rglob("*.py"):
        lines = [line for line in path.read_text().splitlines() if re.search(free, line) and "SafeLoader" not in line]
        if lines:
            found.add(str(path.relative_to(ROOT / "rnnzoo")))
    assert found == known
