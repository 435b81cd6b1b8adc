"""Averaged weights once validation stalls: when it begins, what the mean is, and that it goes on after a resume."""

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch.utils.data import DataLoader

from rnnzoo import RnnZooError
from rnnzoo.training.averaging import AverageOnceStalled

pytestmark = pytest.mark.usefixtures("nothing_compiled")

LOSSES = [5.0, 4.0, 4.5, 3.0, 3.9, 4.1, 3.5, 3.2]  # with a patience of 2, 4.1 is above the best of 5, 4 and 4.5
STEPS = 3  # an epoch


class Line(LightningModule):
    """Two tied weights by SGD, with validations that are given."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(2, 2, bias=False)
        self.second = torch.nn.Linear(2, 2, bias=False)
        self.second.weight = self.first.weight
        self.validated = []

    def training_step(self, batch, index):
        return (self.second(self.first(batch)) - 1).square().mean()

    def validation_step(self, batch, index):
        self.validated.append(self.first.weight.detach().clone())
        self.log("val_loss", LOSSES[self.trainer.current_epoch])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


class Watch(Callback):
    """The weights after every step."""

    def __init__(self):
        self.weights = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.weights.append(pl_module.first.weight.detach().clone())


def run(folder, epochs, resumed=None):
    torch.manual_seed(0)
    module, watch = Line(), Watch()
    data = DataLoader(torch.randn(STEPS * 4, 2, generator=torch.Generator().manual_seed(1)), batch_size=4)
    keep = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    averaging = AverageOnceStalled(patience=2)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[watch, averaging, keep],
    )
    trainer.fit(module, data, DataLoader(torch.zeros(1, 2)), ckpt_path=resumed)
    return module, watch.weights, averaging


def test_the_model_is_the_mean_of_all_weights_since_validation_stalled(tmp_path, capsys):
    module, weights, averaging = run(tmp_path, 8)
    begins = 6 * STEPS  # after the sixth validation
    assert f"from step {begins} on the mean of the weights is the model" in capsys.readouterr().out
    for epoch, seen in enumerate(module.validated):
        done = (epoch + 1) * STEPS
        mean = weights[done - 1] if done <= begins else torch.stack(weights[begins:done]).mean(0)
        torch.testing.assert_close(seen, mean)
        kept = torch.load(tmp_path / f"epoch={epoch}.ckpt", weights_only=True)
        torch.testing.assert_close(kept["state_dict"]["first.weight"], mean)
        if done > begins:
            assert torch.equal(kept["current_model_state"]["first.weight"], weights[done - 1])
    torch.testing.assert_close(module.first.weight, torch.stack(weights[begins:]).mean(0))
    assert averaging.averages
    plain, _, _ = run(tmp_path / "short", 6)
    assert torch.equal(plain.validated[-1], weights[begins - 1])


@pytest.mark.parametrize("epoch", [3, 5, 6])
def test_a_run_that_is_resumed_before_at_or_after_the_stall_ends_as_one_that_was_not(tmp_path, epoch):
    straight, weights, _ = run(tmp_path, 8)
    resumed, later, _ = run(tmp_path / "again", 8, tmp_path / f"epoch={epoch}.ckpt")
    assert torch.equal(torch.stack(later), torch.stack(weights[-len(later) :]))
    assert len(later) == (7 - epoch) * STEPS
    assert torch.equal(resumed.first.weight, straight.first.weight)
    for one, other in zip(resumed.validated, straight.validated[-len(resumed.validated) :], strict=True):
        assert torch.equal(one, other)


def test_validations_that_go_on_improving_average_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.LOSSES", [float(8 - k) for k in range(8)])
    module, weights, averaging = run(tmp_path, 8)
    assert not averaging.stalled
    assert torch.equal(module.first.weight, weights[-1])
    assert "current_model_state" not in torch.load(tmp_path / "epoch=7.ckpt", weights_only=True)


def test_a_patience_of_none_is_named():
    with pytest.raises(RnnZooError, match="patience must be at least 1, not 0"):
        AverageOnceStalled(0)
