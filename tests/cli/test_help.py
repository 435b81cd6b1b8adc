"""`rnnzoo fit --help`: short, with the settings of a config by group, their meanings and their values."""

import re
import sys
from pathlib import Path

import pytest
import torch
from command_line import CONFIGS
from test_commands import modules_loaded_by

from rnnzoo import data, tasks
from rnnzoo.cli.classes import parameters_of
from rnnzoo.cli.help import plain
from rnnzoo.cli.main import LIGHTNING
from rnnzoo.cli.shipped import shipped_configs

NOT_TO_SET = {"description", "rnn_args"}
OWN_TASK = '''
from rnnzoo.tasks import Task


class Own(Task):
    """A task of somebody's own.

    Args:
        width: of the thing, in units.
        settings: those of all tasks.
    """

    def __init__(self, description=None, *, width: int, **settings):
        super().__init__(description, **settings)
'''


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")


def settings_in(out):
    """Every option of the groups with the value that it has."""
    found = re.findall(r"^  --((?:model|data|trainer)\.[\w.]+|seed_everything) (.*?)(?: {2,}.*)?$", out, re.M)
    assert len({name for name, _ in found}) == len(found), "an option is shown twice"
    return dict(found)


@pytest.mark.parametrize("command", LIGHTNING)
def test_help_without_a_config_is_short_and_does_not_wait_for_torch(zoo, command):
    assert not modules_loaded_by(command, "--help") & {"torch", "lightning", "jsonargparse"}
    answer = zoo(command, "-h")
    assert answer.out.startswith(f"usage: rnnzoo {command} ")
    assert len(answer.out.splitlines()) < 22 + len(shipped_configs())  # a line each
    assert f"rnnzoo {command} --config" in answer.out or "--ckpt_path RUN" in answer.out
    assert "--help=all" in answer.out


@pytest.mark.parametrize(
    ("config", "task", "source"),
    [
        ("char_lm", tasks.LanguageModel, data.CharTextData),
        ("forecast", tasks.Forecaster, data.SeriesData),
        ("long_memory", tasks.SequenceTask, data.LongMemoryData),
        ("series_classification", tasks.SequenceTask, data.LabelledSeriesData),
    ],
)
def test_every_setting_of_a_config_is_shown_once_with_the_value_that_holds(zoo, config, task, source):
    shown = settings_in(zoo("fit", "--config", CONFIGS / f"{config}.yaml", "--help").out)
    for group, kind in (("model", task), ("data", source)):
        takes = parameters_of(kind)
        assert {n.partition(".")[2] for n in shown if n.startswith(f"{group}.")} == takes.keys() - NOT_TO_SET
        given = re.findall(r"^    (\w+):", (CONFIGS / f"{config}.yaml").read_text(), re.M)
        for name in takes.keys() - NOT_TO_SET - set(given):
            assert shown[f"{group}.{name}"] == plain(takes[name].default), name
    assert shown["trainer.logger.save_dir"] == "runs"
    assert shown["trainer.logger.name"] == config


def test_a_value_of_the_config_and_of_the_command_line_stands_beside_its_default(zoo):
    out = zoo("fit", "--help", "--config", CONFIGS / "char_lm.yaml", "--model.num_layers", 3).out
    assert settings_in(out)["model.num_layers"] == "3"
    assert "cells on top of each other (default: 1)" in out
    assert settings_in(out)["model.hidden_size"] == "256"
    assert re.search(r"--model.hidden_size 256 .*\n.*\(default: 128\)", out)
    assert "--trainer.max_epochs 4 " in out


def test_it_does_not_matter_where_help_stands(zoo):
    config = f"--config={CONFIGS / 'forecast.yaml'}"
    assert zoo("fit", config, "--help") == zoo("fit", "-h", config) == zoo("help", "fit", config)


def test_nothing_is_read_or_written_for_help(zoo, monkeypatch):
    given = ["fit", "--config", CONFIGS / "char_lm.yaml", "--data.dataset=none.txt", "--help"]
    shown = zoo(*given)  # which reads what the constructors take
    monkeypatch.setattr(data.CharTextData, "setup", pytest.fail)
    monkeypatch.setattr(data.CharTextData, "_load", pytest.fail)
    monkeypatch.setattr(tasks.LanguageModel, "judge", pytest.fail)
    monkeypatch.setattr(torch.nn.Module, "__init__", lambda *_: pytest.fail("a module was made"))
    assert zoo(*given) == shown
    assert shown.status == 0
    assert not list(Path().iterdir())


