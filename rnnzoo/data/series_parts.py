"""Which steps of which series are for training, validation and test."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from rnnzoo.data.splits import PARTS, cut
from rnnzoo.errors import RnnZooError

SplitBy = Literal["time", "series", "both"]


def check_steps(validation: int | None, test: int | None) -> None:
    """Raises RnnZooError where only one of the two is given, or one is below 1."""
    if (validation is None) != (test is None):
        raise RnnZooError(
            f"validation_steps={validation} and test_steps={test}: give both, instead of fractions by split, or none"
        )
    for name, steps in (("validation_steps", validation), ("test_steps", test)):
        if steps is not None and steps < 1:
            raise RnnZooError(f"{name}={steps} must be at least 1")


def ranges_of(
    counts: Mapping[str, np.ndarray],
    split: tuple[float, float, float],
    steps: tuple[int | None, int | None],
    split_by: SplitBy,
    seed: int,
    dataset: str,
    hold_out_test: bool = True,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each part the range (first, stop), each (S,) int64, of every series; empty where a series is not in it.

    Args:
        counts: for each part that the data set has a split for, the steps (S,) of each series in it.
        split: fractions of training, validation and test.
        steps: of validation and test at the end of each series; None for those by `split`.
        split_by: what is split: "time", "series" or "both".
        seed: of the draw of series.
        dataset: its name, for messages.
        hold_out_test: False to leave nothing for a test: the newest steps are for training and, at the end of each
            series, for validation.

    Raises:
        RnnZooError: a part is empty.
    """
    if not hold_out_test:
        counts = {"train": np.sum(list(counts.values()), axis=0)}
        split, split_by = (1 - split[1], split[1], 0.0), "time"
        steps = (steps[0], None if steps[1] is None else 0)
    ranges = _by_time(counts, split, steps, dataset)
    total = np.sum(list(counts.values()), axis=0)
    if split_by != "time":
        if len(counts) > 1:
            raise RnnZooError(f"split_by={split_by!r}: {dataset} has splits of its own, {', '.join(counts)}")
        series = len(next(iter(counts.values())))
        where = cut({"train": series}, split)
        if not all(len(w) for w in where.values()):
            raise RnnZooError(f"split_by={split_by!r}: {series} series are too few for three parts")
        order = np.random.default_rng(seed).permutation(series)
        for part, places in where.items():
            first, stop = ranges[part] if split_by == "both" else (np.zeros(series, np.int64), total.copy())
            others = np.setdiff1d(order, order[places.start : places.stop])
            stop[others] = first[others]
            ranges[part] = first, stop
    for part, (first, stop) in ranges.items():
        if not (stop > first).any() and (hold_out_test or part != "test"):
            unit = "values" if len(total) == 1 else f"steps in the longest of {len(total):,} series"
            raise RnnZooError(
                f"dataset={dataset} has {int(total.max()):,} {unit}: too few, split leaves none for {part}"
            )
    return ranges


def _by_time(
    counts: Mapping[str, np.ndarray],
    split: tuple[float, float, float],
    steps: tuple[int | None, int | None],
    dataset: str,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    columns = np.stack(list(counts.values()), 1)  # (S, splits)
    if steps[0] is not None and steps[1] is not None:
        if len(counts) > 1:
            raise RnnZooError(f"validation_steps and test_steps: {dataset} has splits of its own, {', '.join(counts)}")
        end = columns[:, 0]
        test = np.maximum(end - steps[1], 0)
        validation = np.maximum(test - steps[0], 0)
        return {"train": (np.zeros_like(end), validation), "validation": (validation, test), "test": (test, end)}
    kinds, which = np.unique(columns, axis=0, return_inverse=True)
    made = [cut(dict(zip(counts, map(int, row), strict=True)), split) for row in kinds]
    bounds = {part: np.array([[one[part].start, one[part].stop] for one in made]) for part in PARTS}
    return {part: (b[which.ravel(), 0].copy(), b[which.ravel(), 1].copy()) for part, b in bounds.items()}
