"""Which columns of a data set hold labelled series, and the way from a row a step to a row a series."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnnzoo.data.labelled_text import LABELS
from rnnzoo.data.labels import LabelColumn
from rnnzoo.data.long_form import numeric_columns, rows_of_series
from rnnzoo.data.text_columns import pick_column
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

IDS = ("id", "unique_id", "series", "series_id")


class SeriesColumns:
    """The columns of a data set by what they are: `id`, `time`, `group`, `label` and `features`; None for none.

    Args:
        splits: of the data set.
        what: it is, for messages.
        id_column, time_column, group_column, label_column, features: what the settings say.
        known: the description of a checkpoint, whose features and label are meant.
        required: whether there must be a label.

    Raises:
        RnnZooError: a column that there is not, or several that may be meant.
    """

    def __init__(
        self,
        splits: Mapping[str, "Dataset"],
        what: str,
        *,
        id_column: str | None,
        time_column: str | None,
        group_column: str | None,
        label_column: str | None,
        features: Sequence[str] | None,
        known: Description | None,
        required: bool,
    ) -> None:
        self.what, self.id, self.time, self.group = what, id_column, time_column, group_column
        rows = next(splits[name] for name in ("train", *splits) if name in splits)
        self.names: list[str] = rows.column_names
        lists = [name for name, feature in rows.features.items() if holds_lists(feature)]
        self.long_form = not lists
        if self.long_form and self.id is None:
            self.id = next((name for name in IDS if name in self.names), None)
            if self.id is None:
                raise RnnZooError(
                    f"{what} has no lists, so that a row is a step: id_column must say which series it belongs to;"
                    f" the columns are {', '.join(self.names)}"
                )
        for setting, name in (("id_column", self.id), ("time_column", self.time), ("group_column", self.group)):
            self._check_there(setting, name)
        asked = list(known.more["features"]) if known is not None else list(features or ())
        aside = [self.id, self.time, self.group]
        usual = LABELS if known is None else (str(known.more.get("label_column")), *LABELS)
        self.label = self._find_label(rows, label_column, [*aside, *(asked or lists)], usual, required)
        aside.append(self.label)
        if not asked:
            asked = numeric_columns(rows, aside, what) if self.long_form else [n for n in lists if n not in aside]
        for name in asked:
            self._check_there("features", name)
            if name in aside:
                raise RnnZooError(f"features has {name!r}, which is the id, the time, the group or the label")
        if not asked:
            raise RnnZooError(f"{what} has no feature to read: the columns are {', '.join(self.names)}")
        self.features = asked

    def _check_there(self, setting: str, name: str | None) -> None:
        if name is not None and name not in self.names:
            near = did_you_mean(name, self.names)
            raise RnnZooError(f"{setting}={name!r} is not among the columns{near} there are {', '.join(self.names)}")

    def _find_label(
        self,
        rows: "Dataset",
        given: str | None,
        others: Sequence[str | None],
        usual: tuple[str, ...],
        required: bool,
    ) -> str | None:
        left = rows.remove_columns([name for name in rows.column_names if name in others and name != given])
        try:
            return pick_column(left, given, "label_column", _fits, usual, "labels")
        except RnnZooError:
            if required:
                raise
            return None

    def rows_of_series(self, splits: Mapping[str, "Dataset"]) -> dict[str, "Dataset"]:
        """The same splits with a row a series; as they are where they have that.

        Raises:
            RnnZooError: a split without a column of another, or a row that is wrong.
        """
        made = {}
        for name, rows in splits.items():
            where = f"{self.what}, split {name!r}" if len(splits) > 1 else self.what
            for column in (self.id, self.time, self.group, *self.features):
                if column is not None and column not in rows.column_names:
                    raise RnnZooError(f"{where} has no column {column!r}: it has {', '.join(rows.column_names)}")
            if not self.long_form:
                made[name] = rows
                continue
            same = dict.fromkeys((self.label, self.group))
            constants = [str(c) for c in same if c in rows.column_names and c != self.id]
            made[name] = rows_of_series(rows, str(self.id), self.time, constants, self.features, where)
        return made


def holds_lists(feature: Any) -> bool:
    """Whether a feature of `datasets` holds lists or arrays of numbers."""
    inner = getattr(feature, "feature", None)
    if inner is None:
        return type(feature).__name__.startswith("Array")  # Array2D
    inner = getattr(inner, "feature", inner)
    return str(getattr(inner, "dtype", "")).startswith(("int", "uint", "float", "bool", "decimal"))


def _fits(feature: Any) -> bool:
    return not holds_lists(feature) and LabelColumn(feature).fits
