"""Data modules whose examples are rows of a data set: which row lies in which part, and where it comes from."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnnzoo.data.base import DataModule
from rnnzoo.data.parts import held_out_part, held_out_parts, make_parts
from rnnzoo.errors import RnnZooError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

_PARTS = ("train", "validation", "test", "all")


class RowData(DataModule):
    """The base of the data modules whose examples are rows: a data set's own splits, slices of them, or drawn parts.

    One of one's own defines `_load`, and has the settings `dataset`, `split`, `split_seed`, `train_split`,
    `validation_split`, `test_split`, `group_column` and `held_out`, which mean what they mean for `TextExamples`.
    """

    dataset: Any
    split: tuple[float, float, float]
    split_seed: int | None
    group_column: str | None = None
    train_split: str | None = None
    validation_split: str | None = None
    test_split: str | None = None
    held_out: bool = False

    def __init__(self) -> None:
        super().__init__()
        self._parts: dict[str, Dataset] = {}

    def _load(self) -> dict[str, "Dataset"]:
        """The splits of the data set by their names; called often."""
        raise RnnZooError(f"{type(self).__name__} must define _load()")

    @property
    def stratify_column(self) -> str | None:
        """The column whose values are shared out alike among the parts that are drawn."""
        return None

    def rows(self, part: str = "all") -> "Dataset":
        """The rows of "train", "validation", "test" or "all" as the data set has them, in its order."""
        if part not in _PARTS:
            raise RnnZooError(f"part {part!r} must be one of {', '.join(_PARTS)}")
        if part not in self._parts:
            from datasets import concatenate_datasets

            splits = self._load()
            if part == "all":
                self._parts["all"] = concatenate_datasets(list(splits.values())) if len(splits) > 1 else only(splits)
            else:
                self._parts |= self._in_parts(splits)
        return held_out_part(self._parts, part, self.dataset)

    def _in_parts(self, splits: dict[str, "Dataset"]) -> dict[str, "Dataset"]:
        named = self._named_splits
        held_out = held_out_parts(splits, named) if self.held_out else {}
        options = (self.split, self.split_seed, self.group_column, named, self.dataset, self.stratify_column)
        return held_out or make_parts(splits, *options)

    @property
    def _named_splits(self) -> dict[str, str | None]:
        """The splits, or slices of them, that the settings name, by part."""
        return {"train": self.train_split, "validation": self.validation_split, "test": self.test_split}

    def source_row(self, part: str, k: int) -> tuple[str, int]:
        """Where row k of a part comes from: a split of the data set, and the number of the row there."""
        from datasets import Dataset, concatenate_datasets

        numbered = {}
        for name, rows in self._load().items():
            own = Dataset.from_dict({"split": [name] * len(rows), "row": range(len(rows))})
            drawn_by = {self.group_column, self.stratify_column} & {*rows.column_names}
            if drawn_by:
                own = concatenate_datasets([own, rows.select_columns(sorted(map(str, drawn_by)))], axis=1)
            numbered[name] = own
        parts = self._in_parts(numbered) if part != "all" else {"all": concatenate_datasets(list(numbered.values()))}
        return parts[part][k]["split"], parts[part][k]["row"]

    def own_columns(self, names: Sequence[str], number: Sequence[int]) -> dict[str, Any]:
        rows = self.rows(self.predict_split)
        for name in names:
            if name not in rows.column_names:
                near, listed = did_you_mean(name, rows.column_names), ", ".join(rows.column_names)
                raise RnnZooError(
                    f"predictions.columns has {name!r}, which the data have not{near} there are: {listed}"
                )
        return rows.select_columns(list(names))[list(number)] if len(number) else {name: [] for name in names}


def only(splits: Mapping[str, "Dataset"]) -> "Dataset":
    """The one split that there is."""
    (rows,) = splits.values()
    return rows
