"""Tasks and data of one's own, with ours and with each other, by all commands and in Python."""

import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from command_line import shell

import rnnzoo
from rnnzoo.cli import classes

TASKS = '''import torch
from torchmetrics.classification import MulticlassAccuracy

from rnnzoo.models import TokenModel
from rnnzoo.tasks import Judged, Task


class MaskedTokens(Task):
    """Predicts tokens that are hidden from it, from those on both sides."""

    needs = ("vocabulary",)

    def __init__(self, description=None, *, share: float = 0.3, **settings):
        super().__init__(description, **settings)
        self.share, tokens = share, len(self.description.vocabulary)
        self.model = TokenModel(self.settings.rnn(12), tokens + 1, tokens)  # one more, for what is hidden

    def metrics(self):
        return {"accuracy": MulticlassAccuracy(len(self.description.vocabulary), average="micro")}

    def judge(self, batch, stage):
        hidden = torch.rand(batch.inputs.shape, device=self.device) < self.share
        logits = self.model(batch.inputs.masked_fill(hidden, self.model.head.out_features))[0][hidden]
        loss = torch.nn.functional.cross_entropy(logits, batch.inputs[hidden])
        return Judged(loss, hidden.sum(), answers=(logits, batch.inputs[hidden]))

    def predict_step(self, batch, index):
        return {"guess": self.model(batch.inputs)[0].argmax(-1).flatten()}
'''
DATA = '''import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset

from rnnzoo import Description


class Counts(LightningDataModule):
    """Sequences of numbers, and how many of each are above zero."""

    description = Description(input_size=1, classes=0, answers=1, constant=4.0)

    def __init__(self, count: int = 96):
        super().__init__()
        x = torch.randn(count, 8, 1, generator=torch.Generator().manual_seed(0))
        self.rows = TensorDataset(x, (x > 0).sum(1).float())

    def train_dataloader(self):
        return DataLoader(self.rows, batch_size=16, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.rows, batch_size=16)

    test_dataloader = predict_dataloader = val_dataloader
'''
ENDLESS = """from torch.utils.data import DataLoader, IterableDataset

from lab_of_mine.data import Counts


class Rows(IterableDataset):
    def __iter__(self):
        return iter(Counts().rows)


class Endless(Counts):
    def train_dataloader(self):
        return DataLoader(Rows(), batch_size=16)
"""
PLAIN = '''import torch
from lightning.pytorch import LightningModule

from rnnzoo import RNN


class Plain(LightningModule):
    """A LightningModule that knows nothing of rnnzoo's tasks."""

    def __init__(self, hidden_size: int = 6, description=None):
        super().__init__()
        self.rnn = RNN("gru", 1, hidden_size, batch_first=True)
        self.head = torch.nn.Linear(hidden_size, 1)
        self.seen = description

    def step(self, batch):
        x, y = batch
        return torch.nn.functional.mse_loss(self.head(self.rnn(x)[0][:, -1]), y)

    def training_step(self, batch, index):
        return self.step(batch)

    def validation_step(self, batch, index):
        self.log("val_loss", self.step(batch))

    def test_step(self, batch, index):
        self.log("test_loss", self.step(batch))

    def predict_step(self, batch, index):
        return self.head(self.rnn(batch[0])[0][:, -1])[:, 0]

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)
'''
CELL = '''from rnnzoo.cells import GatedCell, Hidden


class Own(GatedCell):
    """Nobody 2026: h_t = tanh(W x + R h) + h_{t-1} / 2."""

    gates = 1

    def update(self, wx, rh, s):
        return Hidden((wx + rh).tanh() + s.h / 2)
'''
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.log_every_n_steps=1"]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder outside the repository with a package `lab_of_mine` in it."""
    package = tmp_path / "lab_of_mine"
    package.mkdir()
    for name, content in {"tasks": TASKS, "data": DATA, "plain": PLAIN, "cells": CELL, "__init__": ""}.items():
        (package / f"{name}.py").write_text(content)
    for name in [name for name in sys.modules if name.startswith("lab_of_mine")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def test_what_one_writes_oneself_is_short():
    for content in (TASKS, DATA):
        assert len([line for line in content.splitlines() if line.strip()]) < 30


def everything(zoo, given: list[str], more: list[str]) -> dict[str, object]:
    """A run by all commands: trained, gone on with, validated, tested, predicted from the checkpoint alone."""
    fit = zoo("fit", *given, *QUIET)
    assert fit.status == 0, fit.err
    last = fit.checkpoint.with_name("last.ckpt")
    on = zoo("fit", "--ckpt_path", last, *more, *QUIET)
    assert on.status == 0, on.err
    first, then = (
        torch.load(path, weights_only=True)["global_step"] for path in (last, on.checkpoint.with_name("last.ckpt"))
    )
    assert then == 2 * first
    said = {}
    for command in ("validate", "test"):
        answer = zoo(command, "--ckpt_path", fit.checkpoint, *QUIET[:1])
        assert answer.status == 0, answer.err
        said[command] = answer.out
    answer = zoo("predict", "--ckpt_path", fit.checkpoint, *QUIET[:1])
    assert answer.status == 0, answer.err
    return {"fit": fit, **said, "predictions": pd.read_parquet("predictions.parquet")}


def test_a_task_of_ones_own_on_our_data_with_a_cell_of_ones_own(zoo, lab, text_file):
    given = ["--model=lab_of_mine.tasks.MaskedTokens", "--data=CharTextData", f"--data.dataset={text_file}"]
    sizes = ["--data.batch_size=4", "--data.sequence_length=32", "--model.hidden_size=16", "--model.bidirectional=true"]
    cell = ["--model.cell=lab_of_mine.cells.Own"]
    told = everything(zoo, [*given, *sizes, *cell], ["--trainer.max_epochs=2"])
    assert "Own, 1 x 16 units" in told["fit"].out
    assert "held-out accuracy: 0." in told["fit"].out
    assert "val_accuracy 0." in told["validate"]
    assert "test_accuracy 0." in told["test"]
    assert list(told["predictions"].columns) == ["guess"]
    model = rnnzoo.load(told["fit"].checkpoint)
    assert not model.training
    assert model.description.vocabulary == sorted(set(text_file.read_text()))
    assert model.hparams["share"] == 0.3
    tuned = zoo(
        "fit",
        *given,
        *sizes,
        *cell,
        f"--model.pretrained={told['fit'].checkpoint}",
        "--model.learning_rate=1e-30",
        *QUIET,
    )
    assert tuned.status == 0, tuned.err
    assert all(torch.equal(w, rnnzoo.load(tuned.checkpoint).state_dict()[n]) for n, w in model.state_dict().items())


def test_our_task_on_data_of_ones_own(zoo, lab):
    given = [
        "--model=SequenceTask",
        "--data=lab_of_mine.data.Counts",
        "--model.hidden_size=8",
        "--trainer.max_epochs=2",
    ]
    told = everything(zoo, given, ["--trainer.max_epochs=4"])
    assert "held-out mean squared error" in told["fit"].out
    assert len(told["predictions"]) == 96
    x = torch.randn(96, 8, 1, generator=torch.Generator().manual_seed(0))  # the rows in the data's own order
    assert torch.tensor(told["predictions"]["target"]).tolist() == (x > 0).sum(1)[:, 0].tolist()
    model = rnnzoo.load(told["fit"].checkpoint)
    alone = model.predict(x.numpy())
    torch.testing.assert_close(torch.tensor(alone["prediction"]), torch.tensor(told["predictions"]["prediction"]))


def test_a_plain_lightning_module_on_plain_data(zoo, lab):
    given = [
        "--model=lab_of_mine.plain.Plain",
        "--data=lab_of_mine.data.Counts",
        "--model.hidden_size=5",
        "--trainer.max_epochs=2",
    ]
    told = everything(zoo, given, ["--trainer.max_epochs=4"])
    assert "held-out loss: " in told["fit"].out
    assert "test_loss" in told["test"]
    model = rnnzoo.load(told["fit"].checkpoint)
    assert model.rnn.hidden_size == 5  # a setting that it has not saved itself
    assert model.seen.input_size == model.description.input_size == 1
    tuned = zoo("fit", *given, f"--model.pretrained={told['fit'].checkpoint}", "--trainer.max_steps=1", *QUIET)
    assert tuned.status == 0, tuned.err
    both = [f"--model.pretrained={told['fit'].checkpoint}", f"--ckpt_path={told['fit'].checkpoint}"]
    assert "are both given: one goes on with a run, the other starts one" in zoo("fit", *given, *both).complaint
    other = zoo("fit", *given[:2], "--model.hidden_size=7", f"--model.pretrained={told['fit'].checkpoint}", *QUIET)
    assert other.status == 0, other.err  # the head's bias alone fits
    assert "has nothing for rnn.layers.0.0.weight_ih" in other.out


def test_what_does_not_fit_together_is_one_line_that_names_both_sides(zoo, lab, text_file, series_file):
    mine, ours = "--model=lab_of_mine.tasks.MaskedTokens", "--data=lab_of_mine.data.Counts"
    said = zoo("fit", mine, ours, *QUIET).complaint
    assert said.startswith("MaskedTokens needs the vocabulary of its data, which Counts has not: it has input_size 1,")
    said = zoo("fit", mine, "--data=SeriesData", f"--data.dataset={series_file}", *QUIET).complaint
    assert said.startswith(
        "MaskedTokens needs the vocabulary of its data, which SeriesData has not; data that have it: "
    )
    assert "CharTextData" in said
    given = ["--model=lab_of_mine.plain.Plain", "--data=CharTextData", f"--data.dataset={text_file}"]
    with pytest.raises(ValueError, match="too many values to unpack") as failed:  # its own mistake, with its traceback
        zoo("fit", *given, "--data.batch_size=2", *QUIET)
    assert failed.value.__notes__ == ["Plain ran on batches of CharTextData: does it take what these are?"]


def test_a_run_that_cannot_begin_leaves_no_folder_and_what_cannot_be_predicted_is_said(zoo, lab):
    (lab / "lab_of_mine" / "endless.py").write_text(ENDLESS)
    endless = ["--model=SequenceTask", "--data=lab_of_mine.endless.Endless", "--model.hidden_size=4", *QUIET]
    said = zoo("fit", *endless).complaint
    assert "set trainer.max_steps, or for data of a known length trainer.max_epochs (now -1 and 1)" in said
    assert not list((lab / "runs").rglob("*.yaml"))
    (lab / "alone").mkdir()
    (lab / "alone" / "config.yaml").write_text("mine")
    away = ["--trainer.logger=false", "--trainer.enable_checkpointing=false", "--trainer.default_root_dir=alone"]
    assert zoo("fit", *endless, *away).status == 2
    assert (lab / "alone" / "config.yaml").read_text() == "mine"
    told = zoo("fit", *endless, "--trainer.max_steps=3")
    assert told.status == 0, told.err
    (lab / "lab_of_mine" / "silent.py").write_text(PLAIN.replace("predict_step", "predictions"))
    silent = zoo("fit", "--model=lab_of_mine.silent.Plain", "--data=lab_of_mine.data.Counts", *QUIET)
    said = zoo("predict", "--ckpt_path", silent.checkpoint).complaint
    assert said == "Plain defines no predict_step, which gives what is to be predicted"


def test_an_installed_package_makes_its_tasks_and_data_known_by_name(lab, tmp_path, zoo, monkeypatch):
    about = tmp_path / "lab_of_mine-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab_of_mine\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[rnnzoo.tasks]\nmasked = lab_of_mine.tasks:MaskedTokens\nbroken = lab_of_mine.tasks:Nothing\n"
        "[rnnzoo.data]\ncounts = lab_of_mine.data:Counts\n"
    )
    answer = shell("fit", "--model", "SequenceTask", "--data=counts", "--trainer.max_steps=2", *QUIET, cwd=tmp_path)
    assert answer.status == 0, answer.err
    assert "entry point 'broken' of rnnzoo.tasks is left out" in answer.err
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(classes, "installed", classes.installed.__wrapped__)  # this process has asked before
    complaint = zoo("fit", "--model", "masked", "--data=counts", *QUIET).complaint
    assert "MaskedTokens needs the vocabulary of its data, which Counts has not" in complaint


