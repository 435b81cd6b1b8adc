"""`rnnzoo fit`: what it says, what it writes, and that every setting is within reach."""

import contextlib
import os
import pty
import re
import shlex
import subprocess
import sys
import termios
from pathlib import Path

import pytest
import torch
import yaml
from command_line import CONFIGS, TINY_FORECASTER, TINY_LM, shell

from rnnzoo import RNN
from rnnzoo.kernels.fused.products import in_tiles

CONSOLE_SCRIPT = str(Path(sys.executable).with_name("rnnzoo"))
BRIEF = [f"--trainer.limit_{part}_batches=2" for part in ("train", "val", "test", "predict")]


def test_a_quick_run_says_what_ran_what_was_reached_and_where_the_checkpoint_lies(lm_run):
    said = lm_run.answer.out
    assert lm_run.answer.status == 0, lm_run.answer.err
    kind = r"^lstm, 1 x 16 units, [\d,]+ parameters in all; runs by kernel 'native' on 1 threads$"
    assert re.search(kind, said, re.M)
    reached = float(re.search(r"^held-out bits per character: (\d+\.\d+)$", said, re.M)[1])
    assert 0 < reached < 4.5  # 20 characters at random have log2(20) = 4.3
    sample = said.partition("A sample, at temperature 0.7 and top-p 0.9:\n\n")[2].partition("\n\nheld-out")[0]
    assert len(sample) > 400
    assert lm_run.checkpoint.is_file()
    assert "Traceback" not in lm_run.answer.err


def narrow_kernel():
    """What runs an LSTM in bfloat16, and which is faster, depends on the processor."""
    rnn = RNN("lstm", 3, 5)
    with torch.autocast("cpu", torch.bfloat16):
        able = {row.kernel for row in rnn.explain(torch.randn(2, 2, 3)).rows if row.why_not is None}
    return "fused" if in_tiles() or "native" not in able else "native"


@pytest.mark.compiler
@pytest.mark.parametrize(("precision", "kernel"), [("bf16-mixed", narrow_kernel()), ("32-true", "fused")])
def test_the_kernel_that_is_said_to_run_is_that_of_the_precision(zoo, text_file, precision, kernel):
    given = [*TINY_LM, f"--data.dataset={text_file}", "--model.hidden_size=96", "--trainer.max_steps=2", *BRIEF]
    answer = zoo("fit", *given, f"--trainer.precision={precision}", "--data.batch_size=32", "--model.cell=lstm")
    assert answer.status == 0, answer.err
    assert f"runs by kernel '{kernel}'" in answer.out


def test_a_run_leaves_its_config_its_metrics_its_curve_and_two_checkpoints(lm_run):
    there = sorted(str(p.relative_to(lm_run.folder)) for p in lm_run.folder.rglob("*") if p.is_file())
    run = "runs/char_lm/version_0"
    files = ["checkpoints/best.ckpt", "checkpoints/last.ckpt", "config.yaml", "curve.png", "hparams.yaml"]
    assert there == [f"{run}/{name}" for name in [*files, "metrics.csv", "run.json"]]


def suggestions(answer):
    lines = answer.out.partition("Try next:\n")[2].splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


def test_it_suggests_three_commands(lm_run, forecast_run, memory_run):
    for run in (lm_run, forecast_run, memory_run):
        assert [words[0] for words in suggestions(run.answer)] == ["rnnzoo"] * 3


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("task", ["lm", "forecast", "memory"])
def test_each_suggested_command_runs(task, which, zoo, request, monkeypatch):
    run = request.getfixturevalue(f"{task}_run")
    monkeypatch.chdir(run.folder)
    _, *words = suggestions(run.answer)[which]
    if words[0] == "fit":
        words += ["--trainer.logger.save_dir=other", *([] if "--ckpt_path" in words else BRIEF)]
        assert str(run.answer.checkpoint.parents[1]) in " ".join(words)
    answer = zoo(*words)
    assert answer.status == 0, answer.err
    assert answer.out.strip()


