"""Precision, recall and F1 of spans, as the script `conlleval` of CoNLL 2000 to 2003 counts them."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from rnnzoo.data.tag_schemes import spans


class SpanScore(Metric):
    """Of all spans; one is right where its first and last token and its kind are. 0 where there are none.

    Args:
        labels: the tags by their ids.
        kind: "precision", the part of the predicted spans that is right; "recall", the part of the target's that is
            predicted; "f1", their harmonic mean.
    """

    correct: Tensor
    predicted: Tensor
    wanted: Tensor

    def __init__(self, labels: Sequence[str], kind: Literal["precision", "recall", "f1"] = "f1"):
        super().__init__()
        self.labels, self.kind = list(labels), kind
        for name in ("correct", "predicted", "wanted"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Adds sentences, one a row of (B, T), or (N,) of one sentence; a target below 0 belongs to no sentence."""
        prediction, target = (_one_behind_another(tags, target < 0) for tags in (prediction, target))
        found, wanted = spans(prediction, self.labels), spans(target, self.labels)
        both = found.begins & wanted.begins & (found.kind == wanted.kind) & (found.last == wanted.last)
        self.correct += both.sum()
        self.predicted += found.begins.sum()
        self.wanted += wanted.begins.sum()

    def compute(self) -> Tensor:
        of = {"precision": self.predicted, "recall": self.wanted, "f1": (self.predicted + self.wanted) / 2}[self.kind]
        return self.correct.float() / of.clamp(min=1)


def _one_behind_another(tags: Tensor, outside: Tensor) -> Tensor:
    """Sentences with something outside between them, (N,)."""
    tags = torch.nn.functional.pad(tags.masked_fill(outside, -1), (0, 1), value=-1)
    return tags.flatten()
