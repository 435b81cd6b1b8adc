"""Optimizers and schedules by name: against torch's own, given the same by hand."""

import math

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from rnnzoo import Description, RnnZooError
from rnnzoo.tasks import LanguageModel, SequenceTask, load_task

NUMBERS = Description(input_size=1, classes=0, answers=1)
STEPS = 4  # of an epoch
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}


class Data(LightningDataModule):
    def __init__(self):
        super().__init__()
        x = torch.randn(8 * STEPS, 5, 1, generator=torch.Generator().manual_seed(0))
        self.rows = TensorDataset(x, x.sum(1))

    def train_dataloader(self):
        return DataLoader(self.rows, batch_size=8)

    val_dataloader = train_dataloader


class Rates(Callback):
    """Notes the learning rates of all groups that every step is made with."""

    def __init__(self):
        self.rates = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])


def task(**settings) -> SequenceTask:
    torch.manual_seed(0)
    return SequenceTask(NUMBERS, cell="gru", hidden_size=4, kernel="reference", **settings)


def fit(model, epochs=1, resume=None, save=None, **trainer):
    watch = Rates()
    made = Trainer(max_epochs=epochs, callbacks=[watch], enable_checkpointing=False, **QUIET, **trainer)
    made.fit(model, Data(), ckpt_path=resume)
    if save:
        made.save_checkpoint(save)
    return watch.rates


@pytest.mark.parametrize(
    ("settings", "make"),
    [
        ({"optimizer": "SGD", "optimizer_args": {"momentum": 0.9}}, lambda p: torch.optim.SGD(p, 0.01, momentum=0.9)),
        ({"optimizer": "torch.optim.Adam", "weight_decay": 0.1}, lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1)),
        ({}, lambda p: torch.optim.AdamW(p, 0.01)),
        ({"optimizer": "RMSprop", "optimizer_args": {"alpha": 0.5}}, lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.5)),
        ({"optimizer": "LBFGS", "optimizer_args": {"max_iter": 2}}, lambda p: torch.optim.LBFGS(p, 0.01, max_iter=2)),
    ],
)
def test_an_optimizer_by_name_ends_where_a_loop_by_hand_with_torchs_own_does(settings, make):
    model, again = (task(**settings, learning_rate=0.01, schedule="constant") for _ in range(2))
    fit(model)
    optimizer = make(again.parameters())
    for x, y in Data().train_dataloader():

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(again.model(x)[:, 0], y)
            loss.backward()
            return loss

        optimizer.step(closure)
    for mine, theirs in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_kinds_of_parameters_are_left_without_weight_decay():
    model = LanguageModel(["a", "b"], embedding_size=3, hidden_size=4, weight_decay=0.5, no_decay=["bias", "embedding"])
    model.norm = torch.nn.LayerNorm(4)
    groups = {g["weight_decay"]: {id(p) for p in g["params"]} for g in model.settings.groups(model)}
    without = {"model.embedding.weight", "model.head.bias", "norm.weight", "norm.bias"}
    without |= {name for name, _ in model.named_parameters() if "bias_" in name}
    assert groups[0.0] == {id(p) for name, p in model.named_parameters() if name in without}
    assert groups[0.5] == {id(p) for name, p in model.named_parameters() if name not in without}


def test_the_learning_rate_falls_from_layer_to_layer_down_to_the_embedding():
    model = LanguageModel(["a", "b"], embedding_size=3, hidden_size=4, num_layers=3, learning_rate=0.8, layer_decay=0.5)
    rates = {id(p): g["lr"] for g in model.settings.groups(model) for p in g["params"]}
    found = {name: rates[id(p)] for name, p in model.named_parameters()}
    assert found["model.head.weight"] == 0.8
    assert [found[f"model.rnn.layers.{k}.0.weight_hh"] for k in range(3)] == [0.1, 0.2, 0.4]
    assert found["model.embedding.weight"] == 0.05
    rates = fit(task(num_layers=2, layer_decay=0.5, learning_rate=0.02, schedule="cosine"), epochs=2)
    expected = [[0.5 * r * (1 + math.cos(math.pi * k / 8)) for r in (0.005, 0.01, 0.02)] for k in range(8)]
    assert [sorted(r) for r in rates] == [pytest.approx(e) for e in expected]


