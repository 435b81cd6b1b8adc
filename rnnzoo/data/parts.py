"""The rows for training, validation and test: a data set's own splits, slices of them, or parts made from a seed."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from rnnzoo.data.handed import shown
from rnnzoo.data.splits import PARTS, check_fractions, cut, own_splits
from rnnzoo.errors import RnnZooError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

_DRAWS = 100  # orders of groups that are tried
_NEAR = 0.01  # share of a part's size by which it may be off before another order is tried


def make_parts(
    splits: Mapping[str, "Dataset"],
    split: Sequence[float],
    seed: int | None,
    group_column: str | None = None,
    named: Mapping[str, str | None] | None = None,
    dataset: Any = None,
    stratify_column: str | None = None,
) -> dict[str, "Dataset"]:
    """The rows of "train", "validation" and "test", each in the order of the data set.

    A part that `named` has a slice for is that slice. Another is the data set's own split of its name (valid, val and
    dev are validation; a data set's only split is for training). One that is missing is made from the part before it:
    rows that are drawn by `seed`, or whole groups of rows, as many beside it as `split` says.

    Args:
        splits: the data set's own, by name.
        split: fractions of training, validation and test.
        seed: of what is drawn; the same seed and rows give the same parts. None draws no rows: a part that is
            missing is the end of the one before it; and it draws groups by seed 0.
        group_column: rows that are equal in it stay together in one part; text, whole numbers or truth values.
        named: for "train", "validation" and "test" the name of a split, or slices of splits in the syntax of
            `datasets`, as "train[:10%]", "train[100:200]" or "train[:80%]+validation"; None for the part's own.
        dataset: its name, for messages; or whatever else it is.
        stratify_column: whose values are shared out alike among the parts that are drawn; has no effect on groups, or
            without a seed.

    Raises:
        RnnZooError: no split of a name, a slice beyond the end of its split, a part without rows, no such column,
            a row without a group, or fewer groups than parts.
    """
    fractions, what = check_fractions(split), "the data set" if dataset is None else f"dataset={shown(dataset)}"
    lengths = {name: len(rows) for name, rows in splits.items()}
    slices = {part: _slices(spec, f"{part}_split", lengths, what) for part, spec in (named or {}).items() if spec}
    given = set(slices)
    if missing := [part for part in PARTS if part not in slices]:
        own = _own(list(splits), missing, slices, what)
        slices |= {part: [(name, range(lengths[name]))] for part, name in own.items()}
    slices = {part: slices[part] for part in PARTS if part in slices}
    for part, pieces in slices.items():
        if not any(len(rows) for _, rows in pieces):
            which = f"{part}_split={(named or {})[part]!r}" if part in given else f"split {pieces[0][0]!r}"
            raise RnnZooError(f"{which} of {what} has no rows")
    _warn_of_overlap(slices, given, what)
    have = {part: _join(splits, pieces, f"{part}_split", what) for part, pieces in slices.items()}
    groups = None if group_column is None else {k: _groups(rows, group_column, what) for k, rows in have.items()}
    if groups is not None and len(have) > 1:
        _warn_of_shared_groups(groups, have, group_column or "", what)
    return _made(have, fractions, seed, groups, group_column, what, stratify_column)


def held_out_parts(splits: Mapping[str, Any], named: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    """Validation and test of data that nothing was trained on: each all of them, where they are in one piece.

    Returns:
        Nothing where the data set has several splits, or `named` says which are read.
    """
    if len(splits) != 1 or any((named or {}).values()):
        return {}
    return dict.fromkeys(PARTS[1:], next(iter(splits.values())))


def held_out_part(parts: Mapping[str, Any], part: str, dataset: Any) -> Any:
    """A part of those that there are.

    Raises:
        RnnZooError: the training part of data in one piece that are held out.
    """
    if part not in parts:
        raise RnnZooError(f"held_out=true: dataset={shown(dataset)} is in one piece, and none of it is for training")
    return parts[part]


def _own(names: list[str], missing: list[str], slices: Mapping[str, object], what: str) -> dict[str, str]:
    """The data set's own split for those of the missing parts that it has one for."""
    if "train" in missing:
        try:
            own = own_splits(names, what)
        except RnnZooError as error:
            raise RnnZooError(
                f"{what} has the splits {', '.join(names)}, but none called train: say which by train_split="
            ) from error
    else:
        own = own_splits(["train", *(name for name in names if name != "train")], what)
    return {part: name for part, name in own.items() if part in missing}


