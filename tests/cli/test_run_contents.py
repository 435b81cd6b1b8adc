"""What lies in a run's folder: `best.ckpt` and `last.ckpt`, whatever a config adds, and wherever the folder goes."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from command_line import TINY_LM, TINY_MEMORY

QUIET = "--trainer.enable_progress_bar=false"
EPOCHS = [*TINY_MEMORY, "--trainer.max_steps=-1", "--data.examples=[64,32,32]"]  # 4 batches an epoch


def fitted(answer):
    """The run's folder."""
    assert answer.status == 0, answer.err
    return answer.checkpoint.parent.parent


def reached(answer):
    assert answer.status == 0, answer.err
    return float(re.search(r"^held-out [a-z ]+: (\d+\.\d+)", answer.out, re.M)[1])


def evaluated(answer):
    assert answer.status == 0, answer.err
    return float(re.search(r"\btest_mse\b[^\d\n]*(\d+\.\d+)", answer.out)[1])


def steps(path):
    return torch.load(path, weights_only=True)["global_step"]


def files(run):
    return sorted(path.name for path in (run / "checkpoints").iterdir())


@pytest.mark.parametrize(
    "added",
    [
        ["--config=stop.yaml"],
        ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val_loss"],
        ["--trainer.callbacks=null"],
    ],
    ids=["config", "added", "none"],
)
def test_best_and_last_stay_whatever_callbacks_are_added(zoo, tmp_path, added):
    stop = {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"monitor": "val_loss"}}
    (tmp_path / "stop.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [stop]}}))
    answer = zoo("fit", *EPOCHS, "--trainer.max_epochs=2", *added)
    run = fitted(answer)
    assert answer.checkpoint.name == "best.ckpt"
    assert files(run) == ["best.ckpt", "last.ckpt"]
    assert reached(answer) == pytest.approx(reached(zoo("fit", *EPOCHS, "--trainer.max_epochs=2")), abs=1e-6)


def test_a_checkpoint_callback_of_ones_own_lies_beside_ours(zoo):
    own = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.filename=mine"]
    assert files(fitted(zoo("fit", *EPOCHS, "--trainer.max_epochs=1", *own))) == ["best.ckpt", "last.ckpt", "mine.ckpt"]


def test_the_callbacks_in_the_config_of_an_earlier_versions_run_do_not_write_our_files(zoo, tmp_path):
    names = {"best": {"monitor": "val_loss"}, "last": {"every_n_epochs": 1}}
    ours = [
        {"class_path": "ModelCheckpoint", "init_args": {"filename": name, "enable_version_counter": False, **settings}}
        for name, settings in names.items()
    ]
    (tmp_path / "earlier.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": ours}}))
    run = fitted(zoo("fit", *EPOCHS, "--config=earlier.yaml", "--trainer.max_epochs=1"))
    states = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["callbacks"]
    assert [key.partition("{")[0] for key in states] == ["BestCheckpoint"]
    assert files(run) == ["best.ckpt", "last.ckpt"]


@pytest.mark.parametrize(
    ("how", "best", "last"),
    [
        (["--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=2"], None, 4),
        (["--trainer.max_epochs=3", "--trainer.check_val_every_n_epoch=2"], 8, 12),
        (["--trainer.max_epochs=2", "--trainer.limit_val_batches=0"], None, 8),
        (["--trainer.max_epochs=2", "--trainer.val_check_interval=0.5"], None, 8),
        (["--trainer.max_epochs=9", "--trainer.max_steps=6"], 4, 6),
        (["--trainer.max_epochs=0"], None, 0),
    ],
)
def test_last_is_the_last_whatever_is_validated(zoo, how, best, last):
    answer = zoo("fit", *EPOCHS, *how)
    run = fitted(answer)
    assert steps(run / "checkpoints/last.ckpt") == last
    if best is not None:
        assert steps(run / "checkpoints/best.ckpt") == best
    validated = "--trainer.val_check_interval=0.5" in how or best is not None
    assert files(run) == ["best.ckpt", "last.ckpt"][not validated :]


def test_a_run_without_checkpoints_or_without_anything_says_so(zoo, tmp_path):
    none = zoo("fit", *EPOCHS, "--trainer.max_epochs=1", "--trainer.enable_checkpointing=false")
    assert reached(none) == pytest.approx(reached(zoo("fit", *EPOCHS, "--trainer.max_epochs=1")), abs=1e-5)
    assert none.out.splitlines()[-1] == "checkpoint: none: trainer.enable_checkpointing is false"
    shutil.rmtree("runs")
    for how in ("barebones", "fast_dev_run"):
        bare = zoo("fit", *EPOCHS, "--trainer.max_epochs=1", f"--trainer.{how}=true")
        assert bare.status == 0, bare.err
        assert bare.out.splitlines()[-1] == f"nothing was written: trainer.{how} is set"
        assert list(tmp_path.iterdir()) == []
    said = zoo("fit", *EPOCHS, "--trainer.barebones=true", "--trainer.log_every_n_steps=5").complaint
    assert "log_every_n_steps=5" in said


