"""Sequences with answers at their end, judged beside what is predicted without looking."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanSquaredError, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from rnnzoo.data.examples import Examples
from rnnzoo.data.streams import IGNORED
from rnnzoo.models.sequence_model import SequenceModel
from rnnzoo.rnn import RNN
from rnnzoo.tasks import suggestions
from rnnzoo.tasks.base import Schedule, Task, cell_and_constants, rnn_options
from rnnzoo.tasks.means import ExactMean
from rnnzoo.training.progress import digits


class SequenceTask(Task):
    """Answers sequences with numbers, by the squared error, or with classes, by the cross-entropy in nats.

    Logs ``val_mse`` or ``val_accuracy``, ``test_...`` likewise, and the loss of the same prediction for every sequence
    (``..._loss_constant``). A cell that takes more than x gets regular steps with nothing missing: time gaps and masks
    of one, and for the time the number of the step.

    Args:
        problem: "input_size" of a step; "classes", 0 where answers are numbers; "answers", of the last so many steps;
            "constant", a number predicted without looking, or a logit for every class; from the data on the command
            line.
        cell: a cell's registered name or import path.
        cell_args: the cell's own arguments.
        rnn_args: further arguments of the RNN: "transforms" by name, {"Zoneout": {"p": 0.1}}, "connect" and "dilation".
        hidden_size: features of the hidden state.
        num_layers: cells on top of each other.
        dropout: between layers and before the head; in [0, 1).
        kernel: what runs the RNN: "auto" or a kernel's name.
        checkpoint_every: in training, keep of every so many steps only the state they start from, and compute them
            again in the backward; for sequences of thousands of steps. None keeps everything.
        learning_rate: the highest of the schedule.
        weight_decay: AdamW's.
        schedule: of the learning rate over the whole run.

    Raises:
        RnnZooError: an argument out of range, or a cell that cannot be had.
    """

    may_change = Task.may_change | {"checkpoint_every"}
    prediction_order: ClassVar = ("example", "answer")

    def __init__(
        self,
        problem: dict[str, float],
        cell: str = "lstm",
        cell_args: dict[str, Any] | None = None,
        rnn_args: dict[str, Any] | None = None,
        hidden_size: int = 128,
        num_layers: int = 1,
        dropout: float = 0.0,
        kernel: str = "auto",
        checkpoint_every: int | None = None,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.0,
        schedule: Schedule = "one_cycle",
    ):
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, schedule=schedule)
        cell, constants = cell_and_constants(cell, cell_args)
        self.save_hyperparameters()
        self.classes, self.constant = int(problem["classes"]), float(problem["constant"])
        self.model = SequenceModel(
            int(problem["input_size"]),
            self.classes or 1,
            cell,
            answers=int(problem["answers"]),
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
            kernel=kernel,
            checkpoint_every=checkpoint_every,
            **constants,
            **rnn_options(rnn_args),
        )
        torch.nn.init.constant_(self.model.head.bias, self.constant)  # how to find a constant is not the question
        self.figure = "accuracy" if self.classes else "mse"
        figures: dict[str, Any] = {}
        for stage in ("val", "test"):
            exact = MulticlassAccuracy(self.classes, average="micro") if self.classes else MeanSquaredError()
            figures |= {f"{stage}_{self.figure}": exact, f"{stage}_loss_constant": ExactMean()}
        self.figures = MetricCollection(figures, compute_groups=False)

    @property
    def rnn(self) -> RNN:
        return self.model.rnn

    def forward(self, x: Tensor) -> Tensor:
        """The answers to sequences x (B, T, I), float32: numbers (B, A), or the logits of their classes (B, A, C)."""
        y = self.model(x).float()
        return y if self.classes else y[..., 0]

    def training_step(self, batch: Examples, index: int) -> Tensor:
        return self.train_loss(self._loss(self(batch.x), batch.y), _answered(batch.y).sum())

    def predict_step(self, batch: Examples, index: int) -> dict[str, Tensor]:
        """Of every answer: the example's number, which answer (0 the first), and what it was and should have been.

        Of numbers, `target` and `prediction`; of classes, the log-probability of the right one too, in nats, which is
        NaN where there is no right one.
        """
        y, target = self(batch.x), batch.y
        which = torch.arange(target.shape[1], device=self.device)
        columns = {
            "example": batch.number.repeat_interleave(len(which)),
            "answer": which.repeat(len(target)),
            "target": target.flatten(),
        }
        if not self.classes:
            return columns | {"prediction": y.flatten()}
        log_prob = -F.cross_entropy(y.flatten(0, 1), target.flatten(), reduction="none")
        log_prob = log_prob.where(_answered(target).flatten(), torch.nan)
        return columns | {"prediction": y.argmax(-1).flatten(), "log_prob": log_prob}

    def _loss(self, y: Tensor, target: Tensor) -> Tensor:
        """The mean over the answers that there are; 0 for none."""
        there = _answered(target)
        if self.classes:
            total = F.cross_entropy(y.flatten(0, 1), target.flatten(), reduction="sum")
        else:
            total = (y - target.where(there, y.detach())).square().sum()  # a NaN would be one in the gradient too
        return total / there.sum().clamp(min=1)

    def evaluate(self, batch: Examples, stage: str) -> None:
        y, there = self(batch.x), _answered(batch.y)
        self.log_eval(stage, self._loss(y, batch.y), there.sum())
        without_looking = self._loss(torch.full_like(y, self.constant), batch.y)
        self.figures[f"{stage}_loss_constant"].update(without_looking, there.sum())
        if there.any():  # torchmetrics refuses an update by nothing
            self.figures[f"{stage}_{self.figure}"].update(y[there], batch.y[there])
        for name in (f"{stage}_{self.figure}", f"{stage}_loss_constant"):
            self.log(name, self.figures[name], prog_bar=stage == "val", on_epoch=True)

    def closing_lines(self, metrics: dict[str, float], data: Any, checkpoint: str) -> list[str]:
        loss, constant = metrics["test_loss"], metrics["test_loss_constant"]
        if self.classes:
            chance = f"a constant prediction's: {digits(1 / self.classes)}, {digits(constant)}"
            accuracy = digits(metrics["test_accuracy"])
            reached = f"held-out accuracy: {accuracy}, cross-entropy {digits(loss)}; {chance}"
        else:
            reached = f"held-out mean squared error: {digits(loss)}; a constant prediction's: {digits(constant)}"
        return [
            reached,
            f"checkpoint: {checkpoint}",
            "",
            "Try next:",
            f"  {suggestions.predict(checkpoint)}",
            f"  {suggestions.more(self.trainer, checkpoint)}",
            f"  {suggestions.another_cell('configs/long_memory.yaml', checkpoint, data, self.hparams)}",
        ]


def _answered(target: Tensor) -> Tensor:
    """Where there is an answer, in the shape of `target`."""
    return ~target.isnan() if target.is_floating_point() else target != IGNORED
