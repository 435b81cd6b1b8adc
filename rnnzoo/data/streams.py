"""A text as streams that run side by side, in batches of which each continues the one before."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

IGNORED = -100  # the target of a step that has none: what torch's cross entropy leaves out


class StreamBatch(NamedTuple):
    """Some steps of every stream: B streams, T steps.

    `inputs`, (B, T) int64: characters; 0 where a stream has ended.
    `targets`, (B, T) int64: the character after each; -100 where a stream has ended.
    `positions`, (B,) int64: of each row's first target in the split, in characters from its beginning.
    """

    inputs: Tensor
    targets: Tensor
    positions: Tensor


class TokenBatch(NamedTuple):
    """The same of tokens, each of which stands for some characters of the text.

    `inputs`, `targets`, `positions`: as those of `StreamBatch`, in tokens.
    `characters`, (B, T) int64: of the text that each target stands for, with what is before it and no part of a token.
    `spelled`, (B, T) int64: of the word that stands in the place of an unknown target, and one for its end; else 0.
    """

    inputs: Tensor
    targets: Tensor
    positions: Tensor
    characters: Tensor
    spelled: Tensor


class Streams(Dataset[Any]):
    """A split as `streams` contiguous pieces of equal length (but for one character); item k is the k-th batch.

    Row b of item k + 1 goes on where row b of item k ended. Each character but the first is a target exactly once.

    Args:
        ids: the characters of the split, (N,), N above `streams`, of any integer type.
        table: the id in the vocabulary of each number in `ids`, int64.
        streams: how many in all.
        sequence_length: steps in an item, but for the last, which is shorter where they do not come out even.
        rows: the streams that the items hold; all of them by default.
    """

    def __init__(
        self, ids: np.ndarray, table: np.ndarray, streams: int, sequence_length: int, rows: range | None = None
    ) -> None:
        self.ids, self.table, self.sequence_length = ids, table, sequence_length
        targets = len(ids) - 1
        self.steps = -(-targets // streams)
        bounds = np.arange(streams + 1) * targets // streams  # stream b reads the characters from bounds[b] on
        rows = range(streams) if rows is None else rows
        self._starts, self._stops = bounds[rows.start : rows.stop], bounds[rows.start + 1 : rows.stop + 1]

    def __len__(self) -> int:
        return -(-self.steps // self.sequence_length)

    def __getitem__(self, k: int) -> Any:
        if not 0 <= k < len(self):
            raise IndexError(f"batch {k} of {len(self)}")
        first = k * self.sequence_length
        starts = self._starts + first
        place = starts[:, None] + np.arange(min(self.sequence_length, self.steps - first))
        ended = place >= self._stops[:, None] if first + place.shape[1] == self.steps else None
        return self.batch(place, ended)

    def batch(self, place: np.ndarray, ended: np.ndarray | None) -> Any:
        """The batch whose inputs lie at the places (B, T); `ended` says which are behind their stream's end."""
        characters, following = self.table[self.ids[place]], self.table[self.ids[place + 1]]
        if ended is not None:
            characters[ended], following[ended] = 0, IGNORED
        positions = torch.from_numpy(place[:, 0] + 1)
        return StreamBatch(torch.from_numpy(characters), torch.from_numpy(following), positions)


class TokenStreams(Streams):
    """The same of encoded tokens, in batches of `TokenBatch`.

    Args:
        tokens: (N,) records with the fields "id", "characters" and "spelled", see `rnnzoo.data.encoded_tokens`.
        streams, sequence_length, rows: as of `Streams`.
    """

    def __init__(self, tokens: np.ndarray, streams: int, sequence_length: int, rows: range | None = None) -> None:
        super().__init__(tokens, np.zeros(0, np.int64), streams, sequence_length, rows)

    def batch(self, place: np.ndarray, ended: np.ndarray | None) -> TokenBatch:
        return token_batch(self.ids[place], self.ids[place + 1], place[:, 0] + 1, ended)


def token_batch(here: np.ndarray, following: np.ndarray, positions: np.ndarray, ended: np.ndarray | None) -> TokenBatch:
    """The batch of records (B, T) and of those that follow each; `ended` says which are behind their stream's end."""
    inputs, targets = here["id"].astype(np.int64), following["id"].astype(np.int64)
    counts = [following[name].astype(np.int64) for name in ("characters", "spelled")]
    if ended is not None:
        inputs[ended], targets[ended] = 0, IGNORED
        for each in counts:
            each[ended] = 0
    return TokenBatch(*(torch.from_numpy(a) for a in (inputs, targets, positions, *counts)))