def test_a_schedule_of_torch_counts_epochs_unless_told_otherwise():
    rates = fit(task(learning_rate=0.08, schedule="StepLR", schedule_args={"step_size": 1, "gamma": 0.5}), epochs=3)
    assert rates == [[0.08]] * STEPS + [[0.04]] * STEPS + [[0.02]] * STEPS
    given = {"step_size": 2, "gamma": 0.5, "interval": "step"}
    rates = fit(task(learning_rate=0.08, schedule="torch.optim.lr_scheduler.StepLR", schedule_args=given), epochs=2)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 0.08)
    steps = StepLR(optimizer, 2, 0.5)
    by_hand = []
    for _ in range(2 * STEPS):
        by_hand.append([optimizer.param_groups[0]["lr"]])
        optimizer.step()
        steps.step()
    assert rates == by_hand


@pytest.mark.parametrize(("schedule", "warmup"), [("cosine", 3), ("constant", 6)])  # behind the warm-up, and within
def test_a_run_that_goes_on_has_the_rates_of_one_that_was_never_interrupted(tmp_path, schedule, warmup):
    given = {"schedule": schedule, "warmup": warmup, "learning_rate": 0.1}
    path = str(tmp_path / "one.ckpt")
    whole = fit(task(**given), epochs=3)
    fit(task(**given), epochs=1, save=path)
    assert fit(task(**given), epochs=3, resume=path) == [pytest.approx(rates) for rates in whole[STEPS:]]


@pytest.mark.parametrize("warmup", [5, 0.5])
def test_a_warm_up_rises_in_a_line_and_then_the_schedule_has_the_rest_of_the_run(warmup):
    rates = [r for (r,) in fit(task(learning_rate=0.1, schedule="cosine", warmup=warmup), epochs=3)]
    warm = 5 if warmup == 5 else 6
    rise = [0.1 * (1e-3 + (1 - 1e-3) * k / warm) for k in range(warm)]
    rest = 3 * STEPS - warm
    assert rates == pytest.approx(rise + [0.05 * (1 + math.cos(math.pi * k / rest)) for k in range(rest)])


def test_reduce_on_plateau_watches_the_validation_and_follows_a_warm_up():
    given = {"patience": 0, "factor": 0.5, "threshold": 10.0, "threshold_mode": "abs"}  # nothing is an improvement
    model = task(learning_rate=0.08, schedule="ReduceLROnPlateau", schedule_args=given, warmup=2)
    rates = [r for (r,) in fit(model, epochs=4)]
    assert rates[:3] == pytest.approx([0.08e-3, 0.08 * 0.5005, 0.08])
    assert rates[STEPS : 2 * STEPS] == pytest.approx([0.08] * STEPS)  # the first value is the best so far
    assert rates[2 * STEPS :: STEPS] == pytest.approx([0.04, 0.02])


def test_an_epochs_schedule_goes_on_after_a_resume_where_it_was_and_with_what_was_changed(tmp_path):
    given = {"schedule": "StepLR", "schedule_args": {"step_size": 1, "gamma": 0.5}}
    whole = fit(task(learning_rate=0.08, **given), epochs=4)
    path = str(tmp_path / "half.ckpt")
    fit(task(learning_rate=0.08, **given), epochs=2, save=path)
    assert fit(task(learning_rate=0.08, **given), epochs=4, resume=path) == whole[2 * STEPS :]
    assert fit(task(learning_rate=0.8, **given), epochs=4, resume=path) == [[10 * r] for (r,) in whole[2 * STEPS :]]
    other = fit(task(learning_rate=0.5, optimizer="SGD", schedule="constant"), epochs=3, resume=path)
    assert other == [[0.5]] * STEPS