@pytest.mark.parametrize("averaging", ["EMAWeightAveraging", "StochasticWeightAveraging"])
def test_the_printed_figure_is_that_of_the_checkpoint_where_weights_are_averaged(zoo, averaging):
    settings = {"EMAWeightAveraging": "decay=0.9", "StochasticWeightAveraging": "swa_lrs=0.05"}[averaging]
    callback = [f"--trainer.callbacks+={averaging}", f"--trainer.callbacks.{settings}"]
    for validated in (True, False):
        limits = [] if validated else ["--trainer.limit_val_batches=0"]
        answer = zoo("fit", *EPOCHS, "--trainer.max_epochs=3", "--model.learning_rate=0.05", *callback, *limits)
        assert answer.checkpoint.name == ("best.ckpt" if validated else "last.ckpt")
        assert evaluated(zoo("test", "--ckpt_path", answer.checkpoint, QUIET)) == pytest.approx(
            reached(answer), abs=6e-6
        )


# ---- moved, renamed, given from elsewhere


def test_a_finished_run_reports_its_own_best_from_another_folder_and_after_it_was_renamed(zoo, tmp_path, monkeypatch):
    mine = zoo("fit", *EPOCHS, "--trainer.max_epochs=2")
    own = fitted(mine).absolute()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    other = zoo("fit", *EPOCHS, "--trainer.max_epochs=2", "--model.learning_rate=0.1", "--data.seed=5")
    assert other.checkpoint == mine.checkpoint  # the same path, seen from here
    again = zoo("fit", "--ckpt_path", own / "checkpoints/last.ckpt")
    assert reached(again) == reached(mine) != reached(other)
    assert files(fitted(again)) == ["best.ckpt", "last.ckpt"]
    assert (fitted(again) / "checkpoints/best.ckpt").read_bytes() == (own / "checkpoints/best.ckpt").read_bytes()
    own.rename(tmp_path / "a new name")
    moved = zoo("fit", "--ckpt_path", tmp_path / "a new name/checkpoints/last.ckpt")
    assert reached(moved) == reached(mine)


def test_the_best_of_a_later_epoch_is_not_that_of_an_earlier_checkpoint(zoo):
    keep = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_top_k=-1", "--trainer.callbacks.mode=max"]
    given = ["fit", *EPOCHS, *keep, "--trainer.callbacks.filename={epoch}", "--model.schedule=constant"]
    straight = fitted(zoo(*given, "--trainer.max_epochs=4", "--model.learning_rate=0.02")) / "checkpoints"
    assert steps(straight / "best.ckpt") > 4, "the first epoch must not be the best"
    resumed = zoo(*given, "--trainer.max_epochs=1", "--ckpt_path", straight / "epoch=0.ckpt")
    assert steps(fitted(resumed) / "checkpoints/last.ckpt") == 4
    assert files(fitted(resumed)) == ["last.ckpt"]


def test_a_run_goes_under_the_default_root_unless_a_folder_is_typed(zoo, tmp_path):
    given = ["fit", *EPOCHS, "--trainer.max_epochs=1", f"--trainer.default_root_dir={tmp_path / 'root'}"]
    assert fitted(zoo(*given)).absolute() == tmp_path / "root/runs/long_memory/version_0"
    assert fitted(zoo(*given, "--trainer.logger.save_dir=typed")).absolute() == tmp_path / "typed/long_memory/version_0"
    last = tmp_path / "root/runs/long_memory/version_0/checkpoints/last.ckpt"
    assert fitted(zoo("fit", "--ckpt_path", last)).absolute() == tmp_path / "root/runs/long_memory/version_1"


# ---- the data that a checkpoint brings


def test_a_checkpoint_brings_its_data_and_the_command_line_wins(zoo, lm_run, text_file, tmp_path):
    path = f"--ckpt_path={lm_run.checkpoint}"
    config = next(a for a in TINY_LM if a.startswith("--config"))  # of the King James text
    alone, beside = zoo("test", path, QUIET), zoo("test", config, path, QUIET)
    assert beside.status == 0, beside.err
    assert re.findall(r"test_bpc.*", beside.out) == re.findall(r"test_bpc.*", alone.out) != []
    assert f"dataset {str(text_file)!r} (the config has 'kjv')" in beside.out
    assert "the data are those" not in alone.out
    (tmp_path / "other.txt").write_text("a cat sat on the mat\n" * 300)
    typed = zoo("test", config, path, "--data.dataset=other.txt", QUIET)
    assert typed.status == 0, typed.err
    assert re.findall(r"test_bpc.*", typed.out) != re.findall(r"test_bpc.*", alone.out)


