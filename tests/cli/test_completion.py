"""Shell completion: what may come next, by a real bash where there is one, and by the others' scripts."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_commands import modules_loaded_by

from rnnzoo.cells import list_cells
from rnnzoo.cli import completion
from rnnzoo.cli.classes import parameters_of
from rnnzoo.cli.completion_table import write_table
from rnnzoo.cli.main import LIGHTNING, OTHERS
from rnnzoo.cli.shipped import shipped_configs
from rnnzoo.tasks import Forecaster, LanguageModel


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A cache folder with the table."""
    folder = tmp_path_factory.mktemp("completion")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNZOO_CACHE", str(folder))
        write_table(completion.table_path())
    return folder


@pytest.fixture
def complete(_as_it_was, learned, monkeypatch, zoo):
    """Asks what may come next, as a script does: the kind of the answers, and the answers."""
    monkeypatch.setenv("RNNZOO_CACHE", str(learned))

    def ask(typed, shell="fish"):
        words = shlex.split(typed) + [""] * typed.endswith(" ")
        kind, *lines = zoo("__complete", shell, *words).out.splitlines()
        return kind, [line.partition("\t")[0] for line in lines]

    return ask


def test_an_answer_waits_for_nothing_heavy(learned, monkeypatch):
    monkeypatch.setenv("RNNZOO_CACHE", str(learned))
    for words in (["fit", "--model.hid"], ["cells", "ls"], ["fit", "--config", "configs/char_lm.yaml", "--data."]):
        loaded = modules_loaded_by("__complete", "bash", *words)
        assert not loaded & {"torch", "lightning", "numpy", "jsonargparse", "omegaconf", "datasets"}


def test_commands_are_completed(complete):
    assert complete(" ") == ("words", [*LIGHTNING, *OTHERS, "help"])
    assert complete("gen") == ("words", ["generate"])
    assert complete("help val") == ("words", ["validate"])


def test_options_are_completed_a_group_at_a_time(complete):
    found = complete("fit --")[1]
    assert {"--config", "--ckpt_path", "--model.", "--data.", "--trainer.", "--help=all"} <= set(found)
    assert len(found) < 20
    assert complete("fit --trai") == ("open", ["--trainer."])  # no space behind a group
    assert complete("fit --model.hid") == ("words", ["--model.hidden_size"])
    assert "--trainer.max_epochs" in complete("fit --trainer.max_")[1]
    assert complete("predict --pred") == ("words", ["--predictions.path"])
    assert complete("fit --pred") == ("default", [])


@pytest.mark.parametrize(
    ("typed", "task"),
    [
        ("fit --config configs/forecast.yaml", Forecaster),
        ("fit --config=configs/char_lm.yaml", LanguageModel),
        ("fit --model Forecaster", Forecaster),
        ("fit --model=rnnzoo.tasks.LanguageModel", LanguageModel),
    ],
)
def test_settings_are_those_of_the_class_that_is_given(complete, typed, task):
    takes = {f"--model.{name}" for name in parameters_of(task)} - {"--model.description", "--model.rnn_args"}
    assert set(complete(f"{typed} --model.")[1]) == takes


def test_the_users_own_config_is_read(complete):
    Path("mine.yaml").write_text("model: SequenceTask\ndata: {class_path: LongMemoryData}\n")
    assert "--data.examples" in complete("fit --config mine.yaml --data.ex")[1]
    Path("broken.yaml").write_text("model: [\n")
    assert "--data.examples" in complete("fit --config broken.yaml --data.ex")[1]


def test_cells_are_completed_wherever_one_is_given(complete):
    names = [name for name in list_cells() if name.startswith("ls")]
    for typed in ("fit --model.cell ls", "cells ls", "check ls", "bench --cell ls"):
        assert complete(typed) == ("words", names)
    assert complete("fit --model.cell=jan") == ("words", ["--model.cell=janet"])
    assert "--model.cell_args.beta" in complete("fit --model.cell janet --model.cell_args.")[1]


def test_values_are_completed_where_they_are_few(complete):
    assert "fused" in complete("fit --model.kernel ")[1]
    assert "AdamW" in complete("fit --model.optimizer A")[1]
    assert complete("fit --model.bidirectional t") == ("words", ["true"])
    assert complete("fit --config configs/long_memory.yaml --data.task add") == ("words", ["adding"])
    assert complete("fit --model Lang") == ("words", ["LanguageModel"])
    assert complete("completion z") == ("words", ["zsh"])