def _slices(spec: str, setting: str, lengths: Mapping[str, int], what: str) -> list[tuple[str, range]]:
    """The rows of splits that a name or slices of the syntax of `datasets` stand for, one behind the other."""
    from datasets import ReadInstruction

    if spec in lengths:  # also where the syntax has no such name
        return [(spec, range(lengths[spec]))]
    try:
        instruction = ReadInstruction.from_spec(spec.strip())
    except (ValueError, AssertionError) as error:
        raise RnnZooError(
            f"{setting}={spec!r} is neither a split of {what} ({', '.join(lengths)}) nor a slice as train[:10%], "
            "train[100:200] or train[:80%]+validation"
        ) from error
    for piece in instruction._relative_instructions:
        name = piece.splitname
        if name not in lengths:
            raise RnnZooError(
                f"{setting}={spec!r}: {what} has no split {name!r}{did_you_mean(name, lengths)} it has "
                f"{', '.join(lengths)}"
            )
        bounds = [bound for bound in (piece.from_, piece.to) if bound is not None]
        if piece.unit == "abs" and (beyond := [bound for bound in bounds if abs(bound) > lengths[name]]):
            raise RnnZooError(
                f"{setting}={spec!r}: {beyond[0]} is beyond the {lengths[name]:,} rows of split {name!r} of {what}"
            )
    try:
        absolute = instruction.to_absolute(dict(lengths))
    except ValueError as error:  # a rounding to whole hundredths of fewer rows than a hundred
        raise RnnZooError(f"{setting}={spec!r} of {what}: {error}") from error
    return [(piece.splitname, range(piece.from_, piece.to)) for piece in absolute]


def _warn_of_overlap(slices: Mapping[str, list[tuple[str, range]]], given: set[str], what: str) -> None:
    for one, other in combinations(slices, 2):
        if not given & {one, other}:
            continue
        shared = sum(
            max(0, min(a.stop, b.stop) - max(a.start, b.start))
            for name, a in slices[one]
            for also, b in slices[other]
            if name == also
        )
        if shared:
            rank_zero_warn(
                f"{one} and {other} have {shared:,} rows of {what} in common, so that figures on {other} say little"
                f" of new data: {_told(slices, given, one)}, {_told(slices, given, other)}"
            )


def _told(slices: Mapping[str, list[tuple[str, range]]], given: set[str], part: str) -> str:
    spec = "+".join(f"{name}[{rows.start}:{rows.stop}]" for name, rows in slices[part])
    return f"{part}_split={spec!r}" if part in given else f"{part} is {spec!r}"


def _join(splits: Mapping[str, "Dataset"], pieces: list[tuple[str, range]], setting: str, what: str) -> "Dataset":
    from datasets import concatenate_datasets

    chosen = [
        splits[name] if len(rows) == len(splits[name]) else splits[name].select(rows) for name, rows in pieces if rows
    ]
    if len(chosen) == 1:
        return chosen[0]
    try:
        return concatenate_datasets(chosen)
    except Exception as error:
        names = ", ".join(name for name, _ in pieces)
        raise RnnZooError(
            f"{setting}: the splits {names} of {what} differ in their columns, so that they cannot be joined: "
            f"{' '.join(str(error).split())}"
        ) from error


def _groups(rows: "Dataset", column: str, what: str) -> np.ndarray:
    """The value of the group column for each row, as text."""
    import pyarrow as pa

    if column not in rows.column_names:
        raise RnnZooError(
            f"group_column={column!r} is not in {what}{did_you_mean(column, rows.column_names)} it has "
            f"{', '.join(rows.column_names)}"
        )
    values = rows.select_columns(column).with_format("arrow")[:][column]
    if values.null_count:
        row = int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0])
        raise RnnZooError(f"group_column={column!r} of {what}: row {row:,} has no group")
    try:
        return values.cast(pa.large_string()).to_numpy(zero_copy_only=False).astype(object)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise RnnZooError(
            f"group_column={column!r} of {what} must hold text or whole numbers, but its type is "
            f"{rows.features[column]}"
        ) from error


