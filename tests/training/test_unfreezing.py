"""Gradual unfreezing and slanted triangular rates (Howard & Ruder 2018): against loops by hand, and across a resume."""

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from rnnzoo import Description, RnnZooError
from rnnzoo.tasks import SequenceTask

pytestmark = pytest.mark.usefixtures("nothing_compiled")

TOKENS = Description(vocabulary=list("abcdefg"), classes=3, answers=1)
STEPS = 3  # of an epoch
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
LAYERS = ("model.head", "model.rnn.layers.1", "model.rnn.layers.0", "model.embedding")  # from the top


class Data(LightningDataModule):
    def __init__(self):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.rows = TensorDataset(
            torch.randint(7, (4 * STEPS, 5), generator=draw), torch.randint(3, (4 * STEPS, 1), generator=draw)
        )

    def train_dataloader(self):
        return DataLoader(self.rows, batch_size=4)


class Moves(Callback):
    """Which layers each epoch changed, and which parameters have a gradient to step by."""

    def __init__(self):
        self.moved = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.before = {name: p.detach().clone() for name, p in pl_module.named_parameters()}

    def on_train_epoch_end(self, trainer, pl_module):
        moved = {name for name, p in pl_module.named_parameters() if not torch.equal(p, self.before[name])}
        self.moved.append([layer for layer in LAYERS if any(name.startswith(layer) for name in moved)])
        whole = {name for name in self.before if name.startswith(tuple(self.moved[-1]))}
        assert moved == whole  # a layer moves whole or not at all


def task(**settings) -> SequenceTask:
    torch.manual_seed(0)
    given = {"cell": "gru", "hidden_size": 6, "num_layers": 2, "embedding_size": 4, "kernel": "reference", **settings}
    return SequenceTask(TOKENS, **{"learning_rate": 0.05, "schedule": "constant", **given}).double()


def fit(model, epochs, resume=None, save=None, **trainer):
    watch = Moves()
    made = Trainer(max_epochs=epochs, callbacks=[watch], enable_checkpointing=False, **QUIET, **trainer)
    made.fit(model, Data(), ckpt_path=resume)
    if save:
        made.save_checkpoint(save)
    return watch.moved


def test_one_more_layer_from_the_head_down_moves_in_each_epoch():
    assert fit(task(unfreeze_every=1), 6) == [list(LAYERS[: k + 1]) for k in range(4)] + [list(LAYERS)] * 2
    assert fit(task(unfreeze_every=2), 5) == [list(LAYERS[:k]) for k in (1, 1, 2, 2, 3)]
    assert fit(task(), 2) == [list(LAYERS)] * 2


def test_the_weights_are_those_of_a_loop_that_adds_groups_to_an_optimizer():
    settings = {"unfreeze_every": 1, "layer_decay": 0.5, "weight_decay": 0.1, "cell": "lstm"}
    model, again = task(**settings), task(**settings)
    fit(model, 5, gradient_clip_val=0.05)  # the norm is that of the layers that are trained
    again.requires_grad_(False)
    optimizer = None
    for epoch in range(5):
        if epoch < 4:
            own = [p for name, p in again.named_parameters() if name.startswith(LAYERS[epoch])]
            group = {"params": [p.requires_grad_(True) for p in own], "lr": 0.05 * 0.5**epoch, "weight_decay": 0.1}
            optimizer = torch.optim.AdamW([group]) if optimizer is None else optimizer
            if epoch:
                optimizer.add_param_group(group)
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        for x, y in Data().train_dataloader():
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(again(x)[:, 0], y[:, 0]).backward()
            norm = torch.stack([p.grad.norm() for p in trained]).norm()
            assert norm > 0.05  # or clipping would not show
            for p in trained:
                p.grad *= 0.05 / (norm + 1e-6)
            optimizer.step()
    for (name, mine), theirs in zip(model.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12, msg=name)
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("epochs", [1, 2, 4])
def test_a_run_that_goes_on_trains_what_one_that_was_never_interrupted_would(tmp_path, epochs):
    settings = {"unfreeze_every": 1, "schedule": "slanted", "layer_decay": 0.4}
    whole, path = task(**settings), tmp_path / "some.ckpt"
    moved = fit(whole, 5)
    first = task(**settings)
    made = Trainer(max_epochs=5, enable_checkpointing=False, **QUIET, callbacks=[StopAfter(epochs)])
    made.fit(first, Data())
    made.save_checkpoint(path)
    again = task(**settings)
    assert fit(again, 5, resume=path) == moved[epochs:]
    for (name, mine), theirs in zip(again.named_parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12, msg=name)


class StopAfter(Callback):
    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch + 1 == self.epochs


def test_frozen_parts_never_join_and_take_no_epoch():
    model = task(unfreeze_every=1, freeze=["layers.1"])
    assert fit(model, 3) == [list(LAYERS[:1]), [LAYERS[0], LAYERS[2]], [LAYERS[0], *LAYERS[2:]]]


def test_slanted_rates_are_those_of_the_paper():
    rates = []

    class Rates(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    made = Trainer(max_epochs=20, callbacks=[Rates()], enable_checkpointing=False, **QUIET)
    made.fit(task(schedule="slanted", learning_rate=0.01, schedule_args={"ratio": 20}), Data())
    total, cut_frac, ratio = 60, 0.1, 20
    cut = int(total * cut_frac)
    for t, rate in enumerate(rates):  # equation 3
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
        assert rate == pytest.approx(0.01 * (1 + p * (ratio - 1)) / ratio)
    assert len(rates) == total
    assert max(rates) == pytest.approx(0.01)


@pytest.mark.parametrize("epochs", [1, 5])
def test_slanted_rates_of_short_runs_stay_above_nothing(epochs):
    rates = []

    class Rates(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    made = Trainer(max_epochs=epochs, callbacks=[Rates()], enable_checkpointing=False, **QUIET)
    made.fit(task(schedule="slanted", learning_rate=0.01, schedule_args={"cut_frac": 0.13}), Data())
    assert max(rates) == pytest.approx(0.01)
    assert min(rates) >= 0.01 / 32


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"unfreeze_every": 0}, "unfreeze_every must be 1 epoch or more, not 0"),
        (
            {"schedule": "slanted", "schedule_args": {"cut": 1}},
            "schedule_args has 'cut'; .*slanted takes: .*cut_frac, ratio",
        ),
    ],
)
def test_settings_that_cannot_be_are_one_line(settings, says):
    with pytest.raises(RnnZooError, match=says):
        task(**settings)
