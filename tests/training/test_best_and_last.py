"""The checkpoints of a run: whole or not there at all, and the last one is the model as it ended."""

import errno
import os

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging

from rnnzoo import RnnZooError
from rnnzoo.data import LongMemoryData
from rnnzoo.tasks import SequenceTask
from rnnzoo.training.checkpoint_files import WholeFiles, whole_file
from rnnzoo.training.checkpoints import BestCheckpoint, LastCheckpoint


@pytest.fixture
def names_while_writing(monkeypatch):
    """The names of the files that are there when one is about to be whole, and when its name is about to be kept."""
    seen, flush = [], os.fsync

    def look(descriptor):
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        seen.append(sorted(os.listdir(path if os.path.isdir(path) else os.path.dirname(path))))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    return seen


def test_a_file_that_is_being_written_does_not_end_in_ckpt(tmp_path, names_while_writing):
    path = tmp_path / "deep" / "best.ckpt"
    WholeFiles().save_checkpoint({"a": torch.arange(3)}, path)
    (written,), renamed = names_while_writing
    assert not written.endswith(".ckpt")
    assert renamed == ["best.ckpt"]
    assert os.listdir(path.parent) == ["best.ckpt"]
    assert torch.load(path, weights_only=True)["a"].tolist() == [0, 1, 2]


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "last.ckpt"
    path.write_text("the old one")
    monkeypatch.setattr(os, "fsync", full)
    said = r"last\.ckpt' cannot be written: No space left on device"
    with pytest.raises(RnnZooError, match=said), whole_file(path) as file:
        file.write(b"half")
    assert os.listdir(tmp_path) == ["last.ckpt"]
    assert path.read_text() == "the old one"


class SilentTask(SequenceTask):
    """Logs nothing of its validation but a figure of its own."""

    def evaluate(self, batch, stage):
        self.log(f"{stage}_figure", 1.0)


def fit(tmp_path, task, *callbacks, **options):
    data = LongMemoryData(length=12, examples=(32, 8, 8), batch_size=8)
    torch.manual_seed(0)
    model = task(data.problem, hidden_size=4, schedule="constant", learning_rate=0.05)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    own = [BestCheckpoint(), LastCheckpoint()]
    trainer = Trainer(default_root_dir=tmp_path, logger=False, callbacks=[*callbacks, *own], **quiet, **options)
    trainer.fit(model, data)
    return model, tmp_path / "checkpoints"


def test_the_last_checkpoint_is_the_average_where_training_ends_with_one(tmp_path):
    model, folder = fit(tmp_path, SequenceTask, StochasticWeightAveraging(swa_lrs=0.05), max_epochs=4)
    last = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    best = torch.load(folder / "best.ckpt", weights_only=True)["state_dict"]
    for name, value in model.state_dict().items():
        assert torch.equal(last[name], value), name
    assert any(not torch.equal(best[name], last[name]) for name in last)


def test_without_a_val_loss_there_is_a_last_checkpoint_and_a_word_on_the_best(tmp_path):
    with pytest.warns(UserWarning, match=r"no best\.ckpt is written: it is of the lowest val_loss, but .* val_figure"):
        _, folder = fit(tmp_path, SilentTask, max_epochs=2)
    assert os.listdir(folder) == ["last.ckpt"]


class Noted(LastCheckpoint):
    """Notes at which steps it is written."""

    def _save_checkpoint(self, trainer, filepath):
        super()._save_checkpoint(trainer, filepath)
        self.steps = [*getattr(self, "steps", []), trainer.global_step]


@pytest.mark.parametrize(
    ("often", "options", "steps"),
    [
        ({"every_n_steps": 3}, {}, [3, 4, 6, 8, 9, 12]),  # and where each epoch of 4 steps ends
        ({"every_minutes": 1e-9}, {}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ({"every_minutes": None}, {}, [4, 8, 12]),
        (
            {"every_n_steps": 1},
            {"accumulate_grad_batches": 2},
            [1, 2, 3, 4, 5, 6],
        ),  # never between two batches of a step
    ],
)
def test_within_an_epoch_the_last_checkpoint_is_written_as_often_as_is_said(tmp_path, often, options, steps):
    data = LongMemoryData(length=12, examples=(32, 8, 8), batch_size=8)
    model, last = SequenceTask(data.problem, hidden_size=4, schedule="constant"), Noted(**often)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "logger": False}
    Trainer(default_root_dir=tmp_path, callbacks=[last], max_epochs=3, **quiet, **options).fit(model, data)
    assert last.steps == steps


@pytest.mark.parametrize("often", [{"every_n_steps": 0}, {"every_minutes": -1.0}, {"every_minutes": float("nan")}])
def test_what_is_never_is_an_error(often):
    with pytest.raises(RnnZooError, match=r"must be above 0, not .*; null is for none within an epoch"):
        LastCheckpoint(**often)
