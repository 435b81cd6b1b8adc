"""Which part of the data is for training, validation and test."""

from collections.abc import Mapping, Sequence

from rnnzoo.errors import RnnZooError

PARTS = ("train", "validation", "test")
_NAMES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}


def check_fractions(split: Sequence[float]) -> tuple[float, float, float]:
    """The three fractions, each above 0 and 1 in all.

    Raises:
        RnnZooError: they are not.
    """
    if len(split) != 3 or any(f <= 0 for f in split) or abs(sum(split) - 1) > 1e-6:
        raise RnnZooError(
            f"split={list(split)} must be three fractions above 0 that sum to 1: of training, validation and test"
        )
    return split[0], split[1], split[2]


def own_splits(names: Sequence[str], dataset: str) -> dict[str, str]:
    """The data set's own split for each part that it has one for; a data set's only split is for training.

    Raises:
        RnnZooError: there are several, and none is called train.
    """
    if len(names) == 1:
        return {"train": names[0]}
    found = {part: name for part in PARTS for name in _NAMES[part][::-1] if name in names}
    if "train" not in found:
        raise RnnZooError(f"dataset={dataset!r} has the splits {', '.join(names)}, but none called train")
    return found


def cut(lengths: Mapping[str, int], split: tuple[float, float, float]) -> dict[str, range]:
    """Where each part lies in the data set's own splits laid one behind the other.

    A part that the data set has no split for is the end of the part before it, as large beside it as `split` says.

    Args:
        lengths: of the split for each part that has one, in the order of `PARTS`.
        split: fractions of training, validation and test.
    """
    parts, start = {}, 0
    for part, length in lengths.items():
        first = PARTS.index(part)
        last = next((p for p in range(first + 1, 3) if PARTS[p] in lengths), 3)
        whole, done = sum(split[first:last]), 0.0
        for place in range(first, last):
            begin = start + round(length * done / whole)
            done += split[place]
            parts[PARTS[place]] = range(begin, start + round(length * done / whole))
        start += length
    return parts


def check_parts(parts: Mapping[str, range], dataset: str, unit: str) -> None:
    """Raises RnnZooError when a part is empty; `unit` is what the data consists of."""
    for part, where in parts.items():
        if not where:
            total = sum(len(w) for w in parts.values())
            raise RnnZooError(f"dataset={dataset!r} has {total:,} {unit}: too few, split leaves none for {part}")
