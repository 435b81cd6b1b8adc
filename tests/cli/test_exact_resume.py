"""A run that was killed goes on in its folder to the same bits: weights, optimizer, generators, metrics."""

import csv
import json
import os
import random
import shutil
import time

import pytest
import torch
from command_line import CONFIGS, TINY_FORECASTER, TINY_LM, TINY_MEMORY, make_series, make_text
from processes import (
    die_at_step,
    die_in_validation,
    die_while_writing,
    ended,
    say_when_training_starts,
    start,
    start_ranks,
)

from rnnzoo import __version__
from rnnzoo.training.run_files import TIMED, this_process

QUIET = "--trainer.enable_progress_bar=false"


def text(folder, *settings):
    (folder / "small.txt").write_text(make_text(4000, seed=0))
    dropped = ["--model.dropout=0.2", "--trainer.log_every_n_steps=3", "--checkpoint.every_n_steps=7"]
    return [*TINY_LM, f"--data.dataset={folder / 'small.txt'}", *dropped, "--trainer.max_epochs=3", *settings]


def memory(folder, *settings):
    many = ["--trainer.max_steps=-1", "--trainer.max_epochs=5", "--data.num_workers=1", "--model.schedule=cosine"]
    return [
        *TINY_MEMORY,
        *many,
        "--model.dropout=0.1",
        "--trainer.log_every_n_steps=1",
        "--checkpoint.every_n_steps=7",
        *settings,
    ]


def forecaster(folder, *settings):
    (folder / "small.csv").write_text(make_series(900, seed=0))
    given = [f"--data.dataset={folder / 'small.csv'}", "--data.column=load", "--trainer.max_epochs=4"]
    own = ["--model.dropout=0.1", "--model.num_layers=2", "--checkpoint.every_n_steps=5", *settings]
    return [*TINY_FORECASTER, *given, "--trainer.log_every_n_steps=1", *own]


def stream(folder, *settings):
    """Rows of a file whose number is not known, so that no epoch has a length."""
    lines = make_text(3000, seed=0).split("\n")
    (folder / "small.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines if line))
    given = [f"--data.dataset={folder / 'small.jsonl'}", "--data.text_column=text", "--data.streaming=true"]
    sizes = ["--model.embedding_size=8", "--model.hidden_size=8", "--model.adaptive_softmax=null"]
    many = ["--data.batch_size=4", "--data.sequence_length=8", "--trainer.max_steps=150", "--trainer.max_epochs=-1"]
    often = ["--trainer.val_check_interval=20", "--trainer.check_val_every_n_epoch=null", "--model.schedule=cosine"]
    own = ["--checkpoint.every_n_steps=9", "--trainer.log_every_n_steps=2", "--model.dropout=0.2", *settings]
    return [f"--config={CONFIGS / 'word_lm.yaml'}", *given, *sizes, *many, *often, QUIET, *own]


def flat(content, name=""):
    """The values of a checkpoint by their place in it."""
    if isinstance(content, dict | list | tuple):
        parts = content.items() if isinstance(content, dict) else enumerate(content)
        return {k: v for key, value in parts for k, v in flat(value, f"{name}/{key}").items()}
    return {name: content}


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return one == other or (one != one and other != other)


OF_FOLDERS = ("/rnnzoo/data/folder", "/rnnzoo/data/up", "/rnnzoo/model/init_args/description")


def assert_same_runs(one, other):
    """Every value of both checkpoints, and every metric but those of the clock."""
    for name in ("last.ckpt", "best.ckpt"):
        a, b = (flat(torch.load(run / "checkpoints" / name, weights_only=True)) for run in (one, other))
        assert [k for k in a.keys() | b.keys() if k not in OF_FOLDERS and not same(a.get(k), b.get(k))] == []
    metrics = []
    for run in (one, other):
        with (run / "metrics.csv").open(newline="") as file:
            metrics.append([{k: v for k, v in row.items() if k not in TIMED} for row in csv.DictReader(file)])
    assert len(metrics[0]) > 10
    assert metrics[0] == metrics[1]
    assert sorted(os.listdir(other / "checkpoints")) == ["best.ckpt", "last.ckpt"]


def run_of(folder):
    (run,) = folder.glob("runs/*/version_*")
    return run


@pytest.fixture
def folders(tmp_path):
    made = tmp_path / "straight", tmp_path / "killed"
    for folder in made:
        folder.mkdir()
    return made


def test_killed_in_an_epoch_in_validation_and_while_a_checkpoint_is_written(tmp_path, folders):
    straight, killed = folders
    log = tmp_path / "log"
    args = ["fit", *text(tmp_path, "--trainer.val_check_interval=0.5")]
    assert ended(start(args, straight, log)) == [0], log.read_text()
    for hook in ((die_at_step, 38), (die_in_validation, 2), (die_while_writing, 3)):
        assert ended(start([*args, "--resume"], killed, log, hook=hook)) == [-9]
    printed = tmp_path / "printed"
    assert ended(start([*args, "--resume"], killed, printed)) == [0], printed.read_text()
    assert "version_0 goes on from" in printed.read_text()
    assert_same_runs(run_of(straight), run_of(killed))
    assert ended(start([*args, "--resume"], killed, printed)) == [0]
    assert "version_0 is done: 3 epochs" in printed.read_text().splitlines()[-1]


@pytest.mark.slow  # ten processes and more for each
@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (text, ["--trainer.val_check_interval=0.5"]),
        (text, ["--trainer.accumulate_grad_batches=3", "--trainer.callbacks+=EMAWeightAveraging"]),
        (memory, []),
        (forecaster, []),
        (stream, []),
    ],
    ids=["carried state", "accumulated and averaged", "workers", "forecaster", "stream"],
)
def test_killed_at_ten_random_moments(tmp_path, folders, make, settings):
    straight, killed = folders
    log, printed = tmp_path / "log", tmp_path / "printed"
    args = ["fit", *make(tmp_path, *settings)]
    assert ended(start(args, straight, log)) == [0], log.read_text()
    seconds = json.loads((run_of(straight) / "run.json").read_text())["seconds"]
    draw, kills = random.Random(0), 0
    started = tmp_path / "started"
    while kills < 10:
        started.unlink(missing_ok=True)
        process = start([*args, "--resume"], killed, printed, hook=(say_when_training_starts, str(started)))
        while process.is_alive() and not started.exists():
            time.sleep(0.01)
        time.sleep(draw.uniform(0, seconds / 4))
        process.kill()
        kills += 1
        if ended(process) != [-9]:
            break  # it came too late
    assert kills > 2
    assert ended(start([*args, "--resume"], killed, printed)) == [0], printed.read_text()
    assert printed.read_text().count("goes on from") > 1
    assert_same_runs(run_of(straight), run_of(killed))