def test_a_flag_of_a_plain_command_takes_no_value(complete):
    assert complete("cells --markdown ls") == ("words", [name for name in list_cells() if name.startswith("ls")])
    assert complete("generate --temp") == ("words", ["--temperature"])


def test_configs_and_checkpoints_are_completed_and_other_files_are_the_shells(complete):
    Path("runs/best").mkdir(parents=True)
    for name in ("mine.yaml", "runs/best/a.ckpt", "notes.txt", ".hidden.yaml"):
        Path(name).touch()
    ours = sorted(f"configs/{path.name}" for path in shipped_configs())
    assert complete("fit --config ")[1] == [*ours, "mine.yaml", "runs/"]
    assert complete("fit --config mi") == ("paths", ["mine.yaml"])
    assert complete("test --ckpt_path ") == ("paths", ["runs/"])
    assert complete("test --ckpt_path runs/best/") == ("paths", ["runs/best/a.ckpt"])
    assert complete("generate runs/best/") == ("paths", ["runs/best/a.ckpt"])
    assert complete("fit --data.dataset no") == ("default", [])
    assert complete("fit --ckpt_path none/") == ("default", [])


def test_bash_is_answered_by_what_stands_behind_the_equals_sign(complete):
    assert complete("fit --config = configs/long", "bash") == ("words", ["configs/long_memory.yaml"])
    assert complete("fit --model.cell = jan", "bash") == ("words", ["janet"])
    assert complete("fit --config=configs/long", "zsh") == ("words", ["--config=configs/long_memory.yaml"])


def test_without_a_table_it_is_written_once_in_the_background(zoo, monkeypatch):
    begun = []
    monkeypatch.setattr(completion.subprocess, "Popen", lambda command, **_: begun.append(command[1:]))
    assert zoo("__complete", "bash", "fi").out.startswith("words\nfit\t")
    assert zoo("__complete", "bash", "fit", "--model.hid").out == "default\n"
    assert begun == [["-m", "rnnzoo", "__complete", "--learn"]]


def test_a_cache_that_cannot_be_written_is_no_error(zoo, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(completion.subprocess, "Popen", pytest.fail)
    assert zoo("__complete", "bash", "fi").out.startswith("words\nfit\t")


def test_another_shell_is_an_error_that_names_those_that_there_are(zoo):
    assert "bash" in zoo("completion", "tcsh").complaint
    assert "shell" in zoo("completion").complaint


# ---- by the shells themselves


@pytest.fixture
def command(tmp_path_factory):
    """A folder with the command in it, as an installation has."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "rnnzoo").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m rnnzoo "$@"\n')
    (folder / "rnnzoo").chmod(0o755)
    return folder


def by_shell(shell, script, learned, command):
    """What a shell prints."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    env = {**os.environ, "PATH": f"{command}:{os.environ['PATH']}", "RNNZOO_CACHE": str(learned)}
    plain = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run([shell, *plain, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_bash_completes(learned, command):
    Path("my runs").mkdir()
    Path("my runs/a.ckpt").touch()
    script = """
        eval "$(rnnzoo completion bash)"
        try() {
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            _rnnzoo rnnzoo "${COMP_WORDS[COMP_CWORD]}"
            (IFS='|'; echo "${COMPREPLY[*]}")
        }
        complete -p rnnzoo
        try rnnzoo fi
        try rnnzoo fit --model.hid
        try rnnzoo fit --model.cell jan
        try rnnzoo fit --config = configs/long
        try rnnzoo fit --config =
        try rnnzoo test --ckpt_path 'my runs/'
        try rnnzoo fit --data.dataset ''
    """
    assert by_shell("bash", script, learned, command) == [
        "complete -o default -F _rnnzoo rnnzoo",
        *("fit", "--model.hidden_size", "janet", "configs/long_memory.yaml"),
        "|".join([*sorted(f"configs/{path.name}" for path in shipped_configs()), "my runs/"]),
        "my runs/a.ckpt",
        "",
    ]


def test_fish_completes(learned, command):
    script = "rnnzoo completion fish | source; complete -C 'rnnzoo fit --model.hid'; complete -C 'rnnzoo cells jan'"
    assert by_shell("fish", script, learned, command) == ["--model.hidden_size\tfeatures of the hidden state", "janet"]


def test_zsh_takes_the_script(learned, command):
    script = 'autoload -Uz compinit; compinit -u -D; eval "$(rnnzoo completion zsh)"; print $_comps[rnnzoo]'
    assert by_shell("zsh", script, learned, command) == ["_rnnzoo"]
