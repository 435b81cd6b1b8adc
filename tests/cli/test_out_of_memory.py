"""Memory that does not suffice: the batch's shape, and what to set, in one line."""

from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from command_line import TINY_LM, TINY_MEMORY, shell
from torch.utils.data import DataLoader

import rnnzoo
from rnnzoo.training.out_of_memory import is_out_of_memory

LIMIT = """
import resource

import torch
from lightning.pytorch import Callback


class Limit(Callback):
    def on_train_start(self, *_):
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2)


class Full(Callback):  # as CUDA says it
    def on_train_batch_end(self, *_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity")
"""


@pytest.fixture(autouse=True)
def _callbacks(tmp_path):
    (tmp_path / "limit.py").write_text(LIMIT)


def test_a_batch_too_large_for_this_machine_is_said_with_its_shape(tmp_path, text_file):
    given = [*TINY_LM, f"--data.dataset={text_file}", "--trainer.callbacks+=limit.Limit", "--model.kernel=reference"]
    answer = shell("fit", *given, "--model.hidden_size=2048", "--data.batch_size=16", "--data.sequence_length=300",
                   cwd=tmp_path)  # fmt: skip
    # W x + b of every step: 300 x 16 rows of 4 x 2048 numbers of 4 bytes
    assert answer.complaint == (
        "out of memory in training step 0, on a batch of inputs (16, 300), targets (16, 300), positions (16,), where"
        " 150 MiB more were asked for; less is taken with a --data.batch_size below 16, a --data.sequence_length below"
        " 300, --model.checkpoint_every 20 or --trainer.precision bf16-mixed"
    )
    assert list(Path("runs").rglob("*")) == []  # of a run that made no step nothing is left


@pytest.mark.usefixtures("nothing_compiled")
def test_a_gpu_that_is_full_is_said_alike_and_what_is_set_is_not_proposed(zoo):
    given = [*TINY_MEMORY, "--trainer.callbacks+=limit.Full", "--model.checkpoint_every=4"]
    complaint = zoo("fit", *given, "--trainer.precision=bf16-mixed").complaint
    assert "on a batch of x (16, 12, 2), y (16, 1)" in complaint
    assert "where 2.50 GiB more were asked for" in complaint
    assert complaint.endswith("less is taken with a --data.batch_size below 16 or a --data.length below 12")


class Greedy(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(3, 1)

    def training_step(self, batch, index):
        return self.net(batch).sum() + torch.empty(1 << 50).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_in_python_the_error_has_it_as_a_note(tmp_path):
    trainer = rnnzoo.trainer(logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    with pytest.raises(RuntimeError, match="allocate") as error:
        trainer.fit(Greedy(), DataLoader(torch.zeros(8, 3), batch_size=4))
    (note,) = error.value.__notes__
    assert "on a batch of (4, 3), where 4096 TiB more were asked for; less is taken with smaller batches" in note


def test_other_errors_are_none_of_memory():
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shape '[2]' is invalid for input of size 3"))
    assert not is_out_of_memory(ValueError("out of memory"))
