"""Which class was said of the texts, or what else, of each class: counted, and as a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

CONFUSION = "confusion.png"
MOST = 200  # classes of a picture
_NUMBERED = 25  # classes up to which the numbers stand in the picture
_SHORT = 24  # characters of a label


class ConfusionCounts(Metric):
    """How often class j was said of what is of class i, (C, C) int64; of several labels, for each pair of them.

    Args:
        classes: C.
    """

    counts: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.add_state("counts", torch.zeros(classes, classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, said: Tensor, target: Tensor) -> None:
        """Adds N examples, (N, C) of 0 and 1 each."""
        self.counts += (target.double().t() @ said.double()).long()  # a GPU has no product of integers

    def compute(self) -> Tensor:
        return self.counts


def draw_confusion(counts: np.ndarray, labels: Sequence[str], path: Path) -> None:
    """Draws counts (C, C) as `ConfusionCounts` has them, coloured by the share of each row.

    Raises:
        OSError: the picture cannot be written.
    """
    from rnnzoo.training.curve import new_figure, save

    size = min(max(3.6, 1.8 + 0.55 * len(labels)), 14.0)
    figure, (ax,) = new_figure(1, (size + 1.2, size))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [label if len(label) <= _SHORT else f"{label[: _SHORT - 1]}…" for label in labels]
    size_of_text = 9 if len(labels) <= _NUMBERED else max(3, 9 * _NUMBERED / len(labels))
    ax.set_xticks(range(len(names)), names, rotation=90 if len(names) > 4 else 0, fontsize=size_of_text)
    ax.set_yticks(range(len(names)), names, fontsize=size_of_text)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    for i, j in np.argwhere(counts > 0) if len(labels) <= _NUMBERED else ():
        colour = "white" if shares[i, j] > 0.5 else "black"
        ax.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, ax=ax, label="share of the true class", shrink=0.8)
    save(figure, path)