def test_frozen_parts_stay_as_they_are_and_the_others_learn(tmp_path):
    model = task(num_layers=2, freeze=["layers.0", "head"], learning_rate=0.1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    fit(model, save=tmp_path / "frozen.ckpt")
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) == ("layers.0." in name or "head" in name), name
    assert load_task(tmp_path / "frozen.ckpt").hparams["freeze"] == ["layers.0", "head"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"optimizer": "Admw"}, r"optimizer 'Admw' is unknown; did you mean 'Adam'\? there are: .*SGD"),
        ({"optimizer": "torch.nn.Linear"}, "optimizer 'torch.nn.Linear' is unknown; there are: "),
        ({"optimizer": "no_lab.Mine"}, "optimizer 'no_lab.Mine' cannot be imported: No module named 'no_lab'"),
        ({"optimizer_args": {"lr": 1}}, "optimizer_args has 'lr', which the setting learning_rate is for"),
        ({"optimizer_args": {"momentun": 1}}, "optimizer_args has 'momentun'; AdamW takes: "),
        ({"optimizer": "SGD", "optimizer_args": {"momentun": 1}}, r"'momentun'; did you mean 'momentum'\? SGD takes"),
        (
            {"schedule": "step"},
            r"schedule 'step' is unknown; did you mean 'StepLR'\? there are: one_cycle, cosine, ",
        ),
        ({"schedule": "StepLR", "schedule_args": {"size": 1}}, "schedule_args has 'size'; .*StepLR takes: step_size"),
        ({"no_decay": ["biases"]}, r"no_decay has 'biases'; did you mean 'bias'\? it may have: bias, norm, embedding"),
        ({"layer_decay": 0}, r"layer_decay must be in \(0, 1\], not 0"),
        ({"warmup": -1}, "warmup must be 0 or more, not -1"),
        ({"weight_decay": -1}, "weight_decay must be 0 or more, not -1"),
        ({"hiden_size": 3}, r"SequenceTask has no setting 'hiden_size'; did you mean 'hidden_size'\? beside its own"),
        ({"learning_rate": 0}, "learning_rate must be above 0, not 0"),
        ({"initialization": "chrno"}, r"initialization 'chrno' is unknown; did you mean 'chrono'\? there are: "),
        (
            {"initialization": "chrono"},
            r"initialization 'chrono': .*missing 1 required positional argument: 'max_steps'",
        ),
        ({"initialization": {"chrono": {"max_steps": 1}}}, "max_steps of chrono_ must be a whole number of at least 3"),
    ],
)
def test_a_wrong_setting_is_one_line_when_the_task_is_made(settings, says):
    with pytest.raises(RnnZooError, match=says):
        task(**settings)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"freeze": ["embeding"]}, "freeze has 'embeding'; .*there are: model.head, model.rnn.layers.0.0"),
        ({"freeze": ["model"]}, "leaves nothing to train"),
        ({"schedule": "StepLR"}, "schedule StepLR: .*missing 1 required positional argument: 'step_size'"),
        (
            {"schedule": "StepLR", "schedule_args": {"step_size": 1, "interval": "day"}},
            "must be 'step' or 'epoch', not 'd",
        ),
        ({"optimizer": "LBFGS", "weight_decay": 0.1}, "weight_decay=0.1 has no effect: LBFGS has none"),
        ({"optimizer": "SGD", "optimizer_args": {"momentum": -1}}, "optimizer SGD: Invalid momentum value: -1"),
        ({"schedule": "cosine", "warmup": 99}, "warmup=99 is not shorter than the run, which has 4 steps"),
    ],
)
def test_what_shows_when_training_begins_is_one_line_too(settings, says):
    with pytest.raises(RnnZooError, match=says):
        fit(task(**settings))
