"""A setting that has no effect is an error or a warning that names it; evaluation runs on what is here."""

import re
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from command_line import TINY_FORECASTER, TINY_LM, TINY_MEMORY

QUIET = "--trainer.enable_progress_bar=false"
BRIEF = ["--trainer.max_steps=2", "--data.examples=[32,16,16]"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["--data.dataset=does_not_exist.tsv"], "dataset='does_not_exist.tsv' has no effect with task='adding'"),
        (
            ["--data.task=digits", "--data.length=64", "--data.dataset=x"],
            "dataset='x' has no effect with task='digits'",
        ),
        (
            ["--lr_scheduler=CosineAnnealingLR", "--lr_scheduler.T_max=9"],
            "'CosineAnnealingLR' has no effect",
        ),
        (
            ["--optimizer=SGD", "--optimizer.lr=1", "--model.learning_rate=1"],
            "--model.learning_rate has no effect",
        ),
    ],
)
def test_a_setting_without_effect_is_an_error(zoo, tmp_path, settings, says):
    assert says in zoo("fit", *TINY_MEMORY, *BRIEF, *settings).complaint
    assert list(tmp_path.iterdir()) == []


def test_a_forecasters_horizon_and_season_must_be_those_of_its_data(zoo, series_file, tmp_path):
    given = ["fit", *TINY_FORECASTER, f"--data.dataset={series_file}", "--data.column=load"]
    said = "model.horizon is 1 but data.horizon is 12: they must be the same"
    assert said in zoo(*given, "--model.horizon=1").complaint
    assert "model.season is 7 but data.season is 24" in zoo(*given, "--model.season=7").complaint
    assert list(tmp_path.iterdir()) == []


def test_a_schedule_in_a_config_without_an_optimizer_is_an_error(zoo, tmp_path):
    schedule = {"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 5}}
    (tmp_path / "schedule.yaml").write_text(yaml.safe_dump({"lr_scheduler": schedule}))
    said = zoo("fit", *TINY_MEMORY, "--config=schedule.yaml").complaint
    assert "lr_scheduler 'StepLR' has no effect without an optimizer" in said


def test_an_optimizer_says_which_settings_of_the_model_it_replaces(zoo):
    answer = zoo("fit", *TINY_MEMORY, *BRIEF, "--optimizer=SGD", "--optimizer.lr=0.1")
    assert "model.learning_rate, model.weight_decay, model.no_decay" in answer.err
    assert "have no effect: optimizer SGD is given" in answer.err


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["--data.separator=x", "--data.subset=y"], "separator='x' has no effect: dataset="),
        (["--data.separator=x", "--data.subset=y"], "subset='y' has no effect: dataset="),
        (["--data.dataset=kjv", "--data.column=line"], "column='line' has no effect: dataset='kjv'"),
    ],
)
def test_settings_that_a_text_does_not_read_are_named(zoo, text_file, settings, says):
    with pytest.warns(UserWarning, match=re.escape(says)):
        zoo("fit", *TINY_LM, f"--data.dataset={text_file}", "--trainer.fast_dev_run=true", *settings)


def test_settings_of_training_are_named_where_nothing_is_trained(zoo, memory_run):
    given = ["--model.learning_rate=1", "--trainer.max_epochs=3", "--data.predict_split=train", QUIET]
    answer = zoo("test", "--ckpt_path", memory_run.checkpoint, *given)
    assert answer.status == 0, answer.err
    assert "warning: --model.learning_rate, --trainer.max_epochs has no effect on test" in answer.err
    assert "warning: --data.predict_split has no effect on test" in answer.err
    assert "has no effect" not in zoo("test", "--ckpt_path", memory_run.checkpoint, QUIET).err


def test_what_stands_before_a_config_wins_over_it_too(zoo):
    printed = zoo("fit", "--model.hidden_size=5", *TINY_MEMORY[:1], "--print_config")
    assert yaml.safe_load(printed.out)["model"]["init_args"]["hidden_size"] == 5


# ---- devices


def elsewhere(run, tmp_path, **trainer):
    """A copy of a run, whose config says that it was trained on other devices."""
    shutil.copytree(run.checkpoint.parent.parent, tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    config["trainer"] |= trainer
    (tmp_path / "run/config.yaml").write_text(yaml.safe_dump(config))
    return f"--ckpt_path={tmp_path / 'run/checkpoints/best.ckpt'}"


@pytest.mark.parametrize(
    "trained_on",
    [
        pytest.param(
            {"accelerator": "gpu", "devices": 8, "num_nodes": 4, "strategy": "ddp"},
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU where there is none"),
        ),
        {"accelerator": "cpu", "devices": 2, "strategy": "ddp"},
        {"accelerator": "cpu", "devices": 4096, "strategy": "auto"},
    ],
    ids=["gpu", "two processes", "more than there are"],
)
@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_evaluation_takes_the_devices_that_are_here(zoo, memory_run, tmp_path, trained_on, command, monkeypatch):
    start = subprocess.Popen

    def no_other_of_the_run(command, *args, **options):  # a compiler may be started
        if sys.executable in command:
            pytest.fail("another process was started")
        return start(command, *args, **options)

    monkeypatch.setattr("subprocess.Popen", no_other_of_the_run)
    path = elsewhere(memory_run, tmp_path, **trained_on)
    answer = zoo(command, path, QUIET)
    assert answer.status == 0, answer.err
    if command == "predict":
        assert "80 predictions" in answer.out


def test_a_config_that_asks_for_devices_that_are_not_here_is_named_and_evaluated_nevertheless(
    zoo, memory_run, tmp_path
):
    path = elsewhere(memory_run, tmp_path, accelerator="cpu", devices=4096)
    answer = zoo("test", path, f"--config={tmp_path / 'run/config.yaml'}", QUIET)
    assert answer.status == 0, answer.err
    assert "warning: trainer.devices is 4096, but this machine has" in answer.err
    assert "trainer.devices is 4096" in zoo("fit", path).complaint
    assert "trainer.devices is 512" in zoo("test", path, "--trainer.accelerator=cpu", "--trainer.devices=512").complaint


def test_arguments_of_an_optimizer_a_schedule_and_a_cell_stand_behind_their_names(zoo, text_file):
    given = [*TINY_LM, f"--data.dataset={text_file}", "--model.optimizer=SGD", "--model.optimizer.momentum=0.9"]
    given += [
        "--model.schedule",
        "StepLR",
        "--model.schedule.step_size",
        "2",
        "--model.cell=janet",
        "--model.cell.beta=0.5",
    ]
    answer = zoo("fit", *given, "--trainer.max_steps=1")
    assert answer.status == 0, answer.err
    saved = torch.load(answer.checkpoint, weights_only=True)
    settings = saved["hyper_parameters"]
    assert (settings["optimizer_args"], settings["schedule_args"]) == ({"momentum": 0.9}, {"step_size": 2})
    assert settings["cell_args"] == {"beta": 0.5}
    assert saved["optimizer_states"][0]["param_groups"][0]["momentum"] == 0.9
    said = zoo("fit", *given, "--model.optimizer.momentun=0.9").complaint
    assert said.startswith("optimizer_args has 'momentun'; did you mean 'momentum'? SGD takes: lr, momentum, ")