def test_a_checkpoint_brings_another_data_module_than_the_configs(zoo, tmp_path, monkeypatch):
    (tmp_path / "their_data.py").write_text(Path(__file__).with_name("their_data.py").read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    task = ["--model=rnnzoo.tasks.SequenceTask", "--model.hidden_size=8", "--trainer.max_epochs=1"]
    fit = zoo("fit", "--data=their_data.TheirData", "--data.rows=21", *task, QUIET)
    given = [f"--ckpt_path={fit.checkpoint}", QUIET]
    beside = zoo("test", TINY_MEMORY[0], *given)
    assert evaluated(beside) == evaluated(zoo("test", *given))
    assert (
        f"the data are those of {fit.checkpoint}, by their_data.TheirData, not by rnnzoo.data.LongMemory" in beside.out
    )
    assert zoo("test", "--data=rnnzoo.data.LongMemoryData", TINY_MEMORY[0], *given, "--data.length=9").status == 0
    said = zoo("test", TINY_MEMORY[0], *given, "--data.length=9").complaint
    assert said.startswith("--data.length: their_data.TheirData, the data of ")


def test_a_checkpoint_that_lies_alone_brings_its_task_and_its_data(zoo, lm_run, tmp_path):
    shutil.copy(lm_run.checkpoint, tmp_path / "alone.ckpt")
    assert re.findall(r"test_bpc.*", zoo("test", "--ckpt_path=alone.ckpt", QUIET).out) == re.findall(
        r"test_bpc.*", zoo("test", "--ckpt_path", lm_run.checkpoint, QUIET).out
    )


def test_data_with_a_relative_path_are_found_from_elsewhere_and_after_a_move(zoo, text_file, tmp_path, monkeypatch):
    for name in ("project", "elsewhere"):
        (tmp_path / name).mkdir()
    shutil.copy(text_file, tmp_path / "project/notes.txt")
    (tmp_path / "elsewhere/notes.txt").write_text("another text of this name\n" * 300)
    monkeypatch.chdir(tmp_path / "project")
    fit = zoo("fit", *TINY_LM, "--data.dataset=notes.txt", "--trainer.limit_train_batches=2")
    wanted = re.findall(r"test_bpc.*", zoo("test", "--ckpt_path", fit.checkpoint, QUIET).out)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert re.findall(r"test_bpc.*", zoo("test", "--ckpt_path", f"../project/{fit.checkpoint}", QUIET).out) == wanted
    (tmp_path / "project").rename(tmp_path / "moved")
    assert re.findall(r"test_bpc.*", zoo("test", "--ckpt_path", f"../moved/{fit.checkpoint}", QUIET).out) == wanted


# ---- a disk that is full


@pytest.fixture
def small_disk(tmp_path):
    """A folder `disk` that holds a megabyte."""
    (tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path / "disk")]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can make a small disk")
    yield tmp_path / "disk"
    subprocess.run(["umount", str(tmp_path / "disk")], check=True)


@pytest.mark.parametrize("left", [0, 4, 8, 24, 1024])
def test_a_run_that_fills_the_disk_is_named_and_leaves_nothing_half_written(zoo, small_disk, left):
    (small_disk / "others").write_bytes(bytes((1024 - left) * 1024))
    size = ["--model.hidden_size=256"] if left == 1024 else []
    given = ["fit", *EPOCHS, "--trainer.max_epochs=2", f"--trainer.logger.save_dir={small_disk}", *size]
    said = zoo(*given, "--trainer.log_every_n_steps=1").complaint
    assert str(small_disk / "long_memory/version_0") in said
    assert "cannot be written: No space left on device" in said
    assert not [path for path in small_disk.rglob("*") if path.suffix in (".ckpt", ".part")]
    for path in small_disk.rglob("metrics.csv"):
        lines = path.read_text().splitlines(keepends=True)
        assert all(line.count(",") == lines[0].count(",") and line.endswith("\n") for line in lines)


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_predictions_that_fill_the_disk_are_named_and_leave_nothing(zoo, memory_run, small_disk, name):
    (small_disk / "others").write_bytes(bytes(1016 * 1024))
    given = [f"--ckpt_path={memory_run.checkpoint}", f"--predictions.path={small_disk / name}", QUIET]
    said = zoo("predict", *given, "--data.examples=[320,64,4000]").complaint
    assert said == f"predictions.path {str(small_disk / name)!r} cannot be written: No space left on device"
    assert [path.name for path in small_disk.iterdir()] == ["others"]