@pytest.mark.parametrize("columns", [60, 80, 120, 300])
def test_help_fits_the_terminal_and_takes_a_line_or_two_a_setting(zoo, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    out = zoo("fit", "--config", CONFIGS / "char_lm.yaml", "--help").out
    width = min(max(columns, 80), 120)
    assert max(map(len, out.splitlines())) <= width
    for setting in re.split(r"\n(?=  -|\n)", out.partition("\nTask")[2]):
        assert len(setting.strip("\n").splitlines()) <= 3, setting  # two of meaning, below an option that is long
        option = re.match(r"  --\S+\.(\w+)", setting)
        assert option is None or len(setting.split()) > 2, f"{setting} has no meaning"


def test_nothing_of_lightnings_is_in_it_but_for_help_all(zoo):
    config = ("--config", CONFIGS / "char_lm.yaml")
    short, everything = zoo("fit", *config, "--help").out, zoo("fit", *config, "--help=all").out
    for noise in ("known subclasses", "CONFIG |", "--trainer.profiler", "--lr_scheduler", "CLASS_PATH", "<class"):
        assert noise not in short
    assert "--trainer.profiler PROFILER" in everything
    assert "known subclasses" in everything
    assert len(short.splitlines()) < 140 < len(everything.splitlines())


def test_settings_of_training_are_for_fit_alone(zoo):
    shown = {c: settings_in(zoo(c, "--config", CONFIGS / "char_lm.yaml", "--help").out) for c in LIGHTNING}
    assert "model.learning_rate" in shown["fit"]
    for command in ("validate", "test", "predict"):
        assert "model.kernel" in shown[command]
        assert not shown[command].keys() & {"model.learning_rate", "trainer.max_epochs", "trainer.logger.name"}


@pytest.mark.parametrize(
    ("given", "group"),
    [
        (["--model", "SequenceTask"], "Task, SequenceTask:"),
        (["--data=LongMemoryData"], "Data, LongMemoryData:"),
        (["--model", "own_task.Own"], "Task, own_task.Own:"),
    ],
)
def test_a_class_alone_has_its_settings_shown(zoo, given, group):
    Path("own_task.py").write_text(OWN_TASK)
    try:
        out = zoo("fit", *given, "--help").out
    finally:
        sys.modules.pop("own_task", None)
    assert group in out
    assert ("Data, " in out) == any("--data" in a for a in given)
    if "own_task" in group:
        assert re.search(r"--model.width VALUE +of the thing, in units \(must be given\)", out)
        assert settings_in(out)["model.hidden_size"] == "128"


def test_a_checkpoint_shows_the_settings_of_its_run(zoo, memory_run, monkeypatch):
    monkeypatch.chdir(memory_run.folder)
    shown = settings_in(zoo("test", "--ckpt_path", memory_run.checkpoint, "--help").out)
    assert shown["model.hidden_size"] == "16"
    assert shown["data.length"] == "12"


@pytest.mark.parametrize(
    "wrong",
    [
        ["--model", "LanguageModle", "--data", "CharTextData"],
        ["--config", "configs/char_ml.yaml"],
        ["--config", str(CONFIGS / "char_lm.yaml"), "--model.hiden_size", "3"],
        ["--config", str(CONFIGS / "char_lm.yaml"), "--model.hidden_size", "many"],
        ["--config", str(CONFIGS / "char_lm.yaml"), "--epochs", "3"],
        ["--ckpt_path", "none.ckpt"],
    ],
)
def test_what_is_wrong_is_said_in_the_same_line_as_without_help(zoo, wrong):
    assert zoo("fit", *wrong, "--help").complaint == zoo("fit", *wrong).complaint


def test_another_kind_of_help_is_an_error(zoo):
    assert zoo("fit", "--help=some").complaint.startswith("--help=some is unknown")