SCRIPT = """
import rnnzoo
from lab_of_mine.data import Counts
from rnnzoo.tasks import SequenceTask

data = Counts()
model = SequenceTask(data.description, cell="lab_of_mine.cells.Own", hidden_size=8, learning_rate=0.01)
trainer = rnnzoo.trainer("counts", max_epochs=3, enable_progress_bar=False)
trainer.fit(model, data)
tested = trainer.test(model, data, verbose=False)
path = trainer.checkpoint_callback.best_model_path
again = rnnzoo.load(path)
predictions = again.predict(data.rows.tensors[0])
"""


def test_the_same_in_a_script(lab, monkeypatch):
    monkeypatch.syspath_prepend(lab)
    (lab / "script.py").write_text(SCRIPT)
    found = runpy.run_path(str(lab / "script.py"))
    assert Path(found["path"]).parent == Path("runs/counts/version_0/checkpoints")
    assert {p.name for p in Path(found["path"]).parent.iterdir()} == {"best.ckpt", "last.ckpt"}
    targets = found["data"].rows.tensors[1][:, 0]
    best = (torch.tensor(found["predictions"]["prediction"]) - targets).square().mean()
    assert best == pytest.approx(found["trainer"].checkpoint_callback.best_model_score.item(), rel=1e-4)
    assert found["again"].rnn.layers[0][0].__class__.__name__ == "Own"


def test_a_plain_trainer_trains_a_task(lab, text_file):
    from lightning.pytorch import Trainer

    from rnnzoo.data import CharTextData
    from rnnzoo.tasks import LanguageModel

    data = CharTextData(str(text_file), batch_size=4, sequence_length=32)
    model = LanguageModel(data.description, hidden_size=8, embedding_size=4)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    trainer = Trainer(max_epochs=1, accelerator="cpu", **quiet)
    trainer.fit(model, data)
    assert trainer.callback_metrics["val_bpc"] > 0
