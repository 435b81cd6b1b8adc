"""Text as the ids of a language model, and ids as text: by characters or by a tokenizer, and a piece at a time."""

import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from rnnzoo.data.tokenizers import TextTokenizer
from rnnzoo.data.vocabulary import Vocabulary
from rnnzoo.errors import RnnZooError

_BEFORE = re.compile(r" +(?=[,.;:?!)\]}%’”\n])")  # spaces that no one writes before these marks
_BEHIND = re.compile(r"(?<=[(\[{$‘“\n]) +")
_WINDOW = 6  # tokens before the new ones that their text may hang on
_PART = "�"  # what a part of a character decodes to


class Characters:
    """Text whose tokens are characters.

    Args:
        vocabulary: of them.
    """

    unit = "character"
    backward = False
    unwritten: tuple[int, ...] = ()

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary, self.names = vocabulary, vocabulary.characters

    def encode(self, text: str, name: str) -> Tensor:
        """The ids (N,) of a text.

        Raises:
            RnnZooError: a character that is not known; it calls the text `name`.
        """
        return self.vocabulary.encode(text, name)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids."""
        return self.vocabulary.decode(list(ids))

    def begins_with(self, prompt: str) -> str:
        """`prompt` where all of it is known, else something to begin with."""
        known = self.names
        return prompt if set(prompt) <= set(known) else next((c for c in "\n " if c in known), known[0])


class Tokens:
    """Text by a tokenizer.

    Args:
        tokenizer: of the model.
    """

    unit = "token"

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.tokenizer, self.names = tokenizer, tokenizer.vocabulary
        self.backward = tokenizer.backward
        special = {tokenizer.unknown, tokenizer.begin, tokenizer.end}
        if tokenizer.kind == "characters":  # others have names of several, "<pad>"
            special |= {k for k, name in enumerate(self.names) if len(name) != 1}
        self.unwritten = tuple(sorted(k for k in special if k is not None))

    def encode(self, text: str, name: str) -> Tensor:
        """The ids (N,) of a text.

        Raises:
            RnnZooError: it has no token; it calls the text `name`.
        """
        (ids,) = self.tokenizer.encode([text])
        if not ids:
            raise RnnZooError(f"{name} {text!r} has no token of this model's, {self.tokenizer.kind}")
        return torch.tensor(ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; of words, with no space where none is written before a mark or behind it."""
        text = self.tokenizer.decode(ids)
        return _BEHIND.sub("", _BEFORE.sub("", text)) if self.tokenizer.kind == "words" else text

    def begins_with(self, prompt: str) -> str:
        """`prompt` where all of it is known, else something to begin with."""
        (ids,) = self.tokenizer.encode([prompt])
        if ids and self.tokenizer.unknown not in ids:
            return prompt
        if self.tokenizer.kind == "characters" and (spaces := [c for c in "\n " if c in self.names]):
            return spaces[0]
        return next(name for k, name in enumerate(self.names) if k not in self.unwritten)


class Written:
    """A text that grows by a token at a time, up to the first of some strings to stop at.

    That of a model which reads texts from their end grows from there, and is written so, its last letter first.

    Args:
        text: what decodes tokens.
        prompt: the tokens before the first.
        stop: strings; what is written ends before the first that occurs in it.
    """

    def __init__(self, text: Characters | Tokens, prompt: Sequence[int], stop: Sequence[str] = ()) -> None:
        self._text, self._stop = text, tuple(one[::-1] if text.backward else one for one in stop)
        self._ids = list(prompt)[-_WINDOW:]
        self._read = len(self._ids)  # tokens whose text is out
        self._held, self.ended = "", False

    def push(self, token: int) -> str:
        """What one more token adds that can be written already."""
        self._ids.append(token)
        before = self._decode(self._ids[: self._read])
        whole = self._decode(self._ids)
        if whole.endswith(_PART):
            return ""  # the rest of a character is still to come
        self._ids = self._ids[-_WINDOW:]
        self._read = len(self._ids)
        return self._until_stop(whole[len(before) :])

    def _decode(self, ids: Sequence[int]) -> str:
        text = self._text.decode(ids)
        return text[::-1] if self._text.backward else text

    def close(self) -> str:
        """What was held back, at the end."""
        held, self._held = self._held, ""
        return "" if self.ended else held

    def _until_stop(self, more: str) -> str:
        self._held += more
        places = [place for stop in self._stop if (place := self._held.find(stop)) >= 0]
        if places:
            self.ended = True
            return self._held[: min(places)]
        keep = max((_overlap(self._held, stop) for stop in self._stop), default=0)
        out, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return out


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` may be the beginning of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
