"""The tokens of a text, each with the characters that it stands for, on the disk where there are many."""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rnnzoo.cache import cannot_write, is_full, written_aside
from rnnzoo.data.tokenizers import TextTokenizer

_AT_ONCE = 1 << 20  # characters that are encoded at a time
_MOST = (1 << 16) - 1  # of the characters of a token that are counted
_LAYOUT = b"rnnzoo-tokens-1\n"


def record(vocabulary_size: int) -> np.dtype[Any]:
    """The type of an encoded token: "id", "characters" of the text that it stands for with what is before it, and
    "spelled", the characters of a word that is unknown and one for its end."""
    return np.dtype([("id", "<u2" if vocabulary_size <= 1 << 16 else "<u4"), ("characters", "<u2"), ("spelled", "<u2")])


def encode_pieces(tokenizer: TextTokenizer, pieces: Iterable[str]) -> Iterator[np.ndarray]:
    """Tokens of a text that comes in pieces, (N,) records of `record` at a time.

    What no token stands for, as a space between words, counts for the token behind it, so that the characters add up to
    those of the text up to its last token.

    Args:
        tokenizer: of them.
        pieces: cut where the tokenizer cuts too, at line ends.
    """
    kind, before = record(len(tokenizer)), 0
    for texts in _batches(pieces):
        encoded = tokenizer.backend.encode_batch(texts, add_special_tokens=False)
        lengths = np.array([len(text) for text in texts])
        spans = np.array([span for one in encoded for span in one.offsets], np.int64).reshape(-1, 2)
        size = spans[:, 1] - spans[:, 0]
        starts = np.repeat(lengths.cumsum() - lengths, [len(one) for one in encoded])  # of the texts, laid end to end
        ends = np.maximum.accumulate(spans[:, 1] + starts)  # parts of a character end where it does
        made = np.empty(len(ends), kind)
        made["id"] = np.fromiter((k for one in encoded for k in one.ids), np.int64, len(ends))
        made["characters"] = np.minimum(np.diff(ends, prepend=-before), _MOST)
        made["spelled"] = 0
        if tokenizer.unknown is not None:
            made["spelled"] = np.where(made["id"] == tokenizer.unknown, np.minimum(size + 1, _MOST), 0)
        before = int(lengths.sum() - ends[-1]) if len(ends) else before + int(lengths.sum())
        yield made


def _batches(pieces: Iterable[str]) -> Iterator[list[str]]:
    texts, size = [], 0
    for piece in pieces:
        texts.append(piece)
        size += len(piece)
        if size >= _AT_ONCE:
            yield texts
            texts, size = [], 0
    if texts:
        yield texts


def encode_tokens(
    tokenizer: TextTokenizer,
    pieces: Callable[[], Iterable[str]],
    path: Path | None,
    warn: Callable[[str], object],
) -> np.ndarray:
    """All tokens of a text, (N,) records of `record`; read-only and mapped into memory where `path` is given.

    Args:
        tokenizer, pieces: as of `encode_pieces`; `pieces` is called where the text is needed.
        path: of the file that keeps them, named by all that they depend on; None keeps them in memory.
        warn: is called with a sentence when they cannot be kept.
    """
    kind = record(len(tokenizer))
    if path is not None:
        if (kept := _read(path, kind)) is not None:
            return kept
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_aside(path) as made, Path(made).open("wb") as file:
                _write(file, encode_pieces(tokenizer, pieces()))
            if (kept := _read(path, kind)) is not None:
                return kept
        except OSError as error:
            if not cannot_write(error):
                raise
            reason = "the disk is full" if is_full(path.parent) else error
            warn(f"the encoded text is not kept for the next run: {path.parent} cannot be written ({reason})")
    return np.concatenate([np.empty(0, kind), *encode_pieces(tokenizer, pieces())])


def _write(file: BinaryIO, blocks: Iterable[np.ndarray]) -> None:
    checksum = 0
    for block in blocks:
        content = block.tobytes()
        checksum = zlib.crc32(content, checksum)
        file.write(content)
    file.write(_footer(checksum))


def _read(path: Path, kind: np.dtype[Any]) -> np.ndarray | None:
    """None where there is no file, or one that is truncated or damaged."""
    size = len(_footer(0))
    try:
        whole = path.stat().st_size
        count, rest = divmod(whole - size, kind.itemsize)
        if count < 1 or rest:
            return None
        tokens = np.memmap(path, kind, "r", shape=(count,))
        with path.open("rb") as file:
            file.seek(whole - size)
            footer = file.read()
    except (OSError, ValueError):
        return None
    return tokens if footer == _footer(zlib.crc32(tokens.view(np.uint8).data)) else None


def _footer(checksum: int) -> bytes:
    return _LAYOUT + json.dumps({"checksum": f"{checksum:08x}"}).encode()
