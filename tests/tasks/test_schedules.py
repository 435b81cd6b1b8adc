"""Learning rates step by step, over a whole run and over one that is interrupted and changed."""

import math

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from rnnzoo.data import CharTextData
from rnnzoo.tasks import LanguageModel

STEPS = 17  # of an epoch


class Rates(Callback):
    """Notes the learning rate that every step is made with."""

    def __init__(self):
        self.rates = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join("abcdefg\n"[(k * k + k // 7) % 8] for k in range(1500)))
    data = CharTextData(str(path), batch_size=4, sequence_length=20)
    assert len(data.train_dataloader()) == STEPS
    return data


def run(data, *, resume=None, save=None, trainer=None, **settings):
    """The rates of a run, which ends in the checkpoint `save`."""
    torch.manual_seed(0)
    model = LanguageModel(data.vocabulary, embedding_size=3, hidden_size=4, **settings)
    watch = Rates()
    options = {"max_epochs": 1, "enable_checkpointing": False, "callbacks": [watch], **(trainer or {})}
    lightning = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, **options
    )
    lightning.fit(model, data, ckpt_path=resume)
    if save:
        lightning.save_checkpoint(save)
    return watch.rates


def one_cycle(peak: float, steps: int) -> list[float]:
    """Smith & Topin 2018 as torch lays it out: cosines from peak / 25 up to it in a tenth, and down to peak / 25e4."""

    def cosine(start, end, fraction):
        return end + (start - end) / 2 * (1 + math.cos(math.pi * fraction))

    top = 0.1 * steps - 1
    return [
        cosine(peak / 25, peak, k / top) if k <= top else cosine(peak, peak / 25e4, (k - top) / (steps - 1 - top))
        for k in range(steps)
    ]


def test_one_cycle_rises_in_a_tenth_of_the_run_and_falls_to_nothing(data):
    rates = run(data, schedule="one_cycle", learning_rate=0.02, trainer={"max_epochs": 2})
    assert rates == pytest.approx(one_cycle(0.02, 2 * STEPS))


def test_cosine_falls_from_the_highest(data):
    rates = run(data, schedule="cosine", learning_rate=0.02)
    assert rates == pytest.approx([0.01 * (1 + math.cos(math.pi * k / STEPS)) for k in range(STEPS)])


def test_constant_stays(data):
    assert run(data, schedule="constant", learning_rate=0.02, trainer={"max_epochs": -1, "max_steps": 5}) == [0.02] * 5


@pytest.mark.parametrize("steps", [1, 2, 3, 9, 10, 11, 15])
def test_one_cycle_rises_and_falls_however_short_the_run(data, steps):
    rates = run(data, schedule="one_cycle", learning_rate=0.02, trainer={"max_steps": steps})
    assert len(rates) == steps
    assert min(rates) > 0
    assert max(rates) <= 0.02 * (1 + 1e-9)
    if steps > 2:
        assert max(rates) > 0.01
        assert rates[-1] < 0.001


def test_a_run_is_as_long_as_its_steps_whatever_the_epochs(data):
    rates = run(data, learning_rate=0.02, trainer={"max_epochs": 9, "max_steps": 25})
    assert rates == pytest.approx(one_cycle(0.02, 25))


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
def test_a_resumed_run_goes_on_with_the_rates_of_the_straight_one(data, tmp_path, schedule):
    path = tmp_path / "half.ckpt"
    run(data, schedule=schedule, trainer={"max_epochs": 2, "limit_train_batches": 10}, save=path)
    straight = run(data, schedule=schedule, trainer={"max_epochs": 4, "limit_train_batches": 10})
    more = run(data, schedule=schedule, trainer={"max_epochs": 4, "limit_train_batches": 10}, resume=path)
    assert more == straight[20:]  # the longer run's schedule, from where it was left


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
def test_a_learning_rate_that_is_changed_on_resume_wins(data, tmp_path, schedule):
    path = tmp_path / "half.ckpt"
    run(data, schedule=schedule, learning_rate=0.02, save=path)
    straight = run(data, schedule=schedule, learning_rate=0.005, trainer={"max_epochs": 2})
    more = run(data, schedule=schedule, learning_rate=0.005, trainer={"max_epochs": 2}, resume=path)
    assert more == pytest.approx(straight[STEPS:])


@pytest.mark.parametrize(
    ("before", "after"), [("one_cycle", "constant"), ("constant", "cosine"), ("cosine", "one_cycle")]
)
def test_a_schedule_that_is_changed_on_resume_wins(data, tmp_path, before, after):
    path = tmp_path / "half.ckpt"
    run(data, schedule=before, learning_rate=0.02, save=path)
    straight = run(data, schedule=after, learning_rate=0.02, trainer={"max_epochs": 2})
    more = run(data, schedule=after, learning_rate=0.02, trainer={"max_epochs": 2}, resume=path)
    assert more == pytest.approx(straight[STEPS:])


def test_a_weight_decay_that_is_changed_on_resume_wins(data, tmp_path):
    first, second = tmp_path / "first.ckpt", tmp_path / "second.ckpt"
    run(data, schedule="constant", weight_decay=0.1, save=first)
    run(data, schedule="constant", weight_decay=0.3, trainer={"max_epochs": 2}, resume=first, save=second)
    decay = [
        torch.load(p, weights_only=True)["optimizer_states"][0]["param_groups"][0]["weight_decay"]
        for p in (first, second)
    ]
    assert decay == [0.1, 0.3]
