"""Series out of rows with lists in them: their steps one behind the other, scaled, and put into batches."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.utils.data import Dataset

from rnnzoo.data.examples import SequenceBatch
from rnnzoo.data.long_form import is_number_type
from rnnzoo.data.streams import IGNORED
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset as Rows

SCALINGS = ("standard", "robust", "mean", "none")


class Series(NamedTuple):
    """N series, the steps of all of them one behind the other: S.

    `values`, (S, I) float64, NaN where one is missing; `offsets`, (N + 1,), where each begins, and where the last ends;
    `times`, (S,) float64, or None.
    """

    values: np.ndarray
    offsets: np.ndarray
    times: np.ndarray | None

    @property
    def lengths(self) -> np.ndarray:
        """The steps of each, (N,)."""
        return np.diff(self.offsets)

    def place(self, step: int) -> tuple[int, int]:
        """The series that a step of all belongs to, and its number in it."""
        k = int(np.searchsorted(self.offsets, step, side="right")) - 1
        return k, step - int(self.offsets[k])


class FeatureScaling(NamedTuple):
    """What is taken from each feature, and what it is divided by then: `center` and `scale`, (I,) float64."""

    center: np.ndarray
    scale: np.ndarray

    @classmethod
    def fitted(cls, kind: str, values: np.ndarray) -> "FeatureScaling":
        """On the steps (S, I) of training, NaN where one is missing.

        "standard" takes the mean and the standard deviation, "robust" the median and the distance of the quartiles,
        "mean" divides by the mean absolute value; a feature that does not vary is divided by nothing.
        """
        with np.errstate(all="ignore"):
            seen = np.isfinite(values).any(0)
            known = np.where(seen, values, 0.0)
            zero, one = np.zeros(values.shape[1]), np.ones(values.shape[1])
            if kind == "standard":
                center, scale = np.nanmean(known, 0), np.nanstd(known, 0)
            elif kind == "robust":
                low, center, high = np.nanquantile(known, [0.25, 0.5, 0.75], axis=0)
                scale = high - low
            elif kind == "mean":
                center, scale = zero, np.nanmean(np.abs(known), 0)
            else:
                center, scale = zero, one
        flat = ~(scale > 1e-12 * np.abs(center))  # what rounding leaves of a constant is no scale
        return cls(center, np.where(flat, 1.0, scale))

    @classmethod
    def of(cls, more: Mapping[str, Any]) -> "FeatureScaling | None":
        """What a description knows of it; None where it knows nothing."""
        if "feature_center" not in more:
            return None
        return cls(np.asarray(more["feature_center"], dtype=np.float64), np.asarray(more["feature_scale"]))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Values (S, I) scaled, as float32."""
        return ((values - self.center) / self.scale).astype(np.float32)


def check_scaling(kind: str) -> str:
    """A name of `SCALINGS`.

    Raises:
        RnnZooError: it is none.
    """
    if kind not in SCALINGS:
        raise RnnZooError(f"scaling={kind!r} is unknown{did_you_mean(kind, SCALINGS)} there are: {', '.join(SCALINGS)}")
    return kind


def read_series(
    rows: "Rows", features: Sequence[str], time_column: str | None, fail: Callable[[int, str], RnnZooError]
) -> Series:
    """The series that stand in rows.

    Args:
        rows: a row a series; in each column of `features` it has a list of numbers, or of T lists of I numbers.
        features: columns, side by side.
        time_column: with a list of times that increase, as numbers.
        fail: makes an error of a row, and of what it "has".

    Raises:
        RnnZooError: columns of other types; a series without a step, or whose lists differ in length.
    """
    table = rows.select_columns([*features, *([] if time_column is None else [time_column])]).with_format("arrow")[:]
    columns, lengths = [], None
    for name in features:
        values, own = _lists(table[name], name, fail)
        if lengths is None:
            lengths = own
        elif (wrong := np.flatnonzero(own != lengths)).size:
            k = int(wrong[0])
            raise fail(k, f"has {lengths[k]} steps of {features[0]!r}, but {own[k]} of {name!r}")
        columns.append(values)
    assert lengths is not None
    times = None
    if time_column is not None:
        times, own = _lists(table[time_column], time_column, fail)
        if (wrong := np.flatnonzero(own != lengths)).size:
            k = int(wrong[0])
            raise fail(k, f"has {lengths[k]} steps, but {own[k]} times in {time_column!r}")
        times = times[:, 0]
    made = Series(np.concatenate(columns, 1), np.concatenate([[0], np.cumsum(lengths)]), times)
    if times is not None:
        back = np.flatnonzero(~(np.diff(times) > 0))
        back = back[~np.isin(back + 1, made.offsets)]
        if back.size:
            k, step = made.place(int(back[0]) + 1)
            raise fail(k, f"has times in {time_column!r} that do not increase, at step {step} (the first is step 0)")
    return made


