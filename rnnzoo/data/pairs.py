"""Pairs of texts as numbers: of a source its tokens and what a copy of them would be, of a target its tokens."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnzoo.data.ragged import Ragged
from rnnzoo.data.streams import IGNORED
from rnnzoo.data.tokenizers import TextTokenizer
from rnnzoo.errors import RnnZooError


class PairBatch(NamedTuple):
    """B sources of at most S tokens, with their end, and targets of at most T, with their end.

    `source`, (B, S) int64; 0 behind a source's end. `lengths`, (B,) int64: tokens of each source. `copies`, (B, S): the
    target ids of the source's tokens; from V on those of tokens that the target's vocabulary of V lacks, each source's
    own. `begun`, (B, T): targets behind the token that begins one. `targets`, (B, T): the tokens to be predicted, -100
    where there is none. `number`, (B,): of the row in its part. `texts`: the sources. `references`: the right answers
    to each, if they are known.
    """

    source: Tensor
    lengths: Tensor
    copies: Tensor
    begun: Tensor
    targets: Tensor
    number: Tensor
    texts: Sequence[str]
    references: Sequence[Sequence[str]] | None = None

    def unanswered(self) -> "PairBatch":
        """The same sources without their targets."""
        return self._replace(targets=torch.full_like(self.targets, IGNORED))


class Source(NamedTuple):
    """A source's tokens; what a copy of each would be in the target; and the words of those copies from V on."""

    tokens: list[int]
    copies: list[int]
    words: list[str]


class PairTokenizer:
    """The tokenizers of both sides, which may be one.

    Args:
        source, target: of each side.

    Raises:
        RnnZooError: the target's has no token for the end.
    """

    def __init__(self, source: TextTokenizer, target: TextTokenizer):
        if target.end is None:
            raise RnnZooError("target_tokenizer has no token for the end of a text, as </s>: it cannot write targets")
        self.source, self.target = source, target
        self.begin = target.end if target.begin is None else target.begin
        self.end = target.end
        self.size = len(target)
        place = {token: k for k, token in enumerate(target.vocabulary)}
        self._place = place
        self._known = np.array([place.get(token, -1) for token in source.vocabulary])
        if source.unknown is not None:
            self._known[source.unknown] = -1

    def sources(self, texts: Sequence[str]) -> list[Source]:
        """Sources without their ends."""
        found = []
        for text, tokens in zip(texts, self.source.encode(texts), strict=True):
            copies = self._known[tokens] if tokens else np.zeros(0, dtype=np.int64)
            found.append(self._lengthened(text, tokens) if (copies < 0).any() else Source(tokens, copies.tolist(), []))
        return found

    def _lengthened(self, text: str, tokens: list[int]) -> Source:
        """With ids from V on for what the target's vocabulary lacks."""
        words = _words(self.source, text)
        own: dict[str, int] = {}
        copies = [
            self._place[word] if word in self._place else self.size + own.setdefault(word, len(own)) for word in words
        ]
        return Source(tokens, copies, list(own))

    def targets(self, texts: Sequence[str], sources: Sequence[Source]) -> list[list[int]]:
        """Targets without begin and end; what their vocabulary lacks and the source has is the source's copy."""
        found = self.target.encode(texts)
        for k, (text, source) in enumerate(zip(texts, sources, strict=True)):
            if source.words and self.target.unknown in found[k]:
                own = {word: self.size + i for i, word in enumerate(source.words)}
                unknown = self.target.unknown
                words = _words(self.target, text)
                found[k] = [own.get(w, t) if t == unknown else t for w, t in zip(words, found[k], strict=True)]
        return found

    def text(self, tokens: Sequence[int], words: Sequence[str]) -> str:
        """The text of target tokens, of which those from V on are `words`."""
        if all(token < self.size for token in tokens):
            return self.target.decode(tokens)
        pieces: list[str] = []
        run: list[int] = []
        for token in [*tokens, None]:
            if token is not None and token < self.size:
                run.append(token)
                continue
            pieces += [self.target.decode(run)] if run else []
            pieces += [] if token is None else [words[token - self.size]]
            run = []
        return ("" if self.target.kind in ("characters", "bytes") else " ").join(pieces)

    def names(self, tokens: Sequence[int], words: Sequence[str]) -> list[str]:
        """Target tokens one by one, as they are shown."""
        known = self.target.vocabulary
        return [known[token] if token < self.size else words[token - self.size] for token in tokens]


def _words(tokenizer: TextTokenizer, text: str) -> list[str]:
    """The tokens of a text as text: of one that is unknown what stands there."""
    encoding = tokenizer.backend.encode(text, add_special_tokens=False)
    normalizer = tokenizer.backend.normalizer
    words = list(encoding.tokens)
    for k, ((start, stop), token) in enumerate(zip(encoding.offsets, encoding.ids, strict=True)):
        if token == tokenizer.unknown:
            words[k] = text[start:stop] if normalizer is None else normalizer.normalize_str(text[start:stop])
    return words


def collated(
    tokenizer: PairTokenizer,
    columns: Mapping[str, Ragged],
    number: np.ndarray,
    texts: Sequence[str],
    references: Sequence[Sequence[str]] | None,
) -> PairBatch:
    """A batch of what was encoded.

    Args:
        tokenizer: of both sides.
        columns: "source", "copies" and, where targets are known, "target", without ends.
        number: (B,) of the rows.
        texts: the sources.
        references: the right answers to each.
    """
    source, lengths = (
        columns["source"].padded(),
        torch.from_numpy(np.asarray(columns["source"].lengths, dtype=np.int64)),
    )
    copies = columns["copies"].padded()
    if (end := tokenizer.source.end) is not None:
        source, copies = _ended(source, lengths, end, 0), _ended(copies, lengths, tokenizer.end, 0)
        lengths = lengths + 1
    if "target" in columns:
        most = torch.from_numpy(np.asarray(columns["target"].lengths, dtype=np.int64))
        targets = _ended(columns["target"].padded(IGNORED), most, tokenizer.end, IGNORED)
    else:
        targets = torch.full((len(source), 1), IGNORED)
    first = torch.full((len(source), 1), tokenizer.begin)
    begun = torch.cat([first, targets[:, :-1].clamp(min=0)], 1)
    numbers = torch.from_numpy(np.asarray(number, dtype=np.int64))
    return PairBatch(source, lengths, copies, begun, targets, numbers, texts, references)


def _ended(padded: Tensor, lengths: Tensor, end: int, fill: int) -> Tensor:
    """(B, L + 1) with `end` behind the last of each."""
    longest = int(lengths.max())
    room = torch.cat([padded[:, :longest], padded.new_full((len(padded), 1), fill)], 1)
    return room.scatter_(1, lengths[:, None], end)


def ragged(lists: Sequence[Sequence[int]]) -> Ragged:
    """Lists of ints side by side."""
    offsets = np.cumsum([0, *map(len, lists)])
    values: Any = [value for one in lists for value in one]
    return Ragged(np.asarray(values, dtype=np.int64), offsets)
