"""What Lightning brings to a training, with carried state and by each kernel: against loops written out by hand."""

import copy
import json
import math
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    EMAWeightAveraging,
    LearningRateFinder,
    StochasticWeightAveraging,
)

import rnnzoo
from rnnzoo import RnnZooError
from rnnzoo.data import CharTextData
from rnnzoo.tasks import LanguageModel

KERNELS = [pytest.param("fused", marks=pytest.mark.compiler), "native", "reference"]
STEPS = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("the cat sat on a mat and a dog ran far away. " * 60)
    made = CharTextData(str(path), batch_size=4, sequence_length=16)
    made.prepare_data()
    made.setup("fit")
    return made


def model(data, kernel, **settings):
    torch.manual_seed(0)
    settings = {"optimizer": "SGD", "learning_rate": 0.5, "schedule": "constant", **settings}
    return LanguageModel(data.description, cell="lstm", embedding_size=8, hidden_size=8, kernel=kernel, **settings)


class Weights(Callback):
    """The weights after each step."""

    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.steps.append({n: p.detach().clone() for n, p in pl_module.named_parameters()})


def fit(task, data, *callbacks, steps=STEPS, **settings):
    watch = Weights()
    trainer = Trainer(
        accelerator="cpu", max_steps=steps, logger=False, callbacks=[watch, *callbacks], limit_val_batches=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, **settings,
    )  # fmt: skip
    trainer.fit(task, data)
    return watch.steps


def by_hand(task, data, steps, every=1, clip=None):
    """The weights after each optimizer step of a loop of plain torch, in which the state goes on."""
    task = copy.deepcopy(task)
    optimizer, made = torch.optim.SGD(task.parameters(), 0.5), []
    hx = None
    for k, batch in enumerate(data.train_dataloader()):
        if len(made) == steps:
            break
        logits, hx = task(batch.inputs, hx)
        hx = type(hx)(*(a.detach() for a in hx))
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
        (loss / every).backward()
        if (k + 1) % every == 0:
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(task.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
            made.append({n: p.detach().clone() for n, p in task.named_parameters()})
    return made


def close(a, b):
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kernel", KERNELS)
def test_accumulated_gradients_go_with_the_state_from_batch_to_batch(data, kernel):
    task = model(data, kernel)
    expected = by_hand(model(data, "reference"), data, 3, every=2)
    close(fit(task, data, steps=3, accumulate_grad_batches=2)[1::2], expected)


@pytest.mark.parametrize("kernel", KERNELS)
def test_clipped_gradients_have_the_norm_that_is_asked_for(data, kernel):
    expected = by_hand(model(data, "reference"), data, STEPS, clip=0.1)
    close(fit(model(data, kernel), data, gradient_clip_val=0.1), expected)
    free = by_hand(model(data, "reference"), data, STEPS)
    assert not torch.allclose(expected[-1]["model.head.weight"], free[-1]["model.head.weight"])


def test_a_fused_optimizer_clips_in_mixed_precision_what_another_clips(data):
    def weights(fused):
        task = model(data, "reference", optimizer="AdamW", optimizer_args={"fused": fused}, learning_rate=0.01)
        return fit(task, data, precision="bf16-mixed", gradient_clip_val=0.1)

    close(weights(True), weights(False))


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_exponential_mean_of_the_weights_takes_their_place_at_the_end(data, kernel):
    task = model(data, kernel)
    expected = by_hand(model(data, "reference"), data, STEPS)
    close(fit(task, data, EMAWeightAveraging(decay=0.5)), expected)
    mean = {n: p.detach().clone() for n, p in model(data, kernel).named_parameters()}
    first = True
    for step in expected:
        mean = step if first else {n: 0.5 * mean[n] + 0.5 * step[n] for n in mean}  # the first update copies
        first = False
    close([dict(task.named_parameters())], [mean])


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_mean_of_the_weights_over_epochs_takes_their_place_at_the_end(data, kernel):
    class Starts(Callback):
        def __init__(self):
            self.epochs = []

        def on_train_epoch_start(self, trainer, pl_module):
            self.epochs.append({n: p.detach().clone() for n, p in pl_module.named_parameters()})

    task, starts = model(data, kernel), Starts()
    swa = StochasticWeightAveraging(swa_lrs=0.1, swa_epoch_start=2, annealing_epochs=1)
    fit(task, data, starts, swa, steps=-1, max_epochs=4, limit_train_batches=3)
    # Lightning takes the weights at the start of an epoch, from the second one on
    mean = {n: sum(epoch[n] for epoch in starts.epochs[1:]) / 3 for n in starts.epochs[0]}
    close([dict(task.named_parameters())], [mean])


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_rate_that_a_finder_finds_is_the_peak_of_the_schedule_and_nothing_else_is_changed(
    data, kernel, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    start = {n: p.detach().clone() for n, p in model(data, kernel).named_parameters()}
    seen = []

    class Look(Callback):
        def on_train_start(self, trainer, pl_module):
            same = all(torch.equal(p, start[n]) for n, p in pl_module.named_parameters())
            seen.append((same, pl_module._carried["train"], trainer.fit_loop.epoch_loop.batch_idx))

        def on_train_batch_start(self, trainer, pl_module, batch, index):
            if index == 0:
                seen.append((batch.positions.tolist()[0], pl_module._carried["train"]))

    task = model(data, kernel, schedule="cosine", warmup=0)
    finder = LearningRateFinder(min_lr=1e-3, max_lr=10, num_training_steps=20)
    trainer = rnnzoo.trainer("found", callbacks=[finder, Look()], max_steps=4, limit_val_batches=0, accelerator="cpu")
    trainer.fit(task, data)
    rate = finder.optimal_lr.suggestion()
    assert rate != 0.5
    assert task.settings.learning_rate == task.hparams.learning_rate == rate
    (same, _, _), (position, carried) = seen
    assert same
    assert position == 1  # from the data's beginning
    assert carried is None
    # half a cosine over four steps, of which the last rate is that of its end
    (scheduler,) = trainer.lr_scheduler_configs
    assert scheduler.scheduler.base_lrs == [rate]
    run = Path(trainer.logger.log_dir)
    assert json.loads((run / "run.json").read_text())["goes_on_from"] is None
    assert not list(tmp_path.glob(".lr_find*"))
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["hyper_parameters"]["learning_rate"] == rate
    assert content["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(
        rate * (1 + math.cos(math.pi * 4 / 4)) / 2, abs=rate / 10
    )


def test_a_run_that_goes_on_looks_for_no_rate(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    task = model(data, "reference")
    trainer = rnnzoo.trainer("first", max_steps=2, limit_val_batches=0, accelerator="cpu")
    trainer.fit(task, data)
    finder = LearningRateFinder(num_training_steps=20)
    again = model(data, "reference")
    settings = {"max_steps": 4, "limit_val_batches": 0, "accelerator": "cpu"}
    rnnzoo.trainer("second", callbacks=[finder], **settings).fit(
        again, data, ckpt_path=Path(trainer.logger.log_dir) / "checkpoints" / "last.ckpt"
    )
    assert finder.optimal_lr is None
    assert again.settings.learning_rate == 0.5
    assert "LearningRateFinder does nothing here" in capsys.readouterr().out


def test_a_finder_of_batch_sizes_is_refused_with_its_reason(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer = rnnzoo.trainer("found", callbacks=[BatchSizeFinder()], max_steps=2, accelerator="cpu")
    with pytest.raises(RnnZooError, match=r"^BatchSizeFinder is not supported: .* set --data\.batch_size \(now 4\)"):
        trainer.fit(model(data, "reference"), data)
