"""Characters and their ids."""

import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rnnzoo.description import of_hyper_parameters
from rnnzoo.errors import RnnZooError

SHOWN = 5  # characters named in a message


class Vocabulary:
    """Characters in a fixed order; a character's id is its place.

    >>> vocabulary = Vocabulary(["a", "b", "c"])
    >>> vocabulary.decode(vocabulary.encode("cab"))
    'cab'

    Args:
        characters: one string of length 1 for each id, no two alike.

    Raises:
        RnnZooError: no characters, one given twice, or one that is not a single character.
    """

    def __init__(self, characters: Sequence[str]) -> None:
        self.characters = list(characters)
        if not self.characters:
            raise RnnZooError("vocabulary is empty: it must hold at least one character")
        if wrong := [c for c in self.characters if not (isinstance(c, str) and len(c) == 1)]:
            raise RnnZooError(f"vocabulary has {wrong[0]!r}, but each entry must be a string of one character")
        self._codes = code_points("".join(self.characters))
        self._order = np.argsort(self._codes, kind="stable")
        self._sorted = self._codes[self._order]
        if (twice := np.flatnonzero(self._sorted[1:] == self._sorted[:-1])).size:
            raise RnnZooError(f"vocabulary has {chr(self._sorted[twice[0]])!r} twice, but characters must be distinct")

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str, name: str = "text") -> Tensor:
        """The ids of `text`, (len(text),) int64.

        Raises:
            RnnZooError: `text` has characters that are not in the vocabulary; it calls the text `name`.
        """
        codes = code_points(text)
        place = np.minimum(np.searchsorted(self._sorted, codes), len(self) - 1)
        if (unknown := np.flatnonzero(self._sorted[place] != codes)).size:
            listed = list_unknown(codes[unknown], unknown)
            raise RnnZooError(f"{name} has {listed} not in the vocabulary of {len(self)}")
        return torch.from_numpy(self._order[place])

    def decode(self, ids: Tensor | Iterable[int]) -> str:
        """The text of `ids`, any shape, row after row.

        Raises:
            RnnZooError: an id is not in [0, len(vocabulary)).
        """
        flat = np.asarray(ids.cpu() if isinstance(ids, Tensor) else list(ids), dtype=np.int64).reshape(-1)
        if (wrong := flat[(flat < 0) | (flat >= len(self))]).size:
            raise RnnZooError(f"ids has {wrong[0]}, but the ids of {len(self)} characters are 0 to {len(self) - 1}")
        return self._codes[flat].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def code_points(text: str) -> np.ndarray:
    """The Unicode numbers of `text`, (len(text),) uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def list_unknown(codes: np.ndarray, where: np.ndarray) -> str:
    """``"3 characters ('é' at 12, 'ß' at 40)"``, for the characters `codes` at the places `where` of a text."""
    first = np.sort(np.unique(codes, return_index=True)[1])
    named = ", ".join(f"{chr(codes[k])!r} at {where[k]:,}" for k in first[:SHOWN])
    more = f", and {len(first) - SHOWN} others" if len(first) > SHOWN else ""
    return f"{where.size:,} character{'s' * (where.size > 1)} ({named}{more})"


def read_vocabulary(path: str, name: str) -> Vocabulary:
    """The vocabulary that a checkpoint holds among its hyper-parameters.

    Args:
        path: a checkpoint that Lightning wrote for one of the language models here.
        name: what the messages call the argument that `path` was given for.

    Raises:
        RnnZooError: no such file, not a checkpoint or a truncated one, or one without a vocabulary.
    """
    if not Path(path).is_file():
        raise RnnZooError(f"{name}={path!r}: no such file; give a checkpoint of a language model")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        raise RnnZooError(
            f"{name}={path!r} is not a checkpoint, or a truncated one; give one of a language model"
        ) from error
    held = checkpoint.get("hyper_parameters") if isinstance(checkpoint, dict) else None
    from rnnzoo.tasks.checkpoints import contents_of

    with contents_of(f"{name}={path!r}"):
        characters = of_hyper_parameters(held).vocabulary if isinstance(held, dict) else None
    if not isinstance(characters, list | tuple) or not all(isinstance(each, str) for each in characters):
        raise RnnZooError(f"{name}={path!r} holds no vocabulary; give a checkpoint of a character language model")
    return Vocabulary(characters)
