"""What a user got wrong: one line with the argument, its value and what would be right, and nothing left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from command_line import CONFIGS, TINY_FORECASTER, TINY_LM, TINY_MEMORY, make_series, shell

from rnnzoo.cli.main import main


def complaint_of(zoo, tmp_path: Path, *args: object) -> str:
    before = sorted(tmp_path.rglob("*"))
    said = zoo(*args).complaint
    assert sorted(tmp_path.rglob("*")) == before, "something was left behind"
    return said


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("--model.cell=lsmt", ["lsmt", "did you mean 'lstm'"]),
        ("--model.cell_args.bta=1", ["lstm", "bta", "it has: bias"]),
        ("--model.hidden_size=0", ["hidden_size", "0", "at least 1"]),
        ("--model.hidden_size=-3", ["hidden_size", "-3", "at least 1"]),
        ("--model.hidden_size=many", ["hidden_size", "many", "int"]),
        ("--model.num_layers=0", ["num_layers", "0", "at least 1"]),
        ("--model.dropout=1", ["dropout", "1", "[0, 1)"]),
        ("--model.dropout=-0.1", ["dropout", "-0.1", "[0, 1)"]),
        ("--model.learning_rate=0", ["learning_rate", "0", "above 0"]),
        ("--model.schedule=steep", ["schedule", "steep", "one_cycle"]),
        ("--model.hiden_size=3", ["hiden_size", "did you mean 'hidden_size'"]),
        ("--model.kernel=natve", ["natve", "did you mean 'native'"]),
        ("--model.kernel=linear_scan", ["linear_scan", "lstm is not linear in its state", "auto"]),
        ("--trainer.mox_epochs=3", ["mox_epochs", "did you mean 'max_epochs'"]),
        ("--trainer.max_epochs=many", ["trainer.max_epochs", "many", "int"]),
        ("--trainer.devices=999", ["trainer.devices", "999", "processor cores"]),
        ("--trainer.strategy=ddpp", ["trainer", "strategy", "ddpp"]),
        ("--trainer.accelerator=tpux", ["trainer", "accelerator", "tpux"]),
        ("--trainer.precision=bf17", ["trainer.precision", "bf17", "bf16-mixed"]),
        ("--trainer.devices=two", ["trainer", "devices", "int"]),
        ("--trainer.callbacks=[ModelCheckpoint,ModelCheckpoint]", ["trainer", "more than one", "ModelCheckpoint"]),
        ("--model.cell_args=3", ["model.cell_args is '3'", "dict"]),
        ("--model.rnn_args.conect=dense", ["rnn_args has 'conect'", "did you mean 'connect'?", "dilation"]),
        ("--model.rnn_args.connect=dens", ["unknown connection 'dens'", "dense"]),
        ("--model.rnn_args.dilation=0", ["dilation must be a whole number of at least 1", "not 0"]),
        ('--model.rnn_args.transforms={"Zoneot": {}}', ["unknown transform 'Zoneot'", "did you mean 'Zoneout'?"]),
        ('--model.rnn_args.transforms={"Zoneout": {"q": 1}}', ["transform 'Zoneout' has no argument 'q'", "it has: p"]),
        ('--model.rnn_args.transforms={"Zoneout": 0.1}', ["'Zoneout' must have a mapping of arguments", "not 0.1"]),
        ('--model.rnn_args.transforms={"Zoneout": {"p": 2}}', ["zoneout's p must be a probability", "not 2"]),
        ("--model.rnn_args.transforms=a_lab.Mine", ["transform 'a_lab.Mine' cannot be imported", "No module"]),
        ("--model.learning_rate=nan", ["learning_rate", "nan"]),
        ("--data.split=[0.9,0.1]", ["data.split", "[0.9, 0.1]", "3 elements"]),
        ("--data.batch_size=0", ["batch_size", "0", "at least 1"]),
        ("--data.batch_size=100000", ["batch_size", "100000", "would do"]),
        ("--data.sequence_length=100000", ["sequence_length", "100000", "would do"]),
        ("--data.dataset=missing.txt", ["dataset", "missing.txt", "no such file"]),
        ("--config=missing.yaml", ["missing.yaml", "does not exist"]),
        ("--data.sequence_length=${no.where}", ["no.where", "not found"]),
        ("--model.hidden_size=", ["model.hidden_size is empty", "int"]),
        ("--model.hidden_size", ["--model.hidden_size needs a value"]),
        ("--hidden_size=8", ["--hidden_size", "did you mean --model.hidden_size?"]),
        ("--max_epochs=1", ["--max_epochs", "did you mean --trainer.max_epochs?"]),
        ("--epochs=1", ["--epochs", "did you mean --trainer.max_epochs?"]),
        ("--confg=x", ["--confg", "did you mean --config?"]),
        ("-config=x", ["-config", "did you mean --config=x?"]),
        ("—trainer.max_epochs=1", ["dash of text", "--trainer.max_epochs=1"]),
        ("---", ["'---' stands without an option"]),
        ("#", ["'#' stands without an option"]),
        ("mine.yaml", ["did you mean --config mine.yaml?"]),
        ("a/last.ckpt", ["did you mean --ckpt_path a/last.ckpt?"]),
        ("", ["an argument is empty"]),
        ("--model=LanguagModel", ["model 'LanguagModel'", "did you mean 'LanguageModel'?"]),
        (
            "--model=rnnzoo.tasks.LanguagModel",
            ["'rnnzoo.tasks' has no 'LanguagModel'", "did you mean 'LanguageModel'?"],
        ),
        ("--model=no_lab.Mine", ["model 'no_lab.Mine'", "No module named 'no_lab'"]),
        ("--model=lightning.LightningModule", ["No `training_step()` method defined"]),
        ("--data=torch.nn.Linear", ["data 'torch.nn.Linear'", "not a LightningDataModule"]),
        ("--data=CharTextDat", ["data 'CharTextDat'", "did you mean 'CharTextData'?"]),
        ("--data=SeriesData", ["LanguageModel needs the vocabulary", "SeriesData has not", "CharTextData"]),
        ("--data.separator=--", ["--data.separator cannot be '--' on the command line", "config"]),
        ("--model=SequenceTask", ["SequenceTask needs the classes", "CharTextData has not", "LongMemoryData"]),
        ("--trainer.logger=lightning.pytorch.loggers.CometLogger", ["CometLogger needs", "comet-ml", "pip install"]),
        ("--trainer.logger=[CSVLogger, CometLogger]", ["CometLogger needs", "comet-ml", "pip install"]),
        ("--trainer.logger=csv", ["trainer.logger 'csv'", "CSVLogger"]),
        ("--trainer.logger.nme=x", ["RunLogger has no setting 'nme'", "did you mean 'name'?"]),
        ("--trainer.callbacks+=EarlyStopping", ["trainer.callbacks", "EarlyStopping needs a value for monitor"]),
        ("--trainer.callbacks+=EarlyStoping", ["'EarlyStoping'", "did you mean 'EarlyStopping'?"]),
        ("--trainer.callbacks+={class_path: EarlyStopping, init_args: {monitor: val_bcp}}", ["'val_bcp'", "val_bpc"]),
        (
            "--trainer.callbacks+={class_path: EarlyStopping, init_args: {monitor: val_bpc, mode: mix}}",
            ["`mode`", "mix"],
        ),
        ("--trainer.callbacks+={class_path: EarlyStopping, init_args: {montior: x}}", ["'montior'", "'monitor'?"]),
        ("--trainer.val_check_interval=0", ["trainer.val_check_interval is 0"]),
        ("--trainer.accumulate_grad_batches=0", ["trainer.accumulate_grad_batches is 0"]),
        ("--optimizer=Adamm", ["optimizer 'Adamm'", "did you mean 'Adam'?"]),
        ("--optimizer={class_path: Adam, init_args: {lr: -1}}", ["optimizer: Invalid learning rate: -1"]),
        ("--lr_scheduler=StepLR", ["lr_scheduler: StepLR needs a value for step_size"]),
        ("--seed_everything=-1", ["seed_everything", "-1"]),
    ],
)
def test_a_wrong_setting_of_a_language_model_is_named_with_its_value(zoo, tmp_path, text_file, setting, says):
    dataset = [] if "dataset" in setting else [f"--data.dataset={text_file}"]
    said = complaint_of(zoo, tmp_path, "fit", *TINY_LM, *dataset, setting)
    for part in says:
        assert part in said


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["--data.task=addign"], ["data.task", "addign", "'adding'", "'permuted_mnist'"]),
        (["--data.length=1"], ["length=1", "adding", "at least 2"]),
        (["--data.task=copying"], ["length=12", "copying", "at least 21"]),
        (["--data.length=long"], ["data.length", "long", "int"]),
        (["--data.examples=[0,64,80]"], ["examples=[0, 64, 80]", "at least 1"]),
        (["--data.examples=[320,64]"], ["data.examples", "[320, 64]", "tuple[int, int, int]"]),
        (["--data.batch_size=1000"], ["batch_size=1000", "320", "would do"]),
        (["--data.seed=-1"], ["seed=-1", "0 to"]),
        (["--data.task=digits"], ["length=12", "64 pixels", "1, 2, 4, 8, 16, 32, 64"]),
        (["--data.task=digits", "--data.length=8", "--data.examples=[1500,64,80]"], ["1500", "1,258 of train"]),
        (["--data.task=mnist", "--data.length=28"], ["ylecun/mnist", "cannot be fetched", "task='digits'"]),
        (["--data.task=mnist", "--data.dataset=./missing"], ["dataset='./missing'", "no such file"]),
        (["--model.checkpoint_every=0"], ["checkpoint_every", "0", "at least 1"]),
        (["--model.cell=lsmt"], ["lsmt", "did you mean 'lstm'"]),
    ],
)
def test_a_wrong_setting_of_a_long_memory_is_named_with_its_value(zoo, tmp_path, settings, says):
    said = complaint_of(zoo, tmp_path, "fit", *TINY_MEMORY, *settings)
    for part in says:
        assert part in said


@pytest.mark.skipif(torch.accelerator.is_available(), reason="asks for a GPU where there is none")
def test_a_gpu_that_is_not_there_is_named(zoo, tmp_path, text_file):
    said = complaint_of(zoo, tmp_path, "fit", *TINY_LM, f"--data.dataset={text_file}", "--trainer.accelerator=gpu")
    assert "trainer.accelerator" in said
    assert "'gpu'" in said


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.txt", b"", ["empty.txt", "empty file"]),
        ("latin.txt", b"caf\xe9", ["latin.txt", "not UTF-8", "0xe9", "offset 3"]),
        ("table.csv", b"line\nhello\n", ["column='text'", "it has line"]),
    ],
)
def test_a_text_that_cannot_be_read_is_named(zoo, tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    said = complaint_of(zoo, tmp_path, "fit", *TINY_LM, f"--data.dataset={name}")
    for part in says:
        assert part in said


def series(**changes: str) -> str:
    lines = make_series(600, seed=0).splitlines()
    for row, line in changes.items():
        lines[int(row.strip("_")) + 1] = line
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (series(_17="17,"), ["'load'", "nan", "row 17"]),
        (series(_23="23,high"), ["'load'", "row 23", "'high'"]),
        (series(_50="3,100.0"), ["'hour'", "3 twice", "rows 3 and 50"]),
        ("hour,load\n" + "".join(f"{t},5\n" for t in range(600)), ["constant", "5"]),
        ("hour,load\n" + "".join(f"{t},{t * t % 11}\n" for t in range(30)), ["too few", "horizon=12"]),
    ],
)
def test_a_series_that_cannot_be_used_is_named_with_its_row(zoo, tmp_path, content, says):
    (tmp_path / "series.csv").write_text(content)
    given = ["--data.dataset=series.csv", "--data.target_column=load", "--data.time_column=hour"]
    if "too few" in says:
        given += ["--data.season=7", "--data.context=7"]
    said = complaint_of(zoo, tmp_path, "fit", *TINY_FORECASTER, *given)
    for part in says:
        assert part in said


@pytest.mark.parametrize(
    ("name", "config", "says"),
    [
        ("top.yaml", "modle: {class_path: rnnzoo.tasks.LanguageModel}\n", ["modle", "did you mean 'model'"]),
        (
            "inner.yaml",
            "model: {class_path: rnnzoo.tasks.LanguageModel, init_args: {hiden_size: 3}}\n",
            ["hiden_size", "did you mean 'hidden_size'"],
        ),
        ("broken.yaml", "model: [1\n", ["config", "line"]),
        ("empty.yaml", "", ["--config", "file of settings", "nothing"]),
        ("list.yaml", "- 1\n- 2\n", ["--config", "file of settings", "- 1 - 2"]),
        ("task.yaml", "model: {class_path: rnnzoo.tasks.LanguageModle}\n", ["model", "LanguageModle"]),
        ("no_class.yaml", "model: {cell: lstm}\n", ["model.cell", "class_path", "LanguageModel"]),
        ("tab.yaml", "model:\n\tclass_path: x\n", ["tab.yaml", "line 2, column 1", "a tab"]),
        ("twice.yaml", "trainer: {}\nseed_everything: 1\ntrainer: {}\n", ["'trainer' twice, in line 1 and in line 3"]),
        ("inner_twice.yaml", "model:\n  a: 1\n  a: 2\n", ["'a' twice, in line 2 and in line 3"]),
        ("colon.yaml", "model:\n  cell lstm\n  size: 3\n", ["colon.yaml", "line 3", "'size: 3'"]),
        ("zip.yaml", "PK\x03\x04", ["is a checkpoint", "--ckpt_path zip.yaml"]),
        ("other.yaml", "model: {class_path: torch.nn.Linear}\n", ["model", "torch.nn.Linear", "LightningModule"]),
    ],
)
def test_a_config_with_a_mistake_is_named(zoo, tmp_path, name, config, says):
    (tmp_path / name).write_text(config)
    said = complaint_of(zoo, tmp_path, "fit", f"--config={name}")
    for part in says:
        assert part in said


def test_a_run_without_a_config_says_what_to_give(zoo, tmp_path):
    assert "--config" in complaint_of(zoo, tmp_path, "fit")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["--data.dataset=X", "--model.pretrained=C"], ["data.dataset is given", "--data CLASS", "CharTextData"]),
        (["--model.cell=gru"], ["model.cell is given", "--model CLASS", "LanguageModel"]),
        (["--model=LanguageModel"], ["--data missing", "--config"]),
        (["--model=SequenceTask", "--data=rnnzoo.data.CharTextData"], ["needs the classes", "LongMemoryData"]),
        (["--config=configs"], ["configs", "is a folder"]),
        (["--config=configs/char_ml.yaml"], ["does not exist", "did you mean 'configs/char_lm.yaml'?"]),
        ([f"--config={CONFIGS / 'forecast.yaml'}", "--model.horizon=5"], ["model.horizon is 5", "data.horizon is 48"]),
        ([f"--config={CONFIGS / 'forecast.yaml'}", "--model.season=5"], ["model.season is 5", "data.season is 336"]),
    ],
)
def test_a_command_without_a_class_or_with_two_that_do_not_fit_is_named(zoo, tmp_path, settings, says):
    (tmp_path / "configs").mkdir()
    said = complaint_of(zoo, tmp_path, "fit", *settings)
    for part in says:
        assert part in said


@pytest.mark.parametrize("separator", ["---", "#", "# x", "----", "- ", "...", "?", " ", "|", "<eos>", "1"])
@pytest.mark.parametrize("together", [True, False])
def test_a_separator_is_the_text_that_was_typed(zoo, separator, together):
    given = [f"--data.separator={separator}"] if together else ["--data.separator", separator]
    printed = zoo("fit", *TINY_LM, *given, "--print_config")
    assert printed.status == 0, printed.err
    assert yaml.safe_load(printed.out)["data"]["init_args"]["separator"] == separator


def test_a_metric_that_no_task_logs_is_named_after_the_first_validation_of_a_users_own_task(zoo, tmp_path, text_file):
    """Only what a task of ours logs is known before."""
    (tmp_path / "their_task.py").write_text("from rnnzoo.tasks import LanguageModel\nclass Mine(LanguageModel): pass\n")
    stop = "--trainer.callbacks+={class_path: EarlyStopping, init_args: {monitor: val_bcp}}"
    given = ["--model=their_task.Mine", "--trainer.limit_train_batches=2", stop]
    said = zoo("fit", *TINY_LM, *given, f"--data.dataset={text_file}").complaint
    assert said == (
        "EarlyStopping monitors 'val_bcp', which is not logged; did you mean 'val_bpc'?"
        " there are: train_loss, val_loss, val_bpc"
    )


def test_evaluation_without_a_checkpoint_says_what_to_give(zoo, tmp_path, text_file):
    assert "--ckpt_path" in complaint_of(zoo, tmp_path, "test", *TINY_LM, f"--data.dataset={text_file}")


@pytest.mark.parametrize("command", ["test", "fit"])
@pytest.mark.parametrize("kind", ["truncated", "a text", "missing", "another's"])
def test_a_file_that_is_no_checkpoint_of_ours_is_named(zoo, tmp_path, lm_run, text_file, command, kind):
    path = tmp_path / "some.ckpt"
    if kind == "truncated":
        path.write_bytes(lm_run.checkpoint.read_bytes()[:5000])
    elif kind == "a text":
        path.write_text("no checkpoint")
    elif kind == "another's":
        torch.save({"state_dict": {}}, path)
    for config in ([*TINY_LM, f"--data.dataset={text_file}"], []):
        said = complaint_of(zoo, tmp_path, command, *config, f"--ckpt_path={path}")
        assert "some.ckpt" in said
        assert "ckpt_path" in said


def test_text_with_characters_that_the_model_does_not_know_is_an_error(zoo, tmp_path, lm_run):
    (tmp_path / "new.txt").write_text("the cat sat on a ßüß mat\n" * 200)
    said = complaint_of(zoo, tmp_path, "test", *TINY_LM, "--data.dataset=new.txt", f"--ckpt_path={lm_run.checkpoint}")
    assert "'ß' at 17" in said


@pytest.mark.parametrize("option", ["--trainer.logger.save_dir", "--predictions.path"])
def test_a_folder_that_cannot_be_written_is_named(zoo, tmp_path, lm_run, text_file, option):
    (tmp_path / "file").write_text("in the way")
    if option == "--predictions.path":
        args = ["predict", f"--ckpt_path={lm_run.checkpoint}", f"{option}=file/out.parquet"]
    else:
        args = ["fit", f"{option}=file/runs"]
    said = complaint_of(zoo, tmp_path, args[0], *TINY_LM, f"--data.dataset={text_file}", *args[1:])
    assert "file" in said
    assert "cannot be written" in said


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(Exception, match="lsmt"):
        main(["--debug", "fit", *TINY_LM, "--model.cell=lsmt"])


def test_a_config_that_is_not_utf_8_is_named(zoo, tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"# caf\xe9\nmodel: {}\n")
    said = complaint_of(zoo, tmp_path, "fit", "--config=latin.yaml")
    assert "config" in said
    assert "not UTF-8" in said


@pytest.mark.parametrize("argument", ["--model.pretrained", "--data.vocabulary", "--data.pretrained"])
def test_a_file_to_start_from_that_is_no_checkpoint_is_named(zoo, tmp_path, text_file, argument):
    (tmp_path / "some.ckpt").write_text("no checkpoint")
    for path in ("some.ckpt", "missing.ckpt"):
        given = [f"--data.dataset={text_file}", f"{argument}={path}"]
        said = complaint_of(zoo, tmp_path, "fit", *TINY_LM, *given)
        assert argument.rpartition(".")[2] in said
        assert path in said


def test_a_truncated_checkpoint_cannot_generate(zoo, tmp_path, lm_run):
    (tmp_path / "cut.ckpt").write_bytes(lm_run.checkpoint.read_bytes()[:5000])
    said = complaint_of(zoo, tmp_path, "generate", "cut.ckpt")
    assert "cut.ckpt" in said
    assert "truncated" in said


def test_a_process_prints_one_line_and_no_traceback_unless_asked(tmp_path):
    quiet = shell("fit", *TINY_LM, "--model.cell=lsmt", cwd=tmp_path)
    assert quiet.complaint.startswith("unknown cell 'lsmt'")
    loud = shell("--debug", "cells", "lsmt", cwd=tmp_path)
    assert loud.status != 0
    assert "Traceback (most recent call last)" in loud.err
    assert "unknown cell 'lsmt'" in loud.err


def test_a_name_that_the_locale_cannot_read_is_named_with_the_cure(tmp_path):
    (tmp_path / "tëxt.txt").write_text("text")
    settings = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "rnnzoo", "fit", *TINY_LM, "--data.dataset=tëxt.txt"]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **settings}, capture_output=True, timeout=60)
    assert done.returncode == 2
    assert b"cannot be read as ascii, the encoding of this locale: set PYTHONUTF8=1" in done.stderr
