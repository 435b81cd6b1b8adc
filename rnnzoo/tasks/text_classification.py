"""Texts with one label each, or with several."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MultilabelExactMatch,
    MultilabelF1Score,
)

from rnnzoo.cells.contract import at_least_one
from rnnzoo.data.labelled_text import LabelledTexts
from rnnzoo.data.streams import IGNORED
from rnnzoo.data.tokenizers import TextTokenizer, tokenizer_of
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError
from rnnzoo.models.text_model import TextModel
from rnnzoo.tasks.base import Judged, Task
from rnnzoo.tasks.confusion_picture import ConfusionPicture
from rnnzoo.training.confusion import MOST, ConfusionCounts
from rnnzoo.training.progress import digits

_NAMES = {"accuracy": "accuracy", "macro_f1": "macro F1", "micro_f1": "micro F1", "subset_accuracy": "subset accuracy"}
_AT_ONCE = 64  # texts that `predict` reads together


class TextClassifier(ConfusionPicture, Task):
    """Says of a text which of some classes it is of, by the cross-entropy in nats; or which of some labels it has.

    Where the description says `several_labels`, each label is a question of its own, by the binary cross-entropy, and
    a text has those whose probability is a half at least.

    Logs ``val_accuracy`` and ``val_macro_f1``; of several labels ``val_micro_f1``, ``val_macro_f1`` and
    ``val_subset_accuracy``, the part of the texts with all labels right; ``test_...`` likewise. After testing a run's
    folder has ``confusion.png``. The losses of evaluation are without label smoothing and class weights.

    Args:
        description: of the data: its vocabulary, its classes, and their names as labels.
        embedding_size: features of a token's embedding.
        pooling: of what the RNN says at each token: "last", "mean", "max", "concat" or "attention".
        head_size: units of a hidden layer in the head; 0 for none.
        embedding_dropout: of whole words, at all their places; in [0, 1).
        weight_drop: on the recurrent weights, the same for a whole text (Merity et al. 2018); in [0, 1).
        label_smoothing: part of the target that is spread over all classes (Szegedy et al. 2016); in [0, 1).
        class_weights: of the classes in the training loss: a number for each, or "balanced", by which all classes
            count alike though some have fewer texts. None for 1.
        settings: those that all tasks share. Dropout acts on the embeddings and before the head too.

    Raises:
        RnnZooError: an argument out of range, a cell that cannot be had, or a `pretrained` made with other settings.
    """

    needs = ("vocabulary", "classes")
    may_change = Task.may_change | {"label_smoothing", "class_weights", "embedding_dropout", "locked_dropout"}
    example_config = "configs/text_classification.yaml"
    prediction_order: ClassVar = ("example",)
    class_weights: Tensor

    def __init__(
        self,
        description: Description | None = None,
        *,
        embedding_size: int = 128,
        pooling: str = "max",
        head_size: int = 0,
        embedding_dropout: float = 0.0,
        weight_drop: float = 0.0,
        label_smoothing: float = 0.0,
        class_weights: str | list[float] | None = None,
        **settings: Any,
    ):
        super().__init__(description, **settings)
        about = self.description
        self.classes, self.several = int(about.classes or 0), bool(about.more.get("several_labels"))
        if self.classes < 2:
            raise RnnZooError(f"a classifier needs two classes or more, not {self.classes}")
        if not 0 <= label_smoothing < 1:
            raise RnnZooError(f"label_smoothing must be in [0, 1), not {label_smoothing}")
        if head_size < 0:
            raise RnnZooError(f"head_size must be 0, for no hidden layer, or more, not {head_size}")
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weights", self._weights(class_weights), persistent=False)
        self.confusion = ConfusionCounts(self.classes) if self.classes <= MOST else None
        self._tokenizer: TextTokenizer | None = None
        self.model = TextModel(
            self.settings.rnn(at_least_one("embedding_size", embedding_size)),
            len(about.vocabulary or ()),
            self.classes,
            pooling=pooling,
            head_size=head_size,
            dropout=self.settings.dropout,
            embedding_dropout=embedding_dropout,
            locked_dropout=self.settings.locked_dropout,
            weight_drop=weight_drop,
        )
        last = f"model.head.{len(self.model.head) - 1}"
        self.by_label = (f"{last}.weight", f"{last}.bias")  # type: ignore[misc]  # where they are, head_size says
        self.start_from_pretrained()

    def _weights(self, given: str | Sequence[float] | None) -> Tensor:
        """Of each class, (C,)."""
        if given is None:
            return torch.ones(self.classes)
        if given == "balanced":
            counts = self.description.more.get("label_counts")
            if counts is None:
                raise RnnZooError("class_weights='balanced' needs label_counts in the description of the data")
            counted = torch.tensor(counts, dtype=torch.float32).clamp(min=1)  # a class may be in evaluation alone
            weights = sum(counts) / (self.classes * counted)
        elif isinstance(given, str):
            raise RnnZooError(f"class_weights must be 'balanced' or a list of numbers, not {given!r}")
        else:
            weights = torch.tensor(list(given), dtype=torch.float32)
        if len(weights) != self.classes or not (weights >= 0).all() or not weights.isfinite().all():
            raise RnnZooError(
                f"class_weights must be {self.classes} numbers, one for each class, none below 0, not {given}"
            )
        return weights

    def metrics(self) -> dict[str, Metric]:
        classes = int(self.description.classes or 0)
        if self.description.more.get("several_labels"):
            return {
                "micro_f1": MultilabelF1Score(classes, average="micro", validate_args=False),
                "macro_f1": MultilabelF1Score(classes, average="macro", validate_args=False),
                "subset_accuracy": MultilabelExactMatch(classes, validate_args=False),
            }
        return {
            "accuracy": MulticlassAccuracy(classes, average="micro", validate_args=False),
            "macro_f1": MulticlassF1Score(classes, average="macro", validate_args=False),
        }

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (B, C), float32, of the texts `tokens` (B, T), of `lengths` (B,) int64 tokens each; T by default."""
        return self.model(tokens, lengths).float()

    # ---- training and evaluation

    def judge(self, batch: LabelledTexts, stage: str) -> Judged:
        y, labels = self(batch.tokens, batch.lengths), batch.labels
        self._check(labels)
        there = ~labels.isnan().any(1) if self.several else labels != IGNORED
        count = there.sum()
        y, labels = y[there], labels[there]
        train = stage == "train"
        smoothing = self.label_smoothing if train else 0.0
        if self.several:
            target = labels * (1 - smoothing) + smoothing / 2
            each = F.binary_cross_entropy_with_logits(y, target, reduction="none")
            each = (each * self.class_weights if train else each).mean(1)
        else:
            each = F.cross_entropy(y, labels, reduction="none", label_smoothing=smoothing)
            each = each * self.class_weights[labels] if train else each
        mean = each.sum() / count.clamp(min=1)
        if train:
            return Judged(mean, count)
        if stage == "test" and self.confusion is not None:
            said = y >= 0 if self.several else F.one_hot(y.argmax(-1), self.classes)
            self.confusion.update(said, labels if self.several else F.one_hot(labels, self.classes))
        return Judged(mean, count, answers=(y.sigmoid() if self.several else y, labels))

    def _check(self, labels: Tensor) -> None:
        """Raises RnnZooError for labels that the head has no logit for; not on a GPU, which would have to wait."""
        if labels.device.type != "cpu" or not labels.numel():
            return
        wide = labels.shape[1] if labels.dim() == 2 else int(labels.max()) + 1
        if wide > self.classes or (labels.dim() == 2) != self.several:
            its = f"labels of {wide} classes, several a text" if labels.dim() == 2 else f"the label {wide - 1}"
            mine = f"{self.classes} classes, {'several' if self.several else 'one'} a text"
            raise RnnZooError(f"the batch has {its}, but the head has {mine}")

    # ---- predictions

    def predict_step(self, batch: LabelledTexts, index: int) -> dict[str, Tensor]:
        """Of every text: its number in the data, and the class with its probability; or of several labels, of each."""
        y = self(batch.tokens, batch.lengths)
        if self.several:
            return {"example": batch.number, "probability": y.sigmoid()}
        probability, label = y.softmax(-1).max(-1)
        return {"example": batch.number, "label": label, "probability": probability}

    def describe_predictions(self, columns: dict[str, Any]) -> dict[str, Any]:
        """The columns of a table of predictions, with names where numbers stood.

        Of several labels, "label" has the names of those with a probability of a half at least, with commas between,
        and "probability of NAME" each one's.
        """
        names = self.labels
        if not self.several:
            return {**columns, "label": [names[k] for k in columns["label"]]}
        of_each = [columns[f"probability_{k}"] for k in range(self.classes)]
        said = [
            ", ".join(name for name, p in zip(names, row, strict=True) if p >= 0.5)
            for row in zip(*of_each, strict=True)
        ]
        return {
            "example": columns["example"],
            "label": said,
            **{f"probability of {name}": column for name, column in zip(names, of_each, strict=True)},
        }

    def batch_of(self, inputs: str | Sequence[str]) -> LabelledTexts:
        """A text, or a list of them, whose labels are not known, as a batch; cut to the `max_length` of training.

        Raises:
            RnnZooError: no text, an empty one, something else, or a description without a tokenizer.
        """
        texts = _texts(inputs)
        if self._tokenizer is None:
            self._tokenizer = tokenizer_of(self.description)
        most = self.description.more.get("max_length")
        tokens = [torch.tensor(ids[:most]) for ids in self._tokenizer.encode(texts)]
        if without := [k for k, ids in enumerate(tokens) if not len(ids)]:
            raise RnnZooError(f"text {without[0]} has no token: {texts[without[0]]!r}")
        shape = (len(texts), self.classes) if self.several else (len(texts),)
        return LabelledTexts(
            torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True),
            torch.tensor([len(ids) for ids in tokens]),
            torch.full(shape, torch.nan) if self.several else torch.full(shape, IGNORED),
            torch.arange(len(texts)),
        )

    def predict(self, inputs: str | Sequence[str]) -> pd.DataFrame:
        """What is said of texts, a row each.

        Args:
            inputs: as `batch_of`; any number of texts.

        Returns:
            Columns "example" (its number), "label" and "probability", or as `describe_predictions`.

        Raises:
            RnnZooError: as `batch_of`.
        """
        texts = _texts(inputs)
        order = sorted(range(len(texts)), key=lambda k: len(texts[k]))
        frames = []
        for first in range(0, len(order), _AT_ONCE):
            own = order[first : first + _AT_ONCE]
            frames.append(super().predict([texts[k] for k in own]).assign(example=own))
        return pd.concat(frames).sort_values("example", ignore_index=True)

    def reached(self, metrics: Mapping[str, float]) -> list[str]:
        found = {f"test_{name}": f"held-out {said}" for name, said in _NAMES.items() if f"test_{name}" in metrics}
        return [f"{said}: {digits(metrics[name])}" for name, said in found.items()]


def _texts(inputs: str | Sequence[str]) -> list[str]:
    texts = [inputs] if isinstance(inputs, str) else list(inputs)
    if not texts:
        raise RnnZooError("there are no texts to predict for")
    for k, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            what = "is empty" if isinstance(text, str) else f"must be a text, not a {type(text).__name__}"
            raise RnnZooError(f"text {k} {what}")
    return texts
