"""Encoded text in the user's cache folder: keyed by content, written aside and renamed, checked when read."""

import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from rnnzoo.cache import is_full, written_aside

_LAYOUT = 1  # of the file; another one is another key


class EncodedText(NamedTuple):
    """A text as numbers: `ids`, (N,) uint8, uint16 or int32, are places in the sorted distinct `characters`."""

    ids: np.ndarray
    characters: str


def cached(key: str, folder: Path, make: Callable[[], EncodedText], warn: Callable[[str], object]) -> EncodedText:
    """What `make` returns, from the cache where it is there and whole.

    What comes from the cache is mapped into memory, so the processes of a machine share one copy. A folder that cannot
    be written costs a warning, not the run.

    Args:
        key: a hash of all that the result depends on.
        folder: where the cache is; made if need be.
        make: encodes the text.
        warn: is called with a sentence when the result cannot be kept.
    """
    path = folder / f"text-{key}-{_LAYOUT}.pt"
    if (kept := _read(path)) is not None:
        return kept
    made = make()
    try:
        _write(path, made)
    except (OSError, RuntimeError) as error:  # RuntimeError: torch.save on a full disk
        reason = "the disk is full" if is_full(path.parent) else error
        warn(f"the encoded text is not kept for the next run: {path.parent} cannot be written ({reason})")
    return made


def _read(path: Path) -> EncodedText | None:
    """None where there is no file, or one that is truncated or damaged."""
    try:
        kept = torch.load(path, weights_only=True, mmap=True)
        text = EncodedText(kept["ids"].numpy(), kept["characters"])
        whole = zlib.crc32(text.ids.data) == kept["checksum"]
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return text if whole else None


def _write(path: Path, text: EncodedText) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"ids": torch.from_numpy(text.ids), "characters": text.characters, "checksum": zlib.crc32(text.ids.data)}
    with written_aside(path) as made:
        torch.save(content, made)
