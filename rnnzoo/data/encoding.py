"""Text of any length as an array of small numbers, a piece at a time."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from rnnzoo.data.cache import EncodedText, cached
from rnnzoo.data.vocabulary import code_points

Pieces = Callable[[], Iterable[str]]  # the text again at each call, cut anywhere

WORTH_KEEPING = 1 << 26  # characters; below, encoding takes less than half a second
_BLOCK = 1 << 20  # characters that are encoded at a time: that takes four bytes for each
_UNICODE = 0x110000


def encode_splits(
    splits: dict[str, Pieces], folder: Path, warn: Callable[[str], object]
) -> tuple[EncodedText, dict[str, int]]:
    """The splits laid one behind the other as one encoded text, and the length of each in characters.

    Long texts are kept in `folder`, by a hash of the text, and not encoded again.
    """
    digest, lengths = hashlib.sha256(), {}
    for name, pieces in splits.items():
        lengths[name] = 0
        for piece in pieces():
            digest.update(piece.encode("utf-8", "surrogatepass"))
            lengths[name] += len(piece)
    size = sum(lengths.values())

    def every() -> Iterator[str]:
        for pieces in splits.values():
            for piece in pieces():
                yield from (piece[k : k + _BLOCK] for k in range(0, len(piece), _BLOCK))

    if size < WORTH_KEEPING:
        return _encode(every, size), lengths
    return cached(digest.hexdigest(), folder, lambda: _encode(every, size), warn), lengths


def _encode(pieces: Pieces, size: int) -> EncodedText:
    seen = np.zeros(_UNICODE, dtype=bool)
    for piece in pieces():
        seen[code_points(piece)] = True
    codes = np.flatnonzero(seen)
    kind = np.uint8 if codes.size <= 1 << 8 else np.uint16 if codes.size <= 1 << 16 else np.int32
    table = np.zeros(_UNICODE, dtype=kind)
    table[codes] = np.arange(codes.size)
    ids, at = np.empty(size, dtype=kind), 0
    for piece in pieces():
        ids[at : at + len(piece)] = table[code_points(piece)]
        at += len(piece)
    return EncodedText(ids, codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass"))