def _lists(cells: Any, name: str, fail: Callable[[int, str], RnnZooError]) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of a column of lists, (S, I) float64, and how many steps each row has."""
    cells = _plain(cells.combine_chunks())
    if not _is_list(cells.type):
        raise RnnZooError(f"the feature {name!r} must hold lists of numbers, but its type is {cells.type}")
    if isinstance(cells, pa.ChunkedArray):  # of no rows
        cells = pa.array([], cells.type)
    lengths = pc.fill_null(pc.list_value_length(cells), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    if (empty := np.flatnonzero(lengths == 0)).size:
        raise fail(int(empty[0]), f"has no step in {name!r}")
    inner, size = _plain(pc.list_flatten(cells)), 1
    if _is_list(inner.type):
        sizes = pc.fill_null(pc.list_value_length(inner), 0).to_numpy(zero_copy_only=False)
        size = int(sizes[0]) if len(sizes) else 1
        if (wrong := np.flatnonzero(sizes != size)).size:
            k = int(np.searchsorted(np.cumsum(lengths), wrong[0], side="right"))
            raise fail(k, f"has {sizes[wrong[0]]} features in {name!r} where the first series has {size}")
        if not size:
            raise fail(0, f"has no feature in {name!r}")
        inner = _plain(pc.list_flatten(inner))
    if not is_number_type(inner.type):
        raise RnnZooError(f"the feature {name!r} must hold lists of numbers, but its type is {cells.type}")
    values = inner.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.float64).reshape(-1, size), lengths


def _plain(cells: Any) -> Any:
    """Cells without a type of `datasets` around them."""
    return cells.storage if isinstance(cells.type, pa.ExtensionType) else cells


def _is_list(kind: Any) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


class SeriesExamples(Dataset[SequenceBatch]):
    """Series with an answer to each, in batches padded to their longest.

    Args:
        series: as they were read.
        scaling: of the features.
        answers: (N,) classes as int64, numbers as float32; -100 or NaN where there is none.
        inputs: what a batch has beside x, by name: "mask", (B, T, I), of the values that are there, for those that are
            not are zero; "dt" and "time", (B, T, 1), in steps, of 1 at the first.
        time_step: of times, what is one step; None where all steps are one.
    """

    def __init__(
        self,
        series: Series,
        scaling: FeatureScaling,
        answers: np.ndarray,
        inputs: Sequence[str] = (),
        time_step: float | None = None,
    ) -> None:
        self.x, self.answers, self.offsets = torch.from_numpy(scaling(series.values)), answers, series.offsets
        made = {"mask": (~self.x.isnan()).float(), **_clock(series, time_step)} if inputs else {}
        self.inputs = {name: made[name] for name in inputs}
        self.x = self.x.nan_to_num(0.0)

    def __len__(self) -> int:
        return len(self.answers)

    def __getitem__(self, k: int) -> SequenceBatch:
        return self.__getitems__([k])

    def __getitems__(self, places: Sequence[int]) -> SequenceBatch:
        """A batch, which is what torch's loader asks for where it can."""
        number = np.asarray(places)
        lengths = self.offsets[number + 1] - self.offsets[number]
        own = [slice(self.offsets[k], self.offsets[k + 1]) for k in number]
        inputs = {name: _padded([steps[at] for at in own]) for name, steps in self.inputs.items()}
        return SequenceBatch(
            _padded([self.x[at] for at in own]),
            torch.from_numpy(self.answers[number, None]),
            torch.from_numpy(number),
            torch.from_numpy(lengths) if (lengths != lengths.max()).any() else None,
            inputs or None,
        )


def unanswered_series(arrays: Sequence[np.ndarray], about: Description) -> SequenceBatch:
    """Series (T, I) in the units of the data that `about` describes, as a batch without answers.

    Raises:
        RnnZooError: a value that is infinite; or missing, where nothing was missing in training.
    """
    inputs, scaling = about.more.get("inputs", ()), FeatureScaling.of(about.more)
    assert scaling is not None
    for k, values in enumerate(arrays):
        wrong = np.isinf(values) if "mask" in inputs else ~np.isfinite(values)
        if wrong.any():
            step, column = np.argwhere(wrong)[0].tolist()
            raise RnnZooError(f"sequence {k} has {values[step, column]} in feature {column} at step {step}")
    offsets = np.concatenate([[0], np.cumsum([len(values) for values in arrays])])
    blank = np.full(len(arrays), IGNORED) if about.classes else np.full(len(arrays), np.nan, dtype=np.float32)
    examples = SeriesExamples(Series(np.concatenate(arrays), offsets, None), scaling, blank, inputs)
    return examples.__getitems__(range(len(arrays)))


def _padded(sequences: list[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)


def _clock(series: Series, time_step: float | None) -> dict[str, Tensor]:
    """The time since the step before, 1 at the first, and the time, 1 at the first; in steps, (S, 1)."""
    first = np.repeat(series.offsets[:-1], series.lengths)
    steps = np.arange(len(series.values)) - first
    if series.times is None or time_step is None:
        dt, time = np.ones(len(steps)), steps + 1.0
    else:
        dt = np.where(steps > 0, np.diff(series.times, prepend=0.0) / time_step, 1.0)
        time = (series.times - series.times[first]) / time_step + 1
    return {name: torch.from_numpy(a.astype(np.float32)[:, None]) for name, a in (("dt", dt), ("time", time))}
