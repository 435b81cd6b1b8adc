"""A job of SLURM, as its environment says: processes meet, and its signal before the end has the job started again."""

import os
import signal
import time

import pytest
import torch
from processes import ended, say_when_training_starts, start, start_ranks
from test_exact_resume import assert_same_runs, run_of, text


def environment(job, count, rank=0):
    """What SLURM sets for one task of a job on this machine."""
    made = {"JOB_ID": job, "JOB_NAME": "train", "NTASKS": count, "NTASKS_PER_NODE": count, "NNODES": 1, "NODEID": 0}
    made |= {"PROCID": rank, "LOCALID": rank, "JOB_NODELIST": "127.0.0.1", "NODELIST": "127.0.0.1"}
    return {f"SLURM_{name}": str(value) for name, value in made.items()}


def test_its_signal_saves_at_the_end_of_a_step_and_asks_for_the_job_again(tmp_path):
    straight, stopped, tools = tmp_path / "straight", tmp_path / "stopped", tmp_path / "tools"
    for folder in (straight, stopped, tools):
        folder.mkdir()
    scontrol = tools / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho $@ >> {tmp_path}/asked\n")
    scontrol.chmod(0o755)
    job = environment(4711, 1) | {"PATH": f"{tools}:{os.environ['PATH']}"}
    args = ["fit", *text(tmp_path, "--trainer.max_epochs=8", "--trainer.devices=1"), "--resume"]
    assert ended(start(args, straight, tmp_path / "log")) == [0]

    log, started = tmp_path / "stopped.log", tmp_path / "started"
    process = start(args, stopped, log, job, hook=(say_when_training_starts, str(started)))
    while process.is_alive() and not started.exists():
        time.sleep(0.01)
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGUSR1)
    assert ended(process) == [128 + signal.SIGUSR1], log.read_text()[-2000:]
    assert "stopped by SIGUSR1: epoch" in log.read_text()
    assert (tmp_path / "asked").read_text() == "requeue 4711\n"
    checkpoint = run_of(stopped) / "checkpoints" / "last.ckpt"
    assert torch.load(checkpoint, weights_only=True)["global_step"] > 0
    assert [path.name for path in stopped.iterdir()] == ["runs"]  # Lightning's own hpc_ckpt_1.ckpt is not written

    assert ended(start(args, stopped, log, job)) == [0], log.read_text()[-2000:]
    assert_same_runs(run_of(straight), run_of(stopped))


@pytest.mark.slow  # test_many_processes.py has the same by a launcher's environment
def test_tasks_of_a_job_meet_by_its_environment(tmp_path):
    by_launcher, by_slurm = tmp_path / "launcher", tmp_path / "slurm"
    for folder in (by_launcher, by_slurm):
        folder.mkdir()
    args, log = ["fit", *text(tmp_path, "--trainer.max_epochs=1")], tmp_path / "log"
    ranks = start_ranks(2, args, by_launcher, log)
    own = ["--trainer.devices=2", "--trainer.accelerator=cpu", "--trainer.strategy=ddp"]
    tasks = [start([*args, *own], by_slurm, log, environment(4712, 2, k) | {"RANK": str(k)}) for k in range(2)]
    assert ended(*ranks, *tasks) == [0] * 4, log.read_text()[-3000:]
    assert_same_runs(run_of(by_launcher), run_of(by_slurm))
