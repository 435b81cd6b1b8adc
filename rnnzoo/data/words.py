"""Sentences of words as numbers: the words, and the characters that each of them consists of."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnzoo.data.streams import IGNORED
from rnnzoo.data.tokenizers import SPECIAL, UNKNOWN, TextTokenizer
from rnnzoo.errors import RnnZooError

UNKNOWN_CHARACTER = UNKNOWN  # has the id 0
_LONGEST = 64  # characters of a word; of a longer one the middle is left out


class TaggedBatch(NamedTuple):
    """B sentences of T words, with their tags.

    `words`, (B, T) int64, 0 behind a sentence's end.
    `characters`, (U, C) int64: of the U different words, 0 behind a word's end; `spelt`, (U,): how many each has.
    `which`, (B, T) int64: the place of each word among the U.
    `tags`, (B, T) int64: -100 behind a sentence's end, and where there are none.
    `lengths`, (B,) int64: words of each sentence.
    `number`, (B,) int64: of each sentence in its part of the data.
    `forms`: the words themselves, where they are to be written; else None.
    """

    words: Tensor
    characters: Tensor
    spelt: Tensor
    which: Tensor
    tags: Tensor
    lengths: Tensor
    number: Tensor
    forms: list[list[str]] | None = None

    def unanswered(self) -> "TaggedBatch":
        """The same sentences without their tags."""
        return self._replace(tags=torch.full_like(self.tags, IGNORED))


class Words:
    """What makes numbers of sentences.

    Args:
        tokenizer: of whole words; one that splits a word does not know it.
        characters: the first for those that are not among them.

    Raises:
        RnnZooError: a tokenizer to which nothing is unknown.
    """

    def __init__(self, tokenizer: TextTokenizer, characters: Sequence[str]) -> None:
        if tokenizer.unknown is None:
            raise RnnZooError(
                f"a tokenizer of kind {tokenizer.kind!r} knows no words: tagging takes words as they come"
            )
        self.tokenizer, self.unknown = tokenizer, tokenizer.unknown
        self.place = {character: k for k, character in enumerate(characters)}

    def encode(self, sentences: Sequence[Sequence[str]]) -> dict[str, list[Any]]:
        """Columns of numbers, a row a sentence.

        "tokens" has the words; "characters" those of all of them, one behind the other; "begins" and "sizes" where
        there each word's begin, and how many it has.
        """
        flat = [word for sentence in sentences for word in sentence]
        ids = [one[0] if len(one) == 1 else self.unknown for one in self.tokenizer.encode(flat)]
        columns: dict[str, list[Any]] = {name: [] for name in ("tokens", "characters", "begins", "sizes")}
        done, place = 0, self.place
        for sentence in sentences:
            spelt = [[place.get(character, 0) for character in _short(word)] or [0] for word in sentence]
            sizes = [len(word) for word in spelt]
            columns["tokens"].append(ids[done : done + len(sentence)])
            columns["characters"].append([k for word in spelt for k in word])
            columns["begins"].append([0, *np.cumsum(sizes[:-1], dtype=int).tolist()][: len(sizes)])
            columns["sizes"].append(sizes)
            done += len(sentence)
        return columns


def _short(word: str) -> str:
    half = _LONGEST // 2
    return word if len(word) <= _LONGEST else word[:half] + word[-half:]


def collate_words(columns: dict[str, Any], number: np.ndarray) -> TaggedBatch:
    """A batch of the columns of `Words.encode`, as `Ragged`, with "tags", and "forms" where they are to be written."""
    tokens, sizes, spelling = columns["tokens"], columns["sizes"].padded().numpy(), columns["characters"]
    lengths = tokens.lengths.astype(np.int64)
    inside = np.arange(sizes.shape[1]) < lengths[:, None]
    first = (columns["begins"].padded().numpy() + spelling.starts[:, None])[inside]
    size = sizes[inside]
    steps = np.arange(size.max(initial=1))
    there = steps < size[:, None]
    spelt = np.where(there, spelling.values[np.where(there, first[:, None] + steps, 0)], -1)  # no character is -1
    different, place = np.unique(spelt, axis=0, return_inverse=True)
    which = np.zeros(inside.shape, np.int64)
    which[inside] = place.reshape(-1)
    forms = columns.get("forms")
    return TaggedBatch(
        words=tokens.padded(),
        characters=torch.from_numpy(np.maximum(different, 0).astype(np.int64)),
        spelt=torch.from_numpy((different >= 0).sum(1)),
        which=torch.from_numpy(which),
        tags=columns["tags"].padded(IGNORED),
        lengths=torch.from_numpy(lengths),
        number=torch.from_numpy(number.astype(np.int64)),
        forms=None if forms is None else [list(words) for words in _lists(forms, lengths)],
    )


def _lists(ragged: Any, lengths: np.ndarray) -> list[Any]:
    return [ragged.values[start : start + n] for start, n in zip(ragged.starts, lengths, strict=True)]


def whole_words(counts: Mapping[str, int], size: int | None, min_count: int, lowercase: bool) -> TextTokenizer:
    """The tokenizer of words as they are given, by falling frequency.

    Args:
        counts: of words.
        size: of the vocabulary at most, with those of `SPECIAL`.
        min_count: how often a word occurs at least.
        lowercase: whether words are known in lower case.
    """
    from tokenizers import Tokenizer, models, normalizers

    if lowercase:
        lowered: Counter[str] = Counter()
        for word, count in counts.items():
            lowered[word.lower()] += count
        counts = lowered
    common = sorted((word for word in counts if counts[word] >= min_count), key=lambda word: (-counts[word], word))
    vocabulary = list(dict.fromkeys([*SPECIAL, *common]))[:size]
    backend = Tokenizer(models.WordLevel({word: k for k, word in enumerate(vocabulary)}, unk_token=UNKNOWN))
    if lowercase:
        backend.normalizer = normalizers.Lowercase()
    return TextTokenizer(backend, "words")
