"""What is logged of a training's speed, by a clock that the test moves; products, against formulas of papers."""

import csv
import itertools

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, IterableDataset

import rnnzoo
from rnnzoo import RNN, Description
from rnnzoo.data.streams import StreamBatch
from rnnzoo.tasks import LanguageModel
from rnnzoo.training import profile, throughput
from rnnzoo.training.profile import Profile
from rnnzoo.training.run_files import TIMED
from rnnzoo.training.throughput import Throughput, products, rows_of

pytestmark = pytest.mark.usefixtures("nothing_compiled")


class Clock:
    """Seconds that pass where a test says so."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    for module in (throughput, profile):
        monkeypatch.setattr(module, "time", made)
    return made


class Slow(IterableDataset):
    """Batches (T, B, I) = (6, 3, 4) that take three seconds each."""

    def __init__(self, clock, count):
        self.clock, self.count = clock, count

    def __len__(self):
        return self.count

    def __iter__(self):
        for _ in range(self.count):
            self.clock.now += 3
            yield torch.ones(6, 3, 4)


class Reader(LightningModule):
    """A step of one second."""

    def __init__(self, clock):
        super().__init__()
        self.clock, self.rnn, self.head = clock, RNN("gru", 4, 5, kernel="reference"), nn.Linear(5, 1)

    def training_step(self, batch, index):
        self.clock.now += 1
        return self.head(self.rnn(batch)[0]).square().mean()

    def validation_step(self, batch, index):
        self.clock.now += 1000

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_tokens_a_second_and_the_wait_for_data_stand_in_metrics_csv(clock, monkeypatch, tmp_path):
    monkeypatch.setattr(throughput, "peak", lambda *_: 1000.0)
    logger = CSVLogger(tmp_path, name=None, version="")
    trainer = Trainer(
        accelerator="cpu", max_epochs=2, logger=logger, callbacks=[Throughput()], log_every_n_steps=4,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    loader = DataLoader(Slow(clock, 8), batch_size=None)
    trainer.fit(Reader(clock), loader, DataLoader(torch.zeros(2, 1)))
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("tokens_per_second")]
    assert [row["step"] for row in rows] == ["3", "7", "11", "15"]
    for row in rows:  # 18 rows in 3 + 1 seconds, and validation's 2,000 seconds between
        assert float(row["tokens_per_second"]) == pytest.approx(18 / 4)
        assert float(row["data_wait"]) == pytest.approx(3 / 4)
        forward = 2 * 3 * 5 * (4 + 5)  # of a row: the RNN's, for this is no task
        assert float(row["gemm_share"]) == pytest.approx(3 * forward * 18 / 4 / 1000)
    assert {"tokens_per_second", "data_wait", "gemm_share"} < set(TIMED)


@pytest.mark.parametrize("size", [{"lengths": None}, {"lengths": [5, 2]}, {"lengths": torch.tensor([5, 2])}])
def test_padding_is_not_counted(size):
    lengths = size["lengths"]
    assert int(rows_of(torch.zeros(5, 2, 4), lengths)) == (10 if lengths is None else 7)
    assert rows_of(pack_sequence([torch.zeros(5, 4), torch.zeros(2, 4)]), None) == 7


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3)])
def test_the_products_of_a_task_are_those_of_its_layers_and_its_head(cell, gates):
    E, H, V, B, T = 6, 8, 11, 2, 7
    model = LanguageModel(
        Description(vocabulary=tuple("abcdefghijk")[:V]), cell=cell, embedding_size=E, hidden_size=H, num_layers=2
    )
    tokens = torch.randint(V, (B, T + 1))
    calls = {}
    hook = model.rnn.register_forward_hook(lambda m, a, k, r: calls.update({m: (a, k, r)}), with_kwargs=True)
    batch = StreamBatch(tokens[:, :-1], tokens[:, 1:], torch.zeros(B, dtype=torch.int64))
    model.judge(batch, "train")
    hook.remove()
    before = model._carried.snapshot()
    drawn = torch.get_rng_state()
    layers = gates * H * (E + H) + gates * H * (H + H)
    assert products(model, batch, calls) == 2 * B * T * (layers + H * V)
    assert model._carried.snapshot()["train"] is before["train"]
    assert torch.equal(torch.get_rng_state(), drawn)
    assert torch.isfinite(model.judge(batch, "train").loss)  # its RNN runs again


def test_a_model_that_cannot_run_again_loses_one_figure_and_says_so(capfd, tmp_path):
    class Once(LanguageModel):
        calls = itertools.count()

        def judge(self, batch, stage):
            if next(self.calls) == 1:
                raise TypeError("not twice")
            return super().judge(batch, stage)

    tokens = torch.randint(3, (4, 2, 6))
    data = DataLoader([StreamBatch(t[:, :-1], t[:, 1:], torch.zeros(2, dtype=torch.int64)) for t in tokens], None)
    trainer = rnnzoo.trainer(logger=False, enable_checkpointing=False, max_epochs=1, default_root_dir=tmp_path)
    trainer.fit(Once(Description(vocabulary=("a", "b", "c")), embedding_size=2, hidden_size=2), data)
    assert "gemm_share is not logged: not twice" in capfd.readouterr().err


def test_weights_do_not_depend_on_what_is_measured(tmp_path):
    def weights(*callbacks):
        torch.manual_seed(0)
        rnn = RNN("gru", 4, 5, 2, dropout=0.5)
        module = Reader(Clock())
        module.rnn = rnn
        trainer = Trainer(
            accelerator="cpu", max_epochs=1, logger=False, callbacks=list(callbacks), log_every_n_steps=2,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(module, DataLoader(Slow(Clock(), 6), batch_size=None))
        return [p.detach().clone() for p in module.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(weights(), weights(Throughput()), strict=True))


def test_a_profile_names_the_largest_costs(clock, capsys, tmp_path):
    class Late(Reader):
        def optimizer_step(self, *args, **kwargs):
            super().optimizer_step(*args, **kwargs)
            self.clock.now += 2

        def training_step(self, batch, index):
            loss = super().training_step(batch, index)
            hook = self.head.weight.register_hook(lambda grad: (self.pause(), hook.remove())[0])
            return loss

        def pause(self):
            self.clock.now += 4

    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, callbacks=[Profile(warm_up=2)], enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Late(clock), DataLoader(Slow(clock, 7), batch_size=None))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "steps of" in line]
    assert line == ("5 steps of 10000 ms; they cost the most: rest of the backward 40 %, data 30 %, optimizer 20 %")
