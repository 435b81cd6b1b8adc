"""Training whose disk fills, can no longer be written, or is lost: a clear word, and the last checkpoint is whole."""

import json
import subprocess

import pytest
import torch
from command_line import TINY_MEMORY
from disks import fail_at_step, mount
from processes import ended, start

from rnnzoo.training.checkpoint_files import damage


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount(folder):
        pytest.skip("this system lets no test mount a small disk: it takes root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)


def given(disk):
    many = [
        "--trainer.max_steps=-1",
        "--trainer.max_epochs=4",
        "--trainer.log_every_n_steps=1",
        "--model.hidden_size=64",
    ]
    own = ["--model.kernel=reference", "--checkpoint.every_n_steps=5", f"--trainer.default_root_dir={disk}"]
    return ["fit", *TINY_MEMORY, *many, "--data.examples=[320,64,80]", *own]  # 20 steps an epoch


def only_complaint(log):
    said = log.read_text()
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line.startswith("rnnzoo: error: ")]
    assert len(lines) == 1, said
    assert said.rstrip().endswith(lines[0])
    return lines[0]


@pytest.mark.parametrize(
    ("fault", "says"),
    [("full", "No space left"), pytest.param("read-only", "Read-only file system", marks=pytest.mark.slow)],
)
def test_a_disk_that_can_no_longer_be_written_ends_training_and_the_run_goes_on_later(tmp_path, disk, fault, says):
    process = start(given(disk), tmp_path, tmp_path / "log", hook=(fail_at_step, (fault, str(disk), 33)))
    assert ended(process) == [2]
    run = disk / "runs/long_memory/version_0"
    complaint = only_complaint(tmp_path / "log")
    assert "cannot be written" in complaint or "cannot be read or written" in complaint
    assert says in complaint
    assert str(run) in complaint
    last = run / "checkpoints/last.ckpt"
    assert damage(last) == ""
    assert torch.load(last, weights_only=True)["global_step"] == 30
    assert not list(disk.rglob("*.part"))
    if fault == "full":
        assert json.loads((run / "run.json").read_text())["state"] == "failed"
        (disk / "others").unlink()
    else:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert ended(start([*given(disk), "--resume"], tmp_path, tmp_path / "second")) == [0]
    assert torch.load(last, weights_only=True)["global_step"] == 80
    assert json.loads((run / "run.json").read_text())["state"] == "finished"


def test_a_disk_that_is_lost_ends_training_and_nothing_is_written_in_its_place(tmp_path, disk):
    process = start(given(disk), tmp_path, tmp_path / "log", hook=(fail_at_step, ("lost", str(disk), 33)))
    assert ended(process) == [2]
    complaint = only_complaint(tmp_path / "log")
    assert str(disk / "runs/long_memory/version_0") in complaint
    assert list(disk.iterdir()) == []
