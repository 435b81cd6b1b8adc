"""Ctrl-C and SIGTERM, as real signals to real processes."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import TINY_LM

FIT = [*TINY_LM, "--trainer.max_epochs=500", "--trainer.enable_progress_bar=true"]


def stopped(
    tmp_path: Path, text_file: Path, signum: int, *given: str, wait_for: str = "epoch 1/500"
) -> tuple[int, str]:
    """The status and the output of a run that gets a signal once it has said `wait_for`."""
    command = [sys.executable, "-m", "rnnzoo", "fit", *FIT, f"--data.dataset={text_file}", *given]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = ""
    for line in run.stdout:
        said += line
        if wait_for in line:
            run.send_signal(signum)
            break
    rest, _ = run.communicate(timeout=120)
    return run.returncode, said + rest


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_run_with_a_whole_checkpoint_and_the_command_that_goes_on(tmp_path, text_file, zoo, signum):
    status, said = stopped(tmp_path, text_file, signum)
    assert status == 128 + signum
    assert "Traceback" not in said
    epoch, steps = re.search(r"^stopped by (?:Ctrl-C|SIGTERM): epoch (\d+) of 500, ([\d,]+) of", said, re.M).groups()
    (path,) = tmp_path.rglob("last.ckpt")
    assert {p.name for p in path.parent.iterdir()} == {"best.ckpt", "last.ckpt"}
    content = torch.load(path, weights_only=True)
    assert content["global_step"] == int(steps.replace(",", ""))
    assert content["epoch"] in (int(epoch) - 1, int(epoch) - 2)  # at an epoch's very start the last epoch's is whole
    program, *command = shlex.split(re.search(r"^go on with: (.*)$", said, re.M)[1])
    assert program == "rnnzoo"
    if signum == signal.SIGINT:
        on = zoo(*command, f"--trainer.max_epochs={epoch}", "--trainer.enable_progress_bar=false")
        assert on.status == 0, on.err
        later = torch.load(tmp_path / on.checkpoint.with_name("last.ckpt"), weights_only=True)
        batches = later["global_step"] / int(epoch)
        assert batches == int(batches)  # every epoch has all of its steps
        assert later["global_step"] >= content["global_step"]


def test_two_processes_stop_before_the_same_step(tmp_path, text_file):
    two = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]
    status, said = stopped(tmp_path, text_file, signal.SIGINT, *two)
    assert status == 130
    assert said.count("stopped by Ctrl-C") == 1
    (path,) = tmp_path.rglob("last.ckpt")
    assert torch.load(path, weights_only=True)["global_step"] > 0


def test_before_the_first_step_there_is_nothing_to_go_on_with(tmp_path, text_file):
    status, said = stopped(tmp_path, text_file, signal.SIGINT, wait_for="Seed set")
    assert status == 130
    assert "Traceback" not in said
    assert "go on with" not in said or list(tmp_path.rglob("last.ckpt"))


def test_a_run_that_keeps_no_run_folder_goes_on_by_the_settings_that_were_given(tmp_path, text_file):
    from rnnzoo.training.stopping import Stopped, farewell

    (tmp_path / "a b").mkdir()
    checkpoint = tmp_path / "a b" / "last.ckpt"
    checkpoint.touch()
    given = ["--config", "my config.yaml", "--ckpt_path", "old.ckpt", "--ckpt_path=older.ckpt", "--seed_everything=3"]
    *_, command = farewell(Stopped(signal.SIGINT, "epoch 1", str(checkpoint)), given)
    words = shlex.split(command.removeprefix("go on with: "))
    assert words == ["rnnzoo", "fit", "--config", "my config.yaml", "--seed_everything=3", "--ckpt_path", *words[-1:]]
    assert Path(words[-1]).samefile(checkpoint)