@pytest.mark.parametrize("task", ["lm", "forecast"])
def test_a_suggested_run_has_the_users_own_data(task, request):
    run = request.getfixturevalue(f"{task}_run")
    (words,) = [words for words in suggestions(run.answer) if "--model.cell" in words]
    path = words[words.index("--data.dataset") + 1]
    assert Path(path) == request.getfixturevalue({"lm": "text_file", "forecast": "series_file"}[task])
    assert ("--data.target_column" in words) == (task == "forecast")


def test_a_cells_own_arguments_are_not_suggested_for_another(zoo, text_file):
    given = ["--model.cell=janet", "--model.cell_args.beta=0.5", f"--data.dataset={text_file}", *BRIEF]
    fit = zoo("fit", *TINY_LM, *given)
    (words,) = [words for words in suggestions(fit) if "--model.cell" in words]
    answer = zoo(*words[1:], *BRIEF)
    assert answer.status == 0, answer.err
    assert answer.out.startswith("gru, 1 x 16 units")


def test_the_suggested_prompt_survives_a_shell_whatever_the_text_begins_with(zoo, tmp_path):
    (tmp_path / "odd $name").mkdir()
    (tmp_path / "odd $name" / "text.txt").write_text('- "It\'s $HOME `here`!", he said. And so on.\n' * 40)
    fit = zoo("fit", *TINY_LM, "--data.dataset=odd $name/text.txt", "--trainer.logger.save_dir=odd $name/runs", *BRIEF)
    assert fit.status == 0, fit.err
    generate, *others = suggestions(fit)
    answer = zoo(*generate[1:])
    assert answer.status == 0, answer.err
    assert answer.out.startswith("- \"It's $HOME")
    for _, *words in others:
        answer = zoo(*words)
        assert answer.status == 0, answer.err


@pytest.mark.compiler
def test_make_demo_trains_on_the_king_james_text(tmp_path):
    command = ["make", "--no-print-directory", "-n", "demo"]
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    recipe = subprocess.run(command, cwd=CONFIGS.parent, env=outside, capture_output=True, text=True, check=True)
    program, *words = shlex.split(recipe.stdout.splitlines()[-1])
    assert program == ".venv/bin/rnnzoo"
    answer = shell(*words, *BRIEF, "--trainer.max_epochs=1", cwd=tmp_path, launcher=(CONSOLE_SCRIPT,))
    assert answer.status == 0, answer.err
    assert "runs by kernel 'fused'" in answer.out
    assert re.search(r"held-out bits per character: \d", answer.out)
    assert (tmp_path / answer.checkpoint).is_file()
    (line,) = [line for line in answer.out.splitlines() if line.startswith("epoch ")]  # no line a step
    assert re.fullmatch(
        r"epoch 1/1: train_loss [\d.]{5}, val_loss [\d.]{5}, val_bpc [\d.]{5}, lr [\de.-]+ \(.* s\)", line
    )
    assert re.search(r"^  sample: .{80,}$", answer.out, re.M)
    assert "\r" not in answer.out + answer.err