def _warn_of_shared_groups(
    groups: Mapping[str, np.ndarray], have: Mapping[str, "Dataset"], column: str, what: str
) -> None:
    sets = {part: set(values) for part, values in groups.items()}
    for one, other in combinations(have, 2):
        if shared := sets[one] & sets[other]:
            rank_zero_warn(
                f"group_column={column!r}: {one} and {other}, as {what} has them, share {len(shared):,} groups, "
                f"{min(shared)!r} for one"
            )


def _made(
    have: Mapping[str, "Dataset"],
    split: tuple[float, float, float],
    seed: int | None,
    groups: Mapping[str, np.ndarray] | None,
    group_column: str | None,
    what: str,
    stratify_column: str | None,
) -> dict[str, "Dataset"]:
    """All three parts: a missing one is drawn from the one before it."""
    lengths = {part: len(rows) for part, rows in have.items()}
    ranges = cut(lengths, split)
    if groups is not None and len(have) == len(PARTS):
        rank_zero_warn(f"group_column={group_column!r} has no effect: {what} has a split for every part")
    made: dict[str, Dataset] = {}
    for part, rows in have.items():
        here = PARTS.index(part)
        last = next((k for k in range(here + 1, 3) if PARTS[k] in have), 3)
        if last == here + 1:
            made[part] = rows
            continue
        sizes = [len(ranges[PARTS[k]]) for k in range(here, last)]
        rng = np.random.default_rng(seed or 0)
        if groups is None and seed is None:
            labels = np.repeat(np.arange(len(sizes)), sizes)
        elif groups is None and stratify_column in rows.column_names:
            labels = _draw_alike(rows[stratify_column], sizes, rng)
        elif groups is None:
            labels = _draw_rows(sizes, rng)
        else:
            labels = _draw_groups(groups[part], sizes, rng, f"group_column={group_column!r} of {what}")
        for k in range(here, last):
            chosen = np.flatnonzero(labels == k - here)
            if not len(chosen):
                raise RnnZooError(f"{what} has {len(rows):,} rows: too few, split leaves none for {PARTS[k]}")
            made[PARTS[k]] = rows.select(chosen)
    return {part: made[part] for part in PARTS}


def _draw_rows(sizes: list[int], rng: np.random.Generator) -> np.ndarray:
    """For each row the number of its part."""
    return rng.permutation(np.repeat(np.arange(len(sizes)), sizes))


def _draw_alike(values: Sequence[Any], sizes: list[int], rng: np.random.Generator) -> np.ndarray:
    """For each row the number of its part, drawn so that each value has its share in every part.

    Rows that are equal stand side by side, in a drawn order; the parts are dealt out over all of them evenly.
    """
    order = rng.permutation(len(values))
    _, numbers = np.unique(np.array([str(value) for value in values]), return_inverse=True)
    order = order[np.argsort(numbers[order], kind="stable")]
    places = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes if size])
    labels = np.empty(len(values), dtype=np.int64)
    labels[order] = np.repeat(np.arange(len(sizes)), sizes)[np.argsort(places, kind="stable")]
    return labels


def _draw_groups(values: np.ndarray, sizes: list[int], rng: np.random.Generator, what: str) -> np.ndarray:
    """For each row the number of its part, one for all rows of a group.

    The groups are laid one behind the other in a drawn order and cut where the parts' sizes come nearest to what they
    should be. Of several orders the first is taken that is near enough, else the nearest: few groups of unlike sizes
    may be off in most.
    """
    names, numbers, counts = np.unique(values.astype(str), return_inverse=True, return_counts=True)
    if len(names) < len(sizes):
        raise RnnZooError(f"{what} has {len(names)} groups: too few for {len(sizes)} parts")
    wanted = np.array(sizes)
    best, least = np.zeros(0, dtype=np.int64), np.inf
    for _ in range(_DRAWS):
        order = rng.permutation(len(names))
        ends = np.concatenate([[0], np.cumsum(counts[order])])
        cuts = [0]
        for k, target in enumerate(np.cumsum(wanted)[:-1]):
            at = int(np.abs(ends - target).argmin())
            cuts.append(int(np.clip(at, cuts[-1] + 1, len(names) - (len(sizes) - 1 - k))))  # each gets one at least
        cuts.append(len(names))
        off = (np.abs(np.diff(ends[cuts]) - wanted) / np.maximum(wanted, 1)).max()
        if off < least:
            best, least = np.empty(len(names), dtype=np.int64), off
            best[order] = np.repeat(np.arange(len(sizes)), np.diff(cuts))
        if off <= _NEAR:
            break
    return best[numbers]