def test_of_two_processes_that_are_killed_both_go_on(tmp_path, folders):
    straight, killed = folders
    log = tmp_path / "log"
    args = ["fit", *text(tmp_path)]
    assert ended(*start_ranks(2, args, straight, log)) == [0, 0], log.read_text()
    assert ended(*start_ranks(2, [*args, "--resume"], killed, log, hook=(die_at_step, 38))) == [-9, -9]
    printed = tmp_path / "printed"
    assert ended(*start_ranks(2, [*args, "--resume"], killed, printed)) == [0, 0], printed.read_text()
    assert "version_0 goes on from" in printed.read_text()
    assert_same_runs(run_of(straight), run_of(killed))


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    """A run of an epoch, and the command that trained it."""
    folder = tmp_path_factory.mktemp("short")
    args = ["fit", *text(folder), "--trainer.max_epochs=1"]
    assert ended(start(args, folder, folder / "log")) == [0]
    return folder, args


def copied(short_run, tmp_path):
    """The folder of a copy of that run, which then goes for one that was killed."""
    folder, args = short_run
    shutil.copytree(folder / "runs", tmp_path / "runs")
    run = run_of(tmp_path)
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"state": "failed"}))
    return run, args


def test_a_damaged_checkpoint_is_named_and_another_one_taken(zoo, short_run, tmp_path):
    run, args = copied(short_run, tmp_path)
    last = run / "checkpoints" / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    answer = zoo(*args, "--resume")
    assert answer.status == 0, answer.err
    assert "last.ckpt is damaged: its content does not have the digest that stands in it" in answer.out
    assert "version_0 goes on from runs/char_lm/version_0/checkpoints/best.ckpt" in answer.out
    last.write_bytes(content[:1000])
    said = zoo("test", "--ckpt_path", last).complaint
    assert "is damaged: it is truncated" in said
    assert "best.ckpt beside it is whole" in said
    (run / "checkpoints" / "best.ckpt").write_bytes(b"")
    assert "has no whole checkpoint" in zoo("fit", "--resume", run, "--trainer.max_epochs=2").complaint


def test_a_runs_folder_is_enough_and_goes_further(zoo, short_run, tmp_path):
    run, _ = copied(short_run, tmp_path)
    before = (run / "metrics.csv").read_text()
    answer = zoo("fit", "--resume", run, "--trainer.max_epochs=2")
    assert answer.status == 0, answer.err
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 1
    assert os.listdir(run.parent) == ["version_0"]
    rows = (run / "metrics.csv").read_text().splitlines()
    assert len(rows) > 1.5 * len(before.splitlines())
    saved = (run / "config.yaml").read_text()
    assert "max_epochs: 2" in saved
    assert "ckpt_path: null" in saved
    assert "is done: 2 epochs" in zoo("fit", "--resume", run).out  # its config has the two


def test_where_nothing_can_go_on_a_run_starts_anew_or_says_why_not(zoo, short_run, tmp_path):
    run, args = copied(short_run, tmp_path)
    other = zoo(*args, "--model.hidden_size=17", "--resume")
    assert "there is no run of these settings in runs/char_lm: one starts anew" in other.out
    assert (run.parent / "version_1" / "checkpoints" / "last.ckpt").is_file()
    shutil.rmtree(run.parent / "version_1")
    shutil.rmtree(run / "checkpoints")
    assert "version_0 has no checkpoint yet: a run starts anew" in zoo(*args, "--resume").out
    assert "has no whole checkpoint" in zoo("fit", "--resume", run).complaint
    assert "'nowhere' does not exist" in zoo("fit", "--resume", "nowhere").complaint
    assert "'runs' is no run" in zoo("fit", "--resume", "runs").complaint
    both = zoo(*args, "--resume", "--ckpt_path", run / "checkpoints" / "last.ckpt")
    assert "--resume and --ckpt_path are both given" in both.complaint
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"state": "running", "process": this_process()}))
    assert "is still trained, by process" in zoo("fit", "--resume", run, "--trainer.max_epochs=3").complaint


def test_a_later_versions_checkpoint_is_refused_with_both_versions(zoo, short_run, tmp_path):
    run, _ = copied(short_run, tmp_path)
    path = run / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["rnnzoo"]["version"] = "99.1"
    torch.save(content, path)
    said = zoo("test", "--ckpt_path", path).complaint
    assert f"was written by rnnzoo 99.1, and this is {__version__}: install 99.1 or later" in said
