"""Sequences with an answer to each, to its last steps or to every step, judged beside what is predicted blindly."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from rnnzoo.cells.contract import at_least_one
from rnnzoo.data.examples import SequenceBatch, as_sequences
from rnnzoo.data.series_arrays import FeatureScaling, unanswered_series
from rnnzoo.data.streams import IGNORED
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError
from rnnzoo.models.regular import taken
from rnnzoo.models.sequence_model import SequenceModel
from rnnzoo.models.stem import make_stem
from rnnzoo.tasks.base import Judged, Task, evaluating
from rnnzoo.tasks.confusion_picture import ConfusionPicture
from rnnzoo.training.confusion import MOST, ConfusionCounts
from rnnzoo.training.progress import digits


class SequenceTask(ConfusionPicture, Task):
    """Answers sequences with numbers, by the squared error, or with classes, by the cross-entropy in nats.

    A sequence has steps of numbers, or tokens, which are embedded; it may be shorter than others in its batch; and its
    answer is one for all of it, one for each of its last steps, or one for every step. Batches are
    `rnnzoo.data.Examples`, or tuples and dictionaries that read as such.

    Logs ``val_mse`` and ``val_mae``, or ``val_accuracy`` and ``val_macro_f1``, ``test_...`` likewise, and the loss of
    the same prediction for every sequence (``..._loss_constant``). Where classes have names, a run's folder has
    ``confusion.png`` after testing. A cell that takes more than x gets it from the batch, or else regular steps with
    nothing missing: time gaps and masks of one, and for the time the number of the step.

    Args:
        description: of the data: the input_size of a step, or a vocabulary of tokens; the classes, 0 where answers are
            numbers; the answers of a sequence, 1 by default, 0 for every step; the constant prediction, 0 by default.
        embedding_size: features of a token's embedding.
        pooling: of what the RNN says at each step, where there is one answer to a sequence: "last", "mean", "max",
            "concat" or "attention".
        noise: standard deviation of normal numbers that are added to the steps in training; 0 for none.
        stem: convolutions over the steps before the RNN, for numbers with one answer to a sequence:
            {channels: 64, kernel_size: 7, stride: 1}, or some of them; a list of channels has one for each layer. None
            for no such layers.
        settings: those that all tasks share. Dropout acts on the embeddings too.

    Raises:
        RnnZooError: an argument out of range, or a cell that cannot be had.
    """

    needs = ("classes",)
    means = ("loss_constant",)
    by_label = ("model.head.weight", "model.head.bias")
    may_change = Task.may_change | {"noise"}
    older_description, example_config = "problem", "configs/long_memory.yaml"
    prediction_order: ClassVar[tuple[str, ...]] = ("example", "answer")

    def __init__(
        self,
        description: Description | None = None,
        *,
        embedding_size: int = 64,
        pooling: str = "last",
        noise: float = 0.0,
        stem: dict[str, Any] | None = None,
        **settings: Any,
    ):
        super().__init__(description, **settings)
        about = self.description
        if about.vocabulary is None:
            about.require(["input_size"], type(self).__name__)
        tokens = None if about.vocabulary is None else len(about.vocabulary)
        size = int(about.input_size or 0) if tokens is None else at_least_one("embedding_size", embedding_size)
        convolutions = None if stem is None else make_stem(size, stem)
        self.classes, self.constant = int(about.classes or 0), float(about.constant or 0.0)
        self.scale: float | None = about.more.get("answer_scale")  # of numbers that the head gives less the constant
        self.offered: list[str] = list(about.more.get("inputs", ()))
        self.model = SequenceModel(
            self.settings.rnn(size if convolutions is None else convolutions.output_size),
            self.classes or 1,
            answers=1 if about.answers is None else int(about.answers),
            vocabulary_size=tokens,
            dropout=self.settings.dropout,
            pooling=pooling,
            stem=convolutions,
            noise=noise,
        )
        self._check_inputs()
        named = self.model.answers == 1 and bool(about.labels)  # so that a label is what is said of a sequence
        self.confusion = ConfusionCounts(self.classes) if named and 1 < self.classes <= MOST else None
        if named:
            self.prediction_order = ("example",)  # type: ignore[misc]  # which answers there are, the data say
        bias = self.constant if self.scale is None else 0.0
        torch.nn.init.constant_(self.model.head.bias, bias)  # how to find a constant is not the question
        self.start_from_pretrained()

    def _check_inputs(self) -> None:
        """Raises RnnZooError, or warns, where the layers cannot take what the data have beside x."""
        cell, takes = self.settings.cell, {*self.rnn._cells[0][0].inputs} & {*self.offered}
        if takes and self.model.stem is not None:
            raise RnnZooError(f"stem and cell={cell!r} exclude each other: it takes the {min(takes)} of single steps")
        if "mask" in takes and self.rnn.num_layers > 1:
            raise RnnZooError(
                f"cell={cell!r} takes the mask of its features, which a second layer has not: num_layers must be 1"
            )
        if "mask" in self.offered and "mask" not in takes:
            rank_zero_warn(
                f"missing=mask: {cell} takes no mask, and reads the mean where a value is missing; gru_d does"
            )

    def metrics(self) -> dict[str, Metric]:
        classes = int(self.description.classes or 0)
        if not classes:
            return {"mse": MeanSquaredError(), "mae": MeanAbsoluteError()}
        return {
            "accuracy": MulticlassAccuracy(classes, average="micro"),
            "macro_f1": MulticlassF1Score(classes, average="macro"),
        }

    def forward(self, x: Tensor, lengths: Tensor | None = None, inputs: Mapping[str, Tensor] | None = None) -> Tensor:
        """The answers to x (B, T, I) or tokens (B, T), float32: numbers (B, A), or logits of their classes (B, A, C).

        Args:
            x: the sequences.
            lengths: (B,) int64: the steps of each; T by default.
            inputs: what the cell takes besides x, by name.
        """
        if self.offered and inputs:
            inputs = taken(self.rnn, inputs, self.offered)
        y = self.model(x, lengths, inputs).float()
        if self.classes:
            return y
        return y[..., 0] if self.scale is None else self.constant + self.scale * y[..., 0]

    def predict_step(self, batch: Any, index: int) -> dict[str, Tensor]:
        """Of every answer: which it is (0 the first), what it was and should have been, and the example's number.

        Of numbers, `target` and `prediction`; of classes, the log-probability of the right one too, in nats, which is
        NaN where there is no right one. The number is missing where the batch has none. Where classes have names, and
        a sequence has one: the class, as `label`, and its probability.
        """
        batch = as_sequences(batch)
        y, target = self(batch.x, batch.lengths, batch.inputs), batch.y
        if self._names_sequences:
            probability, label = y[:, 0].softmax(-1).max(-1)
            number = {} if batch.number is None else {"example": batch.number}
            return {**number, "label": label, "probability": probability}
        which = torch.arange(target.shape[1], device=self.device)
        there = self._inside(batch, target).flatten()
        columns = {"answer": which.repeat(len(target)), "target": target.flatten()}
        if batch.number is not None:
            columns = {"example": batch.number.repeat_interleave(len(which)), **columns}
        if self.classes:
            log_prob = -F.cross_entropy(y.flatten(0, 1), target.flatten(), reduction="none")
            log_prob = log_prob.where(_answered(target).flatten(), torch.nan)
            columns |= {"prediction": y.argmax(-1).flatten(), "log_prob": log_prob}
        else:
            columns["prediction"] = y.flatten()
        return {name: column[there] for name, column in columns.items()}

    @property
    def _names_sequences(self) -> bool:
        return self.model.answers == 1 and bool(self.classes and self.description.labels)

    def describe_predictions(self, columns: dict[str, Any]) -> dict[str, Any]:
        if not self._names_sequences:
            return columns
        return {**columns, "label": [self.labels[k] for k in columns["label"]]}

    def batch_of(self, inputs: Any) -> SequenceBatch:
        """Sequences whose answers are not known, as a batch.

        Args:
            inputs: an array (B, T, I), or a list of arrays (T, I), which may differ in length, in the data's units;
                where the task reads tokens, a list of texts or of lists of tokens.

        Raises:
            RnnZooError: none, one without a step, of another number of features, or a token that is not known.
        """
        sequences = [self._steps(k, sequence) for k, sequence in enumerate(inputs)]
        if not sequences:
            raise RnnZooError("there are no sequences to predict for")
        if FeatureScaling.of(self.description.more) is not None:
            return unanswered_series([sequence.numpy() for sequence in sequences], self.description)
        lengths = torch.tensor([len(sequence) for sequence in sequences])
        x = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)
        wide = self.model.answers or x.shape[1]
        y = torch.full((len(x), wide), IGNORED) if self.classes else torch.full((len(x), wide), torch.nan)
        return SequenceBatch(x, y, torch.arange(len(x)), lengths if (lengths != x.shape[1]).any() else None)

    def _steps(self, k: int, sequence: Any) -> Tensor:
        """A sequence (T, I), or its tokens (T,)."""
        if (tokens := self.description.vocabulary) is not None:
            place = {token: i for i, token in enumerate(tokens)}
            if unknown := [token for token in sequence if token not in place]:
                raise RnnZooError(f"sequence {k} has {unknown[0]!r}, which is not among the {len(tokens)} tokens")
            steps = torch.tensor([place[token] for token in sequence], dtype=torch.int64)
        else:
            steps = torch.as_tensor(np.array(sequence), dtype=torch.float64)
        size = self.description.input_size
        if not len(steps) or (tokens is None and steps.shape[1:] != (size,)):
            wanted = "one token at least" if tokens is not None else f"the shape (T, {size}), T at least 1"
            raise RnnZooError(f"sequence {k} must have {wanted}, not {tuple(steps.shape)}")
        scaled = tokens is None and FeatureScaling.of(self.description.more) is not None
        return steps if scaled or tokens is not None else steps.float()

    def predict(self, inputs: Any) -> pd.DataFrame:
        """The answers to sequences, a row each.

        Args:
            inputs: as `batch_of`.

        Returns:
            Columns "example" (its number), "answer" (0 the first) and "prediction"; of classes "probability" too, and
            "label" where they have names; where a sequence has one answer, "example", "label" and "probability".

        Raises:
            RnnZooError: as `batch_of`.
        """
        if self._names_sequences:
            return super().predict(inputs)
        batch = self.transfer_batch_to_device(self.batch_of(inputs), self.device, 0)
        with evaluating(self):
            y = self(batch.x, batch.lengths, batch.inputs)
        there = self._inside(batch, batch.y).flatten().cpu().numpy()
        example, answer = (grid.flatten()[there] for grid in np.indices(batch.y.shape))
        columns: dict[str, Any] = {"example": example, "answer": answer}
        if not self.classes:
            return pd.DataFrame({**columns, "prediction": y.flatten().cpu().numpy()[there]})
        probability, best = (part.flatten().cpu().numpy()[there] for part in y.softmax(-1).max(-1))
        columns |= {"prediction": best, "probability": probability}
        if self.description.labels is not None:
            columns["label"] = [self.description.labels[k] for k in best.tolist()]
        return pd.DataFrame(columns)

    def judge(self, batch: Any, stage: str) -> Judged:
        batch = as_sequences(batch)
        y, target = self(batch.x, batch.lengths, batch.inputs), batch.y
        if y.shape[:2] != target.shape:
            raise RnnZooError(
                f"the batch has answers of shape {tuple(target.shape)}, but {type(self).__name__} gives"
                f" {tuple(y.shape[:2])}: description.answers is {self.model.answers} (0 for one at every step)"
            )
        there = _answered(target) & self._inside(batch, target)
        target = target.where(there, IGNORED if self.classes else torch.nan)
        if stage == "train":
            return Judged(self._loss(y, target), there.sum())
        if stage == "test" and self.confusion is not None and there.any():
            said, right = (F.one_hot(k[there], self.classes) for k in (y.argmax(-1), target))
            self.confusion.update(said, right)
        blindly = self._loss(torch.full_like(y, self.constant), target)
        return Judged(self._loss(y, target), there.sum(), {"loss_constant": blindly}, (y[there], target[there]))

    def _inside(self, batch: SequenceBatch, target: Tensor) -> Tensor:
        """Which answers lie within their sequence: of those at every step, not the ones behind its end."""
        if batch.lengths is None or self.model.answers == 1:
            return torch.ones_like(target, dtype=torch.bool)
        steps = torch.arange(target.shape[1], device=target.device)
        first = 0 if self.model.answers == 0 else target.shape[1] - batch.lengths[:, None]
        return steps < batch.lengths[:, None] if self.model.answers == 0 else steps >= first

    def _loss(self, y: Tensor, target: Tensor) -> Tensor:
        """The mean over the answers that there are; 0 for none."""
        there = _answered(target)
        if self.classes:
            total = F.cross_entropy(y.flatten(0, 1), target.flatten(), reduction="sum")
        else:
            total = (y - target.where(there, y.detach())).square().sum()  # a NaN would be one in the gradient too
            total = total if self.scale is None else total / self.scale**2
        return total / there.sum().clamp(min=1)

    def reached(self, metrics: Mapping[str, float]) -> list[str]:
        loss, constant = metrics["test_loss"], metrics["test_loss_constant"]
        if self.classes:
            named = [f"held-out macro F1: {digits(metrics['test_macro_f1'])}"] if self._names_sequences else []
            return [
                f"held-out accuracy: {digits(metrics['test_accuracy'])}",
                *named,
                f"held-out cross-entropy: {digits(loss)}",
                f"a constant prediction's: {digits(1 / self.classes)}, {digits(constant)}",
            ]
        unit = 1.0 if self.scale is None else self.scale**2
        return [
            f"held-out mean squared error: {digits(loss * unit)}",
            f"a constant prediction's: {digits(constant * unit)}",
            f"held-out mean absolute error: {digits(metrics['test_mae'])}",
        ]


def _answered(target: Tensor) -> Tensor:
    """Where there is an answer, in the shape of `target`."""
    return ~target.isnan() if target.is_floating_point() else target != IGNORED
