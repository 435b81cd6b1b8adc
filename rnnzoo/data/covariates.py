"""Covariates: columns of numbers, or of categories, that stand beside the values of a series."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnzoo.data.numbers import as_numbers
from rnnzoo.errors import RnnZooError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

_MOST = 1000  # categories of a column


@dataclass(frozen=True)
class Covariate:
    """How a column becomes features.

    Args:
        labels: of a column of categories, each a feature of 0 or 1; None for a column of numbers.
        mean, std: of a column of numbers in the training part; it is standardised by them.
    """

    labels: tuple[str, ...] | None = None
    mean: float = 0.0
    std: float = 1.0

    @property
    def width(self) -> int:
        return 1 if self.labels is None else len(self.labels)

    def to_json(self) -> dict[str, Any]:
        if self.labels is not None:
            return {"labels": list(self.labels)}
        return {"mean": self.mean, "std": self.std}

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> "Covariate":
        """From what `to_json` gave."""
        labels = saved.get("labels")
        return cls(None if labels is None else tuple(labels), saved.get("mean", 0.0), saved.get("std", 1.0))


def read_covariate(
    rows: "Dataset", name: str, setting: str, what: str, learned: Covariate | None = None
) -> tuple[Covariate, np.ndarray]:
    """A column as numbers (N, F) float64, NaN where one is missing, and how they are made.

    Args:
        rows: of the data set.
        name: of the column.
        setting: that names it, for messages: "known".
        what: the data set is, for messages.
        learned: how the column was read in training; None to find out. The numbers are not standardised yet.

    Raises:
        RnnZooError: an infinite number, too many categories, or one that was not there in training.
    """
    import pyarrow as pa

    cells = rows.with_format("arrow")[name]
    kind = str(getattr(rows.features[name], "dtype", ""))
    where = f"{setting}={name!r} of {what}"
    if names := getattr(rows.features[name], "names", None):
        labels = np.array([*names, None], dtype=object)
        return _categories(labels[cells.fill_null(-1).to_numpy()], where, learned)
    numbers = None
    if kind in ("string", "large_string", "null"):
        numbers = as_numbers(cells)
        if numbers is None or (learned is not None and learned.labels is not None):
            return _categories(np.array(cells.to_pylist(), dtype=object), where, learned)
    elif kind == "bool":
        numbers = cells.cast(pa.int8())
    elif kind.startswith(("int", "uint", "float", "decimal")):
        numbers = cells.cast(pa.float64()) if kind.startswith("decimal") else cells
    if numbers is None:
        raise RnnZooError(f"{where} must hold numbers or categories, but its type is {kind or rows.features[name]}")
    if learned is not None and learned.labels is not None:
        return _categories(np.array([str(v) for v in numbers.to_pylist()], dtype=object), where, learned)
    values = numbers.to_numpy().astype(np.float64)
    if (wrong := np.flatnonzero(np.isinf(values))).size:
        raise RnnZooError(f"{where} is {values[wrong[0]]} in row {wrong[0]:,} (the first is row 0)")
    return learned or Covariate(), values[:, None]


def _categories(cells: np.ndarray, where: str, learned: Covariate | None) -> tuple[Covariate, np.ndarray]:
    """Features of 0 and 1 for each row, of which all are NaN where the category is missing."""
    missing = np.array([cell is None or not str(cell).strip() for cell in cells])
    own = sorted({str(cell) for cell in cells[~missing]})
    if learned is None:
        if len(own) > _MOST:
            raise RnnZooError(f"{where} has {len(own):,} different texts, too many for categories: {_MOST:,} at most")
        learned = Covariate(tuple(own))
    if learned.labels is None:
        raise RnnZooError(f"{where} has texts, {own[0]!r} for example, but held numbers in training")
    if unknown := [label for label in own if label not in learned.labels]:
        k = int(np.flatnonzero(cells == unknown[0])[0])
        near, listed = did_you_mean(unknown[0], learned.labels), ", ".join(learned.labels[:20])
        raise RnnZooError(
            f"{where} has {unknown[0]!r} in row {k:,} (the first is row 0), which was not there in training{near} there"
            f" were: {listed}"
        )
    place = {label: k for k, label in enumerate(learned.labels)}
    made = np.zeros((len(cells), len(learned.labels)))
    rows = np.flatnonzero(~missing)
    made[rows, [place[str(cell)] for cell in cells[rows]]] = 1.0
    made[missing] = np.nan
    return learned, made
