"""What a run shows of itself."""

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from rnnzoo.training.gradients import WarnOfDeadParameters
from rnnzoo.training.progress import EpochLines, TrainingBar, digits


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (2.9951, "2.995"),
        (3.0, "3.000"),
        (0.9491, "0.9491"),
        (0.99999, "1.000"),
        (9.9999, "10.00"),
        (-12.345678, "-12.35"),
        (1234.4, "1234"),
        (123456.7, "123457"),
        (0.00012345678, "0.0001235"),
        (1.5e-6, "1.500e-06"),
        (0, "0.000"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_a_number_has_four_true_digits(value, said):
    assert digits(value) == said


@pytest.mark.parametrize("exponent", range(-4, 8))
def test_what_is_said_is_off_by_half_of_the_fourth_digit_at_most(exponent):
    for value in torch.rand(200, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).tolist():
        value = (value + 0.1) * 10**exponent
        assert abs(float(digits(value)) - value) <= 0.5001e-3 * 10 ** len(str(int(value / 10**exponent))) * 10**exponent


class Line(LightningModule):
    """y = w x + b; `spare` is used by nothing, `late` from the third step on."""

    def __init__(self):
        super().__init__()
        self.w, self.b = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.zeros(1))
        self.spare, self.late = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
        self.zeroed = torch.nn.Parameter(torch.ones(1))
        self.fixed = torch.nn.Parameter(torch.ones(1), requires_grad=False)

    def training_step(self, batch, index):
        y = self.w * batch + self.b + 0 * self.zeroed + (self.late if index > 2 else 0)
        loss = (y - 2.9951).square().mean() * 0 + y.mean()
        self.log("train_loss", loss.detach() * 0 + 2.9951, prog_bar=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.25e-7)


def fit(tmp_path, *callbacks, **options):
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(c, ProgressBar) for c in callbacks),
        default_root_dir=tmp_path,
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(Line(), torch.utils.data.DataLoader(torch.ones(12, 1), batch_size=1))


def test_a_line_an_epoch_has_the_metrics_and_the_learning_rate(tmp_path, capsys):
    fit(tmp_path, EpochLines())
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert [line.partition(" (")[0] for line in lines] == [
        "epoch 1/2: train_loss 2.995, lr 1.250e-07",
        "epoch 2/2: train_loss 2.995, lr 1.250e-07",
    ]


def test_a_bar_has_the_same_digits(tmp_path, capsys):
    fit(tmp_path, TrainingBar())
    shown = capsys.readouterr().out
    assert "train_loss=2.995, lr=1.250e-07]" in shown
    assert "epoch 2/2: 100%" in shown


@pytest.mark.parametrize(("steps", "said"), [(2, "late, zeroed"), (10, "zeroed"), (1000, "zeroed")])
def test_parameters_without_a_gradient_are_named_once(tmp_path, capsys, steps, said):
    fit(tmp_path, WarnOfDeadParameters(steps))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rnnzoo: warning:")]
    assert f"no gradient reached spare, {said} in the first {min(steps, 24)} steps" in line


def test_of_parameters_that_all_learn_nothing_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Line, "named_parameters", lambda self, *args, **kwargs: iter([("w", self.w), ("b", self.b)]))
    fit(tmp_path, WarnOfDeadParameters())
    assert "warning" not in capsys.readouterr().err
