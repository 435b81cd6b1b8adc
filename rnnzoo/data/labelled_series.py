"""Series of one or several variables with a class, or a number, each."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from rnnzoo.data.base import ExampleData
from rnnzoo.data.handed import shown as shown_dataset
from rnnzoo.data.labels import LabelColumn, Labels, in_order_of_names
from rnnzoo.data.row_data import RowData
from rnnzoo.data.series_arrays import FeatureScaling, Series, SeriesExamples, check_scaling, read_series
from rnnzoo.data.series_columns import SeriesColumns
from rnnzoo.data.sktime_sets import LABEL, SHIPPED, read_set, set_names
from rnnzoo.data.sources import is_path, load_splits, path_of
from rnnzoo.data.splits import PARTS, check_fractions
from rnnzoo.data.streams import IGNORED
from rnnzoo.data.text_examples import description_of
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset


class LabelledSeriesData(RowData, ExampleData):
    """Series to classify, or to predict a number for: of one or several variables, and of any length.

    A data set is in long form, a row a step, with a column that says which series a step belongs to, and a label that
    is the same at all its steps; or it has a row a series, with a list of numbers in the column of each variable, or
    one column of lists (T, I). The sets of sktime are known by their names, and are never looked for in a network.

    The data set's own splits train, validation and test are used as they are, or those that are named; one that is
    missing is drawn from the one before it by `split_seed`, with every class in its share. Labels are as those of
    `LabelledTextData`. What is learned of the training part, its classes and the scales of the features, is in the
    description, and so in a checkpoint.

    Args:
        dataset: a set of sktime, "JapaneseVowels" for one; a file (CSV, TSV, Parquet, JSON, JSON lines, Arrow;
            compressed too), a folder of such files or one that `save_to_disk` wrote, or a name on the HuggingFace hub.
            In Python also a Dataset or DatasetDict, or a frame of pandas or polars.
        subset: the configuration, for a data set on the hub that has several; "NAME:CONFIGURATION" is short for it.
        id_column: which series a step belongs to, in long form; by default what is called so.
        time_column: dates or numbers by which the steps of a series are put in order; cells that take time gaps get
            them from it. None for the order of the rows, equally far apart.
        label_column: with the label; by default what is called so, or the only other column that can be meant. To
            predict none is needed.
        group_column: a column whose equal values stay together in one part; a subject, for one.
        features: the columns that are read; all others of numbers, or of lists, by default.
        regression: whether labels are numbers to be predicted. None for labels with a fraction among them.
        scaling: of each feature, by the steps of the training part: "standard", "robust" (median and quartiles),
            "mean" (the mean absolute value) or "none".
        missing: "raise" refuses a series with a value that is missing; with "mask" it is the mean, and cells that take
            a mask are told.
        split: fractions of the series for training, validation and test.
        split_seed: of the random choice of series for each; None takes them in their order.
        train_split: a split of the data set by its name, or a slice of one, "train[:10%]"; by default "train".
        validation_split: likewise.
        test_split: likewise.
        predict_split: what `predict` reads.
        held_out: whether nothing was trained on these data: a data set in one piece is then validation and test part,
            whole. `rnnzoo test` and `rnnzoo validate` say so of data that the checkpoint was not trained on.
        batch_size: series in a batch, over all processes.
        baseline: whether to score ROCKET of sktime on the same test part beside it.
        checkpoint: a checkpoint whose features, scales and labels are taken; given by the command line.
        num_workers: processes that load data, for each loader.
        cache_dir: folder for what `datasets` prepares; by default its own.

    Raises:
        RnnZooError: for whatever is wrong with a setting or the data, where it is first used.
    """

    provides: ClassVar[tuple[str, ...]] = ("input_size", "classes", "labels", "answers", "constant")
    named: ClassVar[str] = "series"

    def __init__(
        self,
        dataset: str = "JapaneseVowels",
        *,
        subset: str | None = None,
        id_column: str | None = None,
        time_column: str | None = None,
        label_column: str | None = None,
        group_column: str | None = None,
        features: list[str] | None = None,
        regression: bool | None = None,
        scaling: Literal["standard", "robust", "mean", "none"] = "standard",
        missing: Literal["raise", "mask"] = "raise",
        split: tuple[float, float, float] = (0.7, 0.15, 0.15),
        split_seed: int | None = 0,
        train_split: str | None = None,
        validation_split: str | None = None,
        test_split: str | None = None,
        predict_split: Literal["train", "validation", "test", "all"] = "test",
        held_out: bool = False,
        batch_size: int = 16,
        baseline: bool = False,
        checkpoint: str | None = None,
        num_workers: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        self.dataset, self.subset, self.cache_dir = dataset, subset, cache_dir
        self.id_column, self.time_column, self.label_column = id_column, time_column, label_column
        self.group_column, self.features = group_column, None if features is None else list(features)
        self.regression, self.scaling, self.missing = regression, check_scaling(scaling), missing
        if missing not in ("raise", "mask"):
            raise RnnZooError(f"missing={missing!r} must be raise or mask")
        self.split, self.split_seed, self.held_out = check_fractions(split), split_seed, held_out
        self.train_split, self.validation_split, self.test_split = train_split, validation_split, test_split
        self.predict_split, self.batch_size, self.num_workers = predict_split, batch_size, num_workers
        self.baseline, self.checkpoint = baseline, checkpoint
        self.check_at_least(batch_size=1, num_workers=0)
        self.check_predict_split("all")
        self._stage: str | None = None
        self._splits: dict[str, Dataset] | None = None
        self._description: Description | None = None
        self._examples: dict[str, SeriesExamples] = {}
        self._series: dict[str, Series] = {}
        self._known = None if checkpoint is None else _known(checkpoint)
        self.columns: SeriesColumns

    # ---- rows

    def _load(self) -> dict[str, "Dataset"]:
        if self._splits is None:
            of_sktime = isinstance(self.dataset, str) and self.dataset in {*set_names(), *SHIPPED}
            splits = read_set(self.dataset) if of_sktime else self._read()
            self.columns = SeriesColumns(
                splits,
                f"dataset={shown_dataset(self.dataset)}",
                id_column=self.id_column,
                time_column=self.time_column,
                group_column=self.group_column,
                label_column=LABEL if of_sktime else self.label_column,
                features=self.features,
                known=self._known,
                required=self._stage != "predict",
            )
            splits = self.columns.rows_of_series(splits)
            self._splits = splits
        return self._splits

    def _read(self) -> dict[str, "Dataset"]:
        columns = [self.id_column, self.time_column, self.label_column, self.group_column, *(self.features or ())]
        try:
            return load_splits(
                self.dataset, self.subset, bundled="JapaneseVowels", columns=columns, cache_dir=self.cache_dir
            )[0]
        except RnnZooError as error:
            name = self.dataset
            if not isinstance(name, str) or is_path(name) or path_of(name).exists() or "/" in name or not name.strip():
                raise
            there = set_names()
            raise RnnZooError(
                f"{error}{did_you_mean(name, there)} the sets of sktime that are here: {', '.join(there)}"
            ) from error

    @property
    def stratify_column(self) -> str | None:
        return None if self._has_numbers() else self.columns.label

    @property
    def named_by(self) -> list[str]:
        """Columns that stand beside predictions where no others are asked for."""
        _ = self._load()
        return [] if self.columns.id is None else [self.columns.id]

    @contextmanager
    def _naming(self, part: str, k: int) -> Iterator[None]:
        """Says in front of an error, that "has" something, which series it is."""
        try:
            yield
        except RnnZooError as error:
            raise self._error(part, k, str(error)) from error

    def _error(self, part: str, k: int, has: str) -> RnnZooError:
        split, row = self.source_row(part, k)
        of = f" of {split}" if len(self._load()) > 1 else ""
        name = f"row {row:,}{of} (the first is row 0)"
        if self.columns.id is not None:
            name = f"series {self.rows(part)[k][self.columns.id]!r}{of}"
        return RnnZooError(f"dataset={shown_dataset(self.dataset)}: {name} {has}")

    # ---- what is learned

    def _has_numbers(self) -> bool:
        """Whether labels are numbers to be predicted."""
        if self._known is not None:
            return not self._known.classes
        if self.regression is None:
            splits = self._load()
            rows, label = next(splits[name] for name in ("train", *splits) if name in splits), self.columns.label
            is_float = label is not None and str(getattr(rows.features[label], "dtype", "")).startswith("float")
            values = np.asarray(rows[label] if is_float else [], dtype=np.float64)
            self.regression = bool((values[np.isfinite(values)] % 1).any())
        return self.regression

    @property
    def description(self) -> Description:
        """The features, their scales, the classes or the mean of numbers; reads the training part."""
        if self._description is None:
            self._description = self._known or self._learn()
        return self._description

    def _learn(self) -> Description:
        series = self.series("train")
        scaling = FeatureScaling.fitted(self.scaling, series.values)
        self._warn_of_constants(series.values)
        more = {
            "features": self.columns.features,
            "feature_center": scaling.center.tolist(),
            "feature_scale": scaling.scale.tolist(),
            "label_column": self.columns.label,
            "time_step": _time_step(series),
            "inputs": [*(["mask"] if self.missing == "mask" else []), "dt", "time"]
            if self.missing == "mask" or series.times is not None
            else [],
        }
        about: dict[str, Any] = {"source": type(self).__name__, "input_size": series.values.shape[1], "answers": 1}
        if self._has_numbers():
            answers = np.array(self._answers("train", None), dtype=np.float64)
            scale = float(answers.std()) or 1.0
            return Description(**about, classes=0, constant=float(answers.mean()), more={**more, "answer_scale": scale})
        counts = Counter(name for name in self._answers("train", None) if name is not None)
        if len(counts) < 2:
            there = f"the only one is {next(iter(counts))!r}" if counts else "there is none"
            raise RnnZooError(f"dataset={shown_dataset(self.dataset)}: training needs two classes or more, but {there}")
        named = LabelColumn(self.rows("train").features[self.columns.label]).names
        names = [name for name in named or in_order_of_names(counts) if name in counts]
        more["label_counts"] = [counts[name] for name in names]
        return Description(**about, classes=len(names), labels=names, constant=0.0, more=more)

    def _warn_of_constants(self, values: np.ndarray) -> None:
        if len(self.columns.features) != values.shape[1]:
            return
        low, high = np.fmin.reduce(values), np.fmax.reduce(values)
        if still := [name for name, a, b in zip(self.columns.features, low, high, strict=True) if not a < b]:
            rank_zero_warn(f"the feature {still[0]!r} has one value in the whole training part, and says nothing")

    # ---- examples

    def series(self, part: str) -> Series:
        """The series of a part, as they are in the data set.

        Raises:
            RnnZooError: a value that is infinite, or missing where `missing` does not say what to do with it.
        """
        if part not in self._series:
            rows = self.rows(part)
            made = read_series(rows, self.columns.features, self.time_column, lambda k, has: self._error(part, k, has))
            wrong = np.isinf(made.values) if self.missing == "mask" else ~np.isfinite(made.values)
            if wrong.any():
                raise self._no_number(part, made, *np.argwhere(wrong)[0].tolist())
            self._series[part] = made
        return self._series[part]

    def _no_number(self, part: str, series: Series, row: int, column: int) -> RnnZooError:
        """What is said of a value that is missing or infinite."""
        (k, step), value, names = series.place(row), series.values[row, column], self.columns.features
        name = repr(names[column]) if len(names) == series.values.shape[1] else f"feature {column}"
        missing = np.isnan(value)
        advice = "; fill it, or give missing=mask" if missing else ": values must be finite"
        has = f"has {'no value' if missing else value} of {name} at step {step} (the first is step 0){advice}"
        return self._error(part, k, has)

    def _answers(self, part: str, labels: Labels | None) -> list[Any]:
        """For each series its number, the id of its label, or without `labels` the label's name; None for none."""
        rows, required = self.rows(part), self._stage != "predict"
        if self.columns.label is None or self.columns.label not in rows.column_names:
            if required:
                raise RnnZooError(f"the {part} part of dataset={shown_dataset(self.dataset)} has no labels")
            return [None] * len(rows)
        if not required and labels is not None:
            return [None] * len(rows)  # whatever they are
        column, numbers = LabelColumn(rows.features[self.columns.label]), self._has_numbers()
        made: list[Any] = []
        for k, value in enumerate(rows[self.columns.label]):
            with self._naming(part, k):
                read: Any = _number(value) if numbers else column.read(value)
                if read is None and required:
                    raise RnnZooError(f"has no label in {self.columns.label!r}")
                made.append(read if numbers or read is None else read[0] if labels is None else labels.encode(read)[0])
        return made

    def setup(self, stage: str | None = None) -> None:
        if stage != self._stage:
            self._stage, self._examples = stage, {}
        if stage == "fit":
            if self.baseline:
                from rnnzoo.data.baselines.rocket import check_installed

                check_installed()
            for part in PARTS:  # what is wrong with the last series of the test part is known before the training
                self.read(part, training=False)
        _ = self.description

    def read(self, part: str, training: bool) -> SeriesExamples:
        if part not in self._examples:
            about = self.description
            series, scaling = self.series(part), FeatureScaling.of(about.more)
            assert scaling is not None
            if series.values.shape[1] != about.input_size:
                raise RnnZooError(
                    f"the {part} part of dataset={shown_dataset(self.dataset)} has {series.values.shape[1]} features,"
                    f" but training had {about.input_size}"
                )
            if about.classes:
                ids = self._answers(part, Labels(about.labels or ()))
                answers = np.array([IGNORED if k is None else k for k in ids], dtype=np.int64)
            else:
                found = self._answers(part, Labels(()))
                answers = np.array([np.nan if a is None else a for a in found], dtype=np.float32)
            self._examples[part] = SeriesExamples(
                series, scaling, answers, about.more.get("inputs", ()), about.more.get("time_step")
            )
        return self._examples[part]

    def baselines(self) -> dict[str, float]:
        """What ROCKET of sktime reaches on the same test part, by the name of the figure."""
        from rnnzoo.data.baselines.rocket import rocket

        parts = {part: self.read(part, training=False) for part in PARTS}
        return rocket(parts["train"], parts["validation"], parts["test"], bool(self.description.classes))


def _number(value: Any) -> float | None:
    """A label that is a number; None where there is none.

    Raises:
        RnnZooError: it is none; what the series "has".
    """
    if value is None or value != value:
        return None
    if isinstance(value, bool | str) or not np.isfinite(value):
        raise RnnZooError(f"has the label {value!r}: it must be a finite number")
    return float(value)


def _time_step(series: Series) -> float | None:
    """The gap in the middle of all between the times of two steps; None without times."""
    if series.times is None:
        return None
    gaps = np.delete(np.diff(series.times), series.offsets[1:-1] - 1)
    return float(np.median(gaps)) if len(gaps) else 1.0


def _known(checkpoint: str) -> Description:
    about = description_of(checkpoint, "checkpoint")
    if "features" not in about.more:
        raise RnnZooError(f"checkpoint={checkpoint!r} knows no features: it was trained on no labelled series")
    return about