def test_on_a_terminal_a_bar_has_time_and_rate_and_the_digits_of_the_line(tmp_path, text_file):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 160))
    given = [*TINY_LM, f"--data.dataset={text_file}", "--trainer.enable_progress_bar=true", *BRIEF]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen([sys.executable, "-m", "rnnzoo", "fit", *given], cwd=tmp_path, env=env, stdout=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # which is how a terminal ends
        while piece := os.read(ours, 1 << 16):
            shown += piece
    assert run.wait() == 0
    bar = next(line for line in shown.decode().split("\r") if "2/2" in line and "val_bpc=" in line and "lr=" in line)
    assert re.search(r"\[\d\d:\d\d<\d\d:\d\d, +[\d.]+(it/s|s/it)", bar)  # time, time left, rate
    assert re.search(r"val_bpc=\d\.\d\d\d, lr=[\de.-]+\]", bar)
    assert re.search(r"^  sample: .{80,}$", shown.decode().replace("\r\n", "\n"), re.M)


def test_a_sample_an_epoch_changes_nothing_of_a_run(zoo, text_file):
    given = ["fit", *TINY_LM, f"--data.dataset={text_file}", "--model.dropout=0.3", "--trainer.max_epochs=2", *BRIEF]
    plain, shown = zoo(*given), zoo(*given, "--trainer.enable_progress_bar=true")
    assert shown.out.count("  sample: ") == 2
    one, other = (torch.load(a.checkpoint.with_name("last.ckpt"), weights_only=True) for a in (plain, shown))
    assert all(torch.equal(value, other["state_dict"][name]) for name, value in one["state_dict"].items())


def test_any_setting_can_be_changed_on_the_command_line(zoo, text_file):
    given = ["--model.cell", "gru", "--model.hidden_size", "24", "--trainer.precision", "bf16-mixed"]
    answer = zoo("fit", *TINY_LM, *given, "--data.dataset", text_file)
    assert answer.status == 0, answer.err
    assert answer.out.startswith("gru, 1 x 24 units")
    run = answer.checkpoint.parent.parent
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert settings["trainer"]["precision"] == "bf16-mixed"
    content = torch.load(answer.checkpoint, weights_only=True)
    assert (content["hyper_parameters"]["cell"], content["hyper_parameters"]["hidden_size"]) == ("gru", 24)
    assert all(a.dtype == torch.float32 for a in content["state_dict"].values())


@pytest.mark.parametrize("name", [p.stem for p in sorted(CONFIGS.glob("*.yaml"))])
def test_a_printed_config_is_complete_and_can_be_given_back(name, zoo, tmp_path):
    printed = zoo("fit", "--config", CONFIGS / f"{name}.yaml", "--print_config")
    assert printed.status == 0, printed.err
    settings = yaml.safe_load(printed.out)
    own = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    assert settings["trainer"]["gradient_clip_val"] == own["trainer"].get("gradient_clip_val", 1.0)  # the package's
    assert settings["model"]["init_args"]["schedule"] == own["model"]["init_args"].get("schedule", "one_cycle")
    (tmp_path / "whole.yaml").write_text(printed.out)
    assert zoo("fit", "--config", "whole.yaml", "--print_config").out == printed.out


def test_a_printed_config_trains(zoo, tmp_path, text_file):
    printed = zoo("fit", *TINY_LM, "--data.dataset", text_file, "--print_config")
    (tmp_path / "whole.yaml").write_text(printed.out)
    answer = zoo("fit", "--config", "whole.yaml")
    assert answer.status == 0, answer.err
    assert answer.out.startswith("lstm, 1 x 16 units")


def test_what_the_command_line_overrides_is_seen_by_interpolation(zoo, series_file):
    Path("same.yaml").write_text(
        "model:\n  init_args:\n    horizon: ${data.init_args.horizon}\n    season: ${data.init_args.season}\n"
    )
    given = ["--data.dataset", series_file, "--data.column", "load", "--data.horizon", "18", "--data.season", "12"]
    answer = zoo("fit", *TINY_FORECASTER, "--config=same.yaml", *given)
    assert answer.status == 0, answer.err
    saved = torch.load(answer.checkpoint, weights_only=True)
    assert (saved["hyper_parameters"]["horizon"], saved["hyper_parameters"]["season"]) == (18, 12)
    assert saved["state_dict"]["model.head.weight"].shape == (18 * 3, 16)


def test_a_config_shipped_with_the_package_is_found_from_any_folder(zoo):
    answer = zoo("fit", "--config", "configs/forecast.yaml", "--print_config")
    assert yaml.safe_load(answer.out)["model"]["class_path"] == "rnnzoo.tasks.Forecaster"


def test_configs_can_be_laid_over_each_other(zoo, tmp_path):
    (tmp_path / "mine.yaml").write_text("model:\n  init_args:\n    hidden_size: 40\ntrainer:\n  max_epochs: 7\n")
    answer = zoo("fit", "--config", CONFIGS / "char_lm.yaml", "--config", "mine.yaml", "--print_config")
    settings = yaml.safe_load(answer.out)
    assert (settings["model"]["init_args"]["hidden_size"], settings["trainer"]["max_epochs"]) == (40, 7)
    assert settings["model"]["init_args"]["cell"] == "lstm"


def test_the_forecaster_prints_its_error_beside_the_seasonal_naive_forecasts(forecast_run):
    assert forecast_run.answer.status == 0, forecast_run.answer.err
    said = r"^held-out MASE: ([\d.]+)\nthe seasonal-naive forecast's: ([\d.]+) \(1 is"
    mase, naive = map(float, re.search(said, forecast_run.answer.out, re.M).groups())
    assert mase > 0
    assert 0.5 < naive < 1.5  # the noise is that of the training part


def test_the_adding_problem_is_reported_beside_a_constant_prediction(memory_run):
    assert memory_run.answer.status == 0, memory_run.answer.err
    said = r"^held-out mean squared error: ([\d.]+)\na constant prediction's: ([\d.]+)$"
    reached, constant = map(float, re.search(said, memory_run.answer.out, re.M).groups())
    assert constant == pytest.approx(1 / 6, abs=0.06)  # of 80 examples
    assert reached < 1.1 * constant


@pytest.mark.parametrize(
    ("task", "chance"), [("temporal_order", 1.386), ("copying", 2.079), ("permuted_digits", 2.303)]
)
def test_any_long_memory_is_one_command_of_the_issues_form(zoo, task, chance):
    given = ["--data.task", task, "--model.cell", "janet", "--trainer.max_steps=3", "--data.examples=[64,16,16]"]
    given += ["--data.length", "64", "--model.hidden_size=8", "--trainer.enable_progress_bar=false"]
    answer = zoo("fit", "--config", "configs/long_memory.yaml", *given)
    assert answer.status == 0, answer.err
    assert answer.out.startswith("janet, 1 x 8 units")
    said = rf"^held-out accuracy: [\d.]+\nheld-out cross-entropy: [\d.]+\na constant prediction's: [\d.]+, {chance}$"
    assert re.search(said, answer.out, re.M)


@pytest.mark.parametrize("ends_early", ["--trainer.max_steps=3", "--trainer.limit_val_batches=0"])
def test_a_run_that_validates_nothing_still_says_what_it_reached(zoo, text_file, ends_early):
    answer = zoo("fit", *TINY_LM, f"--data.dataset={text_file}", ends_early)
    assert answer.status == 0, answer.err
    assert "held-out bits per character: " in answer.out
    assert answer.checkpoint.name == "last.ckpt"


def test_a_run_that_tests_nothing_says_where_its_checkpoint_lies(zoo, text_file):
    answer = zoo("fit", *TINY_LM, f"--data.dataset={text_file}", "--trainer.limit_test_batches=0")
    assert answer.status == 0, answer.err
    assert answer.checkpoint.is_file()


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 11])
def test_a_run_may_be_as_short_as_it_likes(zoo, text_file, steps):
    answer = zoo("fit", *TINY_LM, f"--data.dataset={text_file}", f"--trainer.max_steps={steps}")
    assert answer.status == 0, answer.err


def test_another_optimizer_can_be_chosen(zoo, text_file):
    given = ["--optimizer=SGD", "--optimizer.lr=0.05", "--trainer.limit_train_batches=2"]
    answer = zoo("fit", *TINY_LM, f"--data.dataset={text_file}", *given)
    assert answer.status == 0, answer.err
    (group,) = torch.load(answer.checkpoint, weights_only=True)["optimizer_states"][0]["param_groups"]
    assert group["lr"] == 0.05
    assert "betas" not in group  # AdamW's
