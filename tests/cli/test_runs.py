"""What a run leaves to be looked at, `rnnzoo runs` and `rnnzoo plot`."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import TINY_MEMORY
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger
from PIL import Image

from rnnzoo.cli.runs import labels
from rnnzoo.errors import RnnZooError
from rnnzoo.training import loggers
from rnnzoo.training.run_files import read_metrics, this_process

# 4 batches an epoch
FIT = ["fit", *TINY_MEMORY, "--trainer.max_steps=-1", "--data.examples=[64,32,32]", "--trainer.log_every_n_steps=1"]


def fitted(answer) -> Path:
    assert answer.status == 0, answer.err
    return answer.checkpoint.parent.parent


def record(run: Path) -> dict:
    return json.loads((run / "run.json").read_text())


def drawn(path: Path) -> bool:
    """Whether a picture is whole, of a size to look at, and not all white."""
    with Image.open(path) as image:
        image.load()
        seen = np.asarray(image.convert("L"))
    return min(seen.shape) > 400 and float((seen < 200).mean()) > 0.005


@pytest.fixture(scope="module")
def shelf(memory_run, lm_run, tmp_path_factory) -> Path:
    """A folder of two runs of different tasks, which no test changes."""
    folder = tmp_path_factory.mktemp("shelf")
    for run in (memory_run, lm_run):
        shutil.copytree(run.folder / "runs", folder / "runs", dirs_exist_ok=True)
    return folder / "runs"


@pytest.fixture
def copied(shelf, tmp_path) -> Path:
    """Two runs of one task, as `runs` in the working folder."""
    for k, cell in enumerate(("gru", "lstm")):
        shutil.copytree(shelf / "long_memory/version_0", tmp_path / f"runs/long_memory/version_{k}")
        config = tmp_path / f"runs/long_memory/version_{k}/config.yaml"
        config.write_text(re.sub(r"(    cell: )\w+", rf"\1{cell}", config.read_text()))
    return tmp_path / "runs"


# ---- what a run leaves


def test_a_finished_run_has_a_curve_and_a_record(shelf):
    run = shelf / "char_lm/version_0"
    assert drawn(run / "curve.png")
    content, table = record(run), pd.read_csv(run / "metrics.csv")
    known = [content[name] for name in ("state", "cell", "hidden_size", "num_layers")]
    assert known == ["finished", "lstm", 16, 1]
    assert (content["steps"], content["epochs"]) == (table["step"].max(), 1)  # the row of the test stands one behind
    assert content["best"] == pytest.approx(table["val_loss"].min())
    assert 0 < table["seconds"].iloc[0] <= table["seconds"].iloc[-1]
    assert content["seconds"] > 0


def test_a_run_that_goes_on_draws_what_it_adds(zoo):
    first = fitted(zoo(*FIT, "--trainer.max_epochs=1"))
    again = fitted(zoo("fit", "--ckpt_path", first / "checkpoints/last.ckpt", "--trainer.max_epochs=2"))
    assert drawn(again / "curve.png")
    assert record(again)["goes_on_from"] == str(first / "checkpoints/last.ckpt")
    assert (record(again)["steps"], record(again)["epochs"]) == (8, 2)
    assert min(read_metrics(again)["train_loss"].steps) == 4
    listed = json.loads(zoo("runs", "--json").out)
    assert [(run["run"], run["steps"]) for run in listed] == [
        ("long_memory/version_0", 4),
        ("long_memory/version_1", 8),
    ]


class Interrupt(Callback):
    """Ctrl-C in the middle of a run."""

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 6:
            os.kill(os.getpid(), signal.SIGINT)


class Fail(Callback):
    """An error in the middle of a run."""

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 6:
            raise RuntimeError("six steps are enough")


def test_a_run_that_is_stopped_has_a_curve_and_says_so(zoo):
    answer = zoo(*FIT, "--trainer.max_epochs=3", "--trainer.callbacks+=test_runs.Interrupt")
    assert answer.status == 130
    (run,) = Path("runs/long_memory").iterdir()
    assert drawn(run / "curve.png")
    assert (record(run)["state"], record(run)["steps"]) == ("stopped", 6)
    assert re.search(r"long_memory/version_0 .* stopped ", zoo("runs").out)


def test_a_run_that_fails_says_so(zoo):
    with pytest.raises(RuntimeError, match="six steps"):
        zoo(*FIT, "--trainer.max_epochs=3", "--trainer.callbacks+=test_runs.Fail")
    assert record(Path("runs/long_memory/version_0"))["state"] == "failed"


class FailFirst(Callback):
    """An error in the first step."""

    def on_train_batch_start(self, *_):
        raise RuntimeError("not one step")


class RefuseFirst(Callback):
    """A word about the data in the first step."""

    def on_train_batch_start(self, *_):
        raise RnnZooError("not such data")


def test_a_run_that_fails_in_its_first_step_leaves_nothing(zoo):
    with pytest.raises(RuntimeError, match="not one step"):
        zoo(*FIT, "--trainer.max_epochs=3", "--trainer.callbacks+=test_runs.FailFirst")
    assert not list(Path("runs").rglob("*.*"))
    refused = zoo(*FIT, "--trainer.max_epochs=3", "--trainer.callbacks+=test_runs.RefuseFirst")
    assert refused.complaint == "not such data"
    assert not list(Path("runs").rglob("*.*"))
    assert fitted(zoo(*FIT, "--trainer.max_epochs=1")).name == "version_0"


class InterruptEarly(Callback):
    """Ctrl-C before the training begins."""

    def setup(self, trainer, pl_module, stage):
        raise KeyboardInterrupt


def test_a_run_that_is_stopped_before_it_began_makes_no_folder_for_its_curve(zoo):
    assert zoo(*FIT, "--trainer.max_epochs=1", "--trainer.callbacks+=test_runs.InterruptEarly").status == 130
    assert not list(Path.cwd().rglob("run.json")) + list(Path.cwd().rglob("curve.png"))


def test_a_curve_that_cannot_be_drawn_is_one_warning(zoo, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rnnzoo.training.curve.save", full)
    answer = zoo(*FIT, "--trainer.max_epochs=1")
    assert not (fitted(answer) / "curve.png").exists()
    warnings = [line for line in answer.err.splitlines() if line.startswith("rnnzoo: warning")]
    assert warnings == ["rnnzoo: warning: runs/long_memory/version_0/curve.png is not drawn: No space left on device"]
    assert "held-out" in answer.out


def test_a_run_without_metrics_csv_draws_nothing(zoo, tmp_path):
    assert zoo(*FIT, "--trainer.max_epochs=1", "--trainer.logger=false").status == 0
    assert not list(tmp_path.rglob("curve.png")) + list(tmp_path.rglob("run.json"))


# ---- runs


def test_runs_lists_cell_size_figures_and_time(zoo, shelf):
    answer = zoo("runs", shelf)
    assert answer.status == 0, answer.err
    _, _, *lines = answer.out.splitlines()
    line = next(line for line in lines if "char_lm/version_0" in line)
    for what in ("LanguageModel", "lstm", "1 x 16", "val_bpc ", "test_bpc ", " s ", "finished"):
        assert what in line
    assert len(lines) == 2


def test_the_figures_as_json_are_those_of_metrics_csv(zoo, shelf):
    for run in json.loads(zoo("runs", shelf, "--json").out):
        table = pd.read_csv(shelf / run["run"] / "metrics.csv", float_precision="round_trip")
        best = table.loc[table["val_loss"].idxmin()]
        assert run["best"] == {name: pytest.approx(best[name]) for name in table if name.startswith("val_")}
        assert run["test"] == {name: table[name].dropna().iloc[-1] for name in table if name.startswith("test_")}
        assert run["missing"] == []


def test_runs_are_sorted_by_date_or_by_a_metric(zoo, copied):
    newer = copied / "long_memory/version_0/run.json"
    newer.write_text(newer.read_text().replace('"started": "20', '"started": "21'))
    table = pd.read_csv(copied / "long_memory/version_1/metrics.csv")
    table["val_loss"] += 9
    table.to_csv(copied / "long_memory/version_1/metrics.csv", index=False)

    def order(*given):
        return [run["run"][-1] for run in json.loads(zoo("runs", "--json", *given).out)]

    assert order() == ["1", "0"]
    assert order("--sort=val_loss") == ["0", "1"]
    said = zoo("runs", "--sort=val_los").complaint
    assert "did you mean 'val_loss'?" in said


def test_what_is_broken_or_foreign_is_listed_with_what_is_missing(zoo, copied):
    (copied / "long_memory/version_0/run.json").write_text("{")
    (copied / "long_memory/version_1/metrics.csv").unlink()
    (copied / "long_memory/version_1/config.yaml").write_text("a: [")
    (copied / "pictures").mkdir()
    (copied / "long_memory/version_2").mkdir()
    listed = {run["run"]: run["missing"] for run in json.loads(zoo("runs", "--json").out)}
    assert listed["pictures"] == listed["long_memory/version_2"] == ["no config.yaml", "no metrics.csv"]
    assert listed["long_memory/version_0"][0].startswith("run.json cannot be read: ")
    assert listed["long_memory/version_1"][0].startswith("config.yaml cannot be read: ")
    assert listed["long_memory/version_1"][1] == "no metrics.csv"
    assert zoo("runs").status == 0


@pytest.mark.parametrize(
    ("process", "state"),
    [({}, "running"), ({"started": "1"}, "killed"), ({"id": 2**30}, "killed"), ({"host": "elsewhere"}, None)],
)
def test_a_run_that_was_killed_is_told_from_one_that_runs(zoo, copied, process, state):
    path = copied / "long_memory/version_0/run.json"
    content = json.loads(path.read_text()) | {"state": "running", "process": this_process() | process}
    path.write_text(json.dumps(content | {"seconds": None}))
    listed = json.loads(zoo("runs", "--json").out)
    assert next(run for run in listed if run["run"].endswith("_0"))["state"] == state


def test_where_there_are_no_runs_runs_says_so(zoo, tmp_path):
    assert zoo("runs").complaint.startswith("folder 'runs' does not exist;")
    (tmp_path / "runs").mkdir()
    assert zoo("runs").out == "no runs in 'runs'; `rnnzoo fit` makes them\n"


# ---- plot


def test_plot_draws_the_runs_of_a_folder_or_by_their_checkpoints(zoo, copied):
    assert zoo("plot", "runs").out == "2 runs in curves.png\n"
    assert drawn(Path("curves.png"))
    checkpoint = copied / "long_memory/version_0/checkpoints/best.ckpt"
    given = [checkpoint, copied / "long_memory/version_1", "--output=new/some.svg", "--x=time", "--metric=train_loss"]
    assert zoo("plot", *given).out == "2 runs in new/some.svg\n"
    assert "gru" in Path("new/some.svg").read_text()


def test_a_run_is_labelled_by_what_differs(shelf, copied):
    first, second = (copied / f"long_memory/version_{k}" for k in range(2))
    assert labels([first, second]) == {first: "gru", second: "lstm"}
    (second / "config.yaml").write_text((first / "config.yaml").read_text())
    assert labels([first, second]) == {first: "version_0", second: "version_1"}
    third = copied / "long_memory/version_2"
    shutil.copytree(second, third)
    (third / "config.yaml").write_text((first / "config.yaml").read_text().replace("hidden_size: 16", "hidden_size: 8"))
    assert labels([first, second, third]) == {
        first: "hidden_size 16 (version_0)",
        second: "hidden_size 16 (version_1)",
        third: "hidden_size 8",
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nowhere"], "run 'nowhere' does not exist"),
        (["empty"], "'empty' holds no run"),
        (["runs", "--metric=val_los"], "did you mean 'val_loss'? there are: "),
        (["runs", "--output=file/curves.png"], "--output 'file/curves.png' cannot be written"),
        (["runs", "--output=curves.doc"], "must end in one of .png, .svg, .pdf"),
        (["runs/long_memory/version_0", "--x=hours"], "invalid choice: 'hours'"),
        (["file"], "'file' does not lie in a run's folder"),
        (["forecast", "best.ckpt"], "checkpoint 'best.ckpt' does not exist"),
        ([], "the following arguments are required: RUN"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(zoo, copied, given, said):
    Path("empty").mkdir()
    Path("file").touch()
    assert said in zoo("plot", *given).complaint
    assert not Path("curves.png").exists()


# ---- other loggers


def test_a_logger_that_is_unknown_or_not_installed_is_one_line(zoo, monkeypatch):
    assert "did you mean 'tensorboard'?" in zoo(*FIT, "--logger=tensorbord").complaint
    monkeypatch.setattr("rnnzoo.training.loggers.find_spec", lambda name: None)
    said = zoo(*FIT, "--logger=[csv,wandb]").complaint
    assert said == "--logger wandb needs the package 'wandb', which is not installed: pip install wandb"
    assert not Path("runs").exists()


def test_another_logger_gets_the_runs_figures_beside_metrics_csv(zoo, monkeypatch):
    def other(run, root, name):
        return CSVLogger(run, name="other", version="")

    monkeypatch.setitem(loggers._MAKERS, "wandb", other)
    monkeypatch.setattr("rnnzoo.training.loggers.find_spec", lambda name: name)
    run = fitted(zoo(*FIT, "--trainer.max_epochs=1", "--logger=wandb"))
    for folder in (run, run / "other"):
        assert {"train_loss", "val_loss", "test_loss"} <= set(read_metrics(folder))
    assert drawn(run / "curve.png")
    evaluated = zoo("test", "--ckpt_path", run / "checkpoints/last.ckpt", "--logger=wandb")
    assert "--logger has no effect on test: it is for fit" in evaluated.err
    said = zoo("fit", "--ckpt_path", run / "checkpoints/last.ckpt", "--trainer.logger=false", "--trainer.max_epochs=2")
    assert "give one of both" in said.complaint
