"""Weights of torch's recurrent modules into the layers of an RNN."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rnnzoo.errors import RnnZooError
from rnnzoo.rnn import RNN
from rnnzoo.tasks.imports.imported import Weights
from rnnzoo.tasks.language_modeling import LanguageModel
from rnnzoo.transforms.gates import bare

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def put(parameter: Any, value: Tensor) -> None:
    """Copies a weight into a parameter.

    Raises:
        RnnZooError: it is of another shape.
    """
    if parameter.shape != value.shape:
        raise RnnZooError(
            f"the weights of this model do not fit each other: one is {tuple(value.shape)}, where the others need"
            f" {tuple(parameter.shape)}"
        )
    with torch.no_grad():
        parameter.copy_(value)


def fill(rnn: RNN, weight: Callable[[int, str], Tensor]) -> None:
    """Copies weights into every layer of an RNN of one direction, whose cell is torch's.

    Args:
        rnn: `lstm`, `gru`, `rnn` or `rnn_relu`, with transforms around the cells or without.
        weight: of a layer's number and a name of torch's, "weight_ih".
    """
    for k, (cell,) in enumerate(rnn._cells):
        inner = bare(cell)
        for name in NAMES:
            owned: Any = inner.parametrizations if parametrize.is_parametrized(inner, name) else None  # by weight drop
            put(getattr(inner, name) if owned is None else owned[name].original, weight(k, name))


def put_product(module: nn.Linear | nn.Conv1d, weights: Weights, *names: str) -> None:
    """Copies a product's weight and bias, or those of several products below each other.

    Args:
        module: the product; its bias becomes zeros where they have none.
        weights: to take from.
        names: of theirs, without ".weight", in the order of the rows.
    """
    put(module.weight, torch.cat([weights.take(f"{name}.weight", None, *module.weight.shape[1:]) for name in names]))
    if module.bias is not None:
        given = [weights.take(f"{name}.bias", None) for name in names if f"{name}.bias" in weights]
        put(module.bias, torch.cat(given) if given else torch.zeros_like(module.bias))


def untied_head(weights: Weights, name: str, embedding: Tensor) -> Tensor | None:
    """The weights (V, H) of a head; None where they are missing or the embedding's, to which they are tied then."""
    if name not in weights:
        return None
    head = weights.take(name, len(embedding), None)
    return None if head.shape == embedding.shape and torch.equal(head, embedding) else head


def put_head(task: LanguageModel, weight: Tensor | None, bias: Tensor | None = None) -> None:
    """Copies the head of a language model; one that is tied has no weights of its own, and zeros stand for no bias."""
    head = task.model.head
    if weight is not None:
        put(head.weight, weight)
    put(head.bias, torch.zeros(len(task.text.names)) if bias is None else bias)
