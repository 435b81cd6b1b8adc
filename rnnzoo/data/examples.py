"""Sequences with what is to be said of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnzoo.data.streams import IGNORED
from rnnzoo.errors import RnnZooError

_NAMES = {  # of the fields in a batch that is a dictionary, as `datasets` and tokenizers call them
    "x": ("x", "input_ids", "inputs"),
    "y": ("y", "labels", "label", "target"),
    "number": ("number", "index"),
    "lengths": ("lengths", "length"),
}


class Examples(NamedTuple):
    """B sequences of T steps, and the A answers to each: those of its last A steps, or one for every step.

    `x`, (B, T, I) float32, or (B, T) int64 for tokens.
    `y`, (B, A): numbers as float32, classes as int64; NaN or -100 where there is no answer, which counts for nothing.
    `number`, (B,) int64: of each example in its part of the data.
    """

    x: Tensor
    y: Tensor
    number: Tensor

    def unanswered(self) -> "Examples":
        """The same examples without their answers."""
        return self._replace(y=torch.full_like(self.y, torch.nan if self.y.is_floating_point() else IGNORED))


class SequenceBatch(NamedTuple):
    """What a batch of sequences may have: `Examples`, whose numbers may be missing, of different lengths, and more.

    `x`, `y`, `number`: as those of `Examples`; y is padded like x where there is an answer to every step.
    `lengths`, (B,) int64: the steps of each sequence; None where all have T.
    `inputs`: what a cell takes besides x, by name, (B, T, ...): time gaps "dt", a "mask" of what was observed.
    """

    x: Tensor
    y: Tensor
    number: Tensor | None = None
    lengths: Tensor | None = None
    inputs: dict[str, Tensor] | None = None

    def unanswered(self) -> "SequenceBatch":
        """The same sequences without their answers."""
        return self._replace(y=torch.full_like(self.y, torch.nan if self.y.is_floating_point() else IGNORED))


def as_sequences(batch: Any) -> SequenceBatch:
    """A batch of any data module: Examples, (x, y), (x, y, lengths), or a dictionary by the names of `SequenceBatch`.

    Of a dictionary, "input_ids" are x, "labels" or "label" y; an "attention_mask" says the lengths; what else it has
    are inputs of the cell.

    Raises:
        RnnZooError: it is none of them, or its attention mask has a step behind one that is missing.
    """
    if isinstance(batch, SequenceBatch):
        return batch
    if isinstance(batch, Examples):
        return SequenceBatch(*batch)
    if isinstance(batch, Mapping):
        found = {field: next((n for n in names if n in batch), None) for field, names in _NAMES.items()}
        if found["x"] is not None and found["y"] is not None:
            fields = {field: batch[name] for field, name in found.items() if name is not None}
            taken = {*found.values(), "attention_mask"}
            if "attention_mask" in batch and "lengths" not in fields:
                fields["lengths"] = _lengths(batch["attention_mask"])
            others = {name: value for name, value in batch.items() if name not in taken and isinstance(value, Tensor)}
            return _in_columns(SequenceBatch(**fields, inputs=others or None))
    elif isinstance(batch, Sequence) and len(batch) in (2, 3) and all(isinstance(part, Tensor) for part in batch):
        return _in_columns(SequenceBatch(batch[0], batch[1], lengths=batch[2] if len(batch) == 3 else None))
    raise RnnZooError(
        "a batch must be rnnzoo.data.Examples, (x, y), (x, y, lengths), or a dictionary with x and y, not"
        f" {_described(batch)}"
    )


def _in_columns(batch: SequenceBatch) -> SequenceBatch:
    """With one answer to a sequence, (B,), as (B, 1)."""
    return batch._replace(y=batch.y[:, None]) if batch.y.dim() == 1 else batch


def _lengths(mask: Tensor) -> Tensor:
    mask = mask.bool()
    if (mask[:, 1:] & ~mask[:, :-1]).any():
        raise RnnZooError("attention_mask has a step behind one that is missing: sequences must be padded at their end")
    return mask.sum(1)


def _described(batch: Any) -> str:
    if isinstance(batch, Mapping):
        return f"a dictionary with {', '.join(map(str, batch))}"
    if isinstance(batch, Sequence) and not isinstance(batch, str):
        return f"a {type(batch).__name__} of {len(batch)}"
    return f"a {type(batch).__name__}"
