"""Sequences with an answer to each, to its last steps or to every step, judged beside what is predicted blindly."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanSquaredError, Metric
from torchmetrics.classification import MulticlassAccuracy

from rnnzoo.cells.contract import at_least_one
from rnnzoo.data.examples import SequenceBatch, as_sequences
from rnnzoo.data.streams import IGNORED
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError
from rnnzoo.models.sequence_model import SequenceModel
from rnnzoo.tasks.base import Judged, Task, evaluating
from rnnzoo.training.progress import digits


class SequenceTask(Task):
    """Answers sequences with numbers, by the squared error, or with classes, by the cross-entropy in nats.

    A sequence has steps of numbers, or tokens, which are embedded; it may be shorter than others in its batch; and its
    answer is one for all of it, one for each of its last steps, or one for every step. Batches are
    `rnnzoo.data.Examples`, or tuples and dictionaries that read as such.

    Logs ``val_mse`` or ``val_accuracy``, ``test_...`` likewise, and the loss of the same prediction for every sequence
    (``..._loss_constant``). A cell that takes more than x gets it from the batch, or else regular steps with nothing
    missing: time gaps and masks of one, and for the time the number of the step.

    Args:
        description: of the data: the input_size of a step, or a vocabulary of tokens; the classes, 0 where answers are
            numbers; the answers of a sequence, 1 by default, 0 for every step; the constant prediction, 0 by default.
        embedding_size: features of a token's embedding.
        settings: those that all tasks share. Dropout acts on the embeddings too.

    Raises:
        RnnZooError: an argument out of range, or a cell that cannot be had.
    """

    needs = ("classes",)
    means = ("loss_constant",)
    older_description, example_config = "problem", "configs/long_memory.yaml"
    prediction_order: ClassVar = ("example", "answer")

    def __init__(self, description: Description | None = None, *, embedding_size: int = 64, **settings: Any):
        super().__init__(description, **settings)
        about = self.description
        if about.vocabulary is None:
            about.require(["input_size"], type(self).__name__)
        tokens = None if about.vocabulary is None else len(about.vocabulary)
        size = int(about.input_size or 0) if tokens is None else at_least_one("embedding_size", embedding_size)
        self.classes, self.constant = int(about.classes or 0), float(about.constant or 0.0)
        self.model = SequenceModel(
            self.settings.rnn(size),
            self.classes or 1,
            answers=1 if about.answers is None else int(about.answers),
            vocabulary_size=tokens,
            dropout=self.settings.dropout,
        )
        torch.nn.init.constant_(self.model.head.bias, self.constant)  # how to find a constant is not the question
        self.start_from_pretrained()

    def metrics(self) -> dict[str, Metric]:
        classes = int(self.description.classes or 0)
        return {"accuracy": MulticlassAccuracy(classes, average="micro")} if classes else {"mse": MeanSquaredError()}

    def forward(self, x: Tensor, lengths: Tensor | None = None, inputs: Mapping[str, Tensor] | None = None) -> Tensor:
        """The answers to x (B, T, I) or tokens (B, T), float32: numbers (B, A), or logits of their classes (B, A, C).

        Args:
            x: the sequences.
            lengths: (B,) int64: the steps of each; T by default.
            inputs: what the cell takes besides x, by name.
        """
        y = self.model(x, lengths, inputs).float()
        return y if self.classes else y[..., 0]

    def predict_step(self, batch: Any, index: int) -> dict[str, Tensor]:
        """Of every answer: which it is (0 the first), what it was and should have been, and the example's number.

        Of numbers, `target` and `prediction`; of classes, the log-probability of the right one too, in nats, which is
        NaN where there is no right one. The number is missing where the batch has none.
        """
        batch = as_sequences(batch)
        y, target = self(batch.x, batch.lengths, batch.inputs), batch.y
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

    def batch_of(self, inputs: Any) -> SequenceBatch:
        """Sequences whose answers are not known, as a batch.

        Args:
            inputs: an array (B, T, I), or a list of arrays (T, I), which may differ in length; where the task reads
                tokens, a list of texts or of lists of tokens.

        Raises:
            RnnZooError: none, one without a step, of another number of features, or a token that is not known.
        """
        sequences = [self._steps(k, sequence) for k, sequence in enumerate(inputs)]
        if not sequences:
            raise RnnZooError("there are no sequences to predict for")
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
            steps = torch.as_tensor(np.asarray(sequence), dtype=torch.float32)
        size = self.description.input_size
        if not len(steps) or (tokens is None and steps.shape[1:] != (size,)):
            wanted = "one token at least" if tokens is not None else f"the shape (T, {size}), T at least 1"
            raise RnnZooError(f"sequence {k} must have {wanted}, not {tuple(steps.shape)}")
        return steps

    def predict(self, inputs: Any) -> pd.DataFrame:
        """The answers to sequences, a row each.

        Args:
            inputs: as `batch_of`.

        Returns:
            Columns "example" (its number), "answer" (0 the first) and "prediction"; of classes "probability" too, and
            "label" where they have names.

        Raises:
            RnnZooError: as `batch_of`.
        """
        batch = self.transfer_batch_to_device(self.batch_of(inputs), self.device, 0)
        with evaluating(self):
            y = self(batch.x, batch.lengths)
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
        return total / there.sum().clamp(min=1)

    def reached(self, metrics: Mapping[str, float]) -> list[str]:
        loss, constant = metrics["test_loss"], metrics["test_loss_constant"]
        if self.classes:
            return [
                f"held-out accuracy: {digits(metrics['test_accuracy'])}",
                f"held-out cross-entropy: {digits(loss)}",
                f"a constant prediction's: {digits(1 / self.classes)}, {digits(constant)}",
            ]
        return [f"held-out mean squared error: {digits(loss)}", f"a constant prediction's: {digits(constant)}"]


def _answered(target: Tensor) -> Tensor:
    """Where there is an answer, in the shape of `target`."""
    return ~target.isnan() if target.is_floating_point() else target != IGNORED
