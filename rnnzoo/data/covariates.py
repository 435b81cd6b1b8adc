"""Covariates: columns of numbers, or of categories, that stand beside the values of a series."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rnnzoo.data.numbers import as_numbers
from rnnzoo.data.pieces import as_array, encoded, extent, pieces
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
    rows: "Dataset",
    name: str,
    setting: str,
    what: str,
    learned: Covariate | None = None,
    into: np.ndarray | None = None,
) -> tuple[Covariate, np.ndarray]:
    """How the features of a column are made, and the column (N,).

    It is float64, NaN where a number is missing; or int16, the number of the label, -1 where there is none. The numbers
    are not standardised yet.

    Args:
        rows: of the data set.
        name: of the column.
        setting: that names it, for messages: "known".
        what: the data set is, for messages.
        learned: how the column was read in training; None to find out.
        into: where numbers are put, (N,) float64.

    Raises:
        RnnZooError: an infinite number, too many categories, or one that was not there in training.
    """
    cells = rows.with_format("arrow")[name]
    kind = str(getattr(rows.features[name], "dtype", ""))
    where = f"{setting}={name!r} of {what}"
    if names := getattr(rows.features[name], "names", None):
        return _categories(cells, where, learned, lambda label: names[label] if label >= 0 else "")
    numbers = None
    if kind in ("string", "large_string", "null"):
        numbers = as_numbers(cells)
        if numbers is None or (learned is not None and learned.labels is not None):
            return _categories(cells, where, learned, str)
    elif kind == "bool":
        numbers = cells.cast(pa.int8())
    elif kind.startswith(("int", "uint", "float", "decimal")):
        numbers = cells.cast(pa.float64()) if kind.startswith("decimal") else cells
    if numbers is None:
        raise RnnZooError(f"{where} must hold numbers or categories, but its type is {kind or rows.features[name]}")
    if learned is not None and learned.labels is not None:
        return _categories(numbers, where, learned, str)
    values = as_array(numbers, np.float64, into)
    if np.isinf(extent(values)).any():
        wrong = np.flatnonzero(np.isinf(values))
        raise RnnZooError(f"{where} is {values[wrong[0]]} in row {wrong[0]:,} (the first is row 0)")
    return learned or Covariate(), values


def is_number_column(rows: "Dataset", name: str, learned: Covariate | None = None) -> bool:
    """Whether a column holds numbers by its type, and is read as such."""
    kind, labels = str(getattr(rows.features[name], "dtype", "")), getattr(rows.features[name], "names", None)
    numbers = not labels and kind.startswith(("int", "uint", "float", "decimal"))
    return numbers and (learned is None or learned.labels is None)


def features_of(covariate: Covariate, column: np.ndarray) -> np.ndarray:
    """A column that `read_covariate` gave as features (N, F), which are NaN where it is missing."""
    if covariate.labels is None:
        return column[:, None]
    made = (column[:, None] == np.arange(covariate.width)).astype(np.float32)
    made[column < 0] = np.nan
    return made


def is_missing(column: np.ndarray) -> np.ndarray:
    """Where a column that `read_covariate` gave has nothing."""
    return np.isnan(column) if column.dtype == np.float64 else column < 0


def _categories(
    cells: Any, where: str, learned: Covariate | None, text: Callable[[Any], str]
) -> tuple[Covariate, np.ndarray]:
    """The labels, which are what `text` makes of a cell, and the number of each row's, -1 where it is missing."""
    there, code = encoded(cells)
    texts = [None if cell is None else text(cell) for cell in there]
    texts = [one if one is None or one.strip() else None for one in texts]
    own = sorted({one for one in texts if one is not None})
    if learned is None:
        if len(own) > _MOST:
            raise RnnZooError(f"{where} has {len(own):,} different texts, too many for categories: {_MOST:,} at most")
        learned = Covariate(tuple(own))
    if learned.labels is None:
        raise RnnZooError(f"{where} has texts, {own[0]!r} for example, but held numbers in training")
    if unknown := [label for label in own if label not in learned.labels]:
        k = int(np.flatnonzero(np.isin(code, [j for j, one in enumerate(texts) if one == unknown[0]]))[0])
        near, listed = did_you_mean(unknown[0], learned.labels), ", ".join(learned.labels[:20])
        raise RnnZooError(
            f"{where} has {unknown[0]!r} in row {k:,} (the first is row 0), which was not there in training{near} there"
            f" were: {listed}"
        )
    place = {label: k for k, label in enumerate(learned.labels)}
    number = np.array([-1 if one is None else place[one] for one in texts] + [-1], np.int16)  # the last for null
    made = np.empty(len(code), np.int16)
    for rows in pieces(len(code)):
        made[rows] = number[code[rows]]
    return learned, made
