"""The rows of a data set as a stream: read from its files as they are needed, on the hub too, and never all at once."""

import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from rnnzoo.data.builders import datasets_cache, kind_of, options_of, quietly, reason, refuse_hops, unpacked
from rnnzoo.data.files import decoded
from rnnzoo.data.handed import shown
from rnnzoo.data.hub import NotLoaded, find_on_hub, make_builder, no_such_data
from rnnzoo.data.sources import is_path, path_of, with_config
from rnnzoo.data.splits import PARTS, check_fractions, own_splits
from rnnzoo.errors import RnnZooError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

BLOCK = 1024  # rows that are read at a time
_HEAD = 1000  # rows that are looked at to know the columns
_PLACES = 1 << 20  # that are looked at at a time
_FILE = 40  # bits of a row's place in its file


@dataclass(frozen=True)
class RowStream:
    """The rows of a split, or those of them that a part keeps.

    Args:
        kind: the builder of `datasets` for the files, or "lines" for text files.
        files: their paths, or addresses on the hub.
        name: of the data set, for messages.
        options: of the builder; "features" among them where a README has them.
        said: how many rows there are, as far as a README says it.
        keep: for some rows, and their places, which of them belong to the part; all where None.
        key: the column that `keep` reads, if any.
    """

    kind: str
    files: tuple[str, ...]
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    said: int | None = None
    keep: Callable[[Any, np.ndarray], np.ndarray] | None = None
    key: str | None = None

    @cached_property
    def head(self) -> "Dataset":
        """The first rows, with the types of all columns.

        Raises:
            RnnZooError: there are none, or they cannot be read.
        """
        import pyarrow as pa
        from datasets import Dataset, DatasetInfo, Features
        from datasets.table import InMemoryTable

        tables: list[Any] = []
        for table, _ in chain.from_iterable(self.blocks(file) for file in range(len(self.files))):
            tables.append(table)
            if sum(map(len, tables)) >= _HEAD:
                break
        if not tables:
            raise RnnZooError(f"dataset={self.name!r} has no rows")
        whole = InMemoryTable(pa.concat_tables(tables).slice(0, _HEAD).combine_chunks())
        known = self.options.get("features")
        features = None if known is None else Features({name: known[name] for name in whole.column_names})
        return Dataset(whole, info=DatasetInfo(features=features), fingerprint="head")

    @cached_property
    def count(self) -> int | None:
        """How many rows there are: as Parquet files or a README say; None where that takes reading all of them."""
        local = not any("://" in file for file in self.files)
        if self.keep is None:
            return self.said if self.said is not None and not local else self._rows_of_parquet() or self.said
        if self.key is None and self.kind == "parquet":
            sizes = [_parquet(file).metadata.num_rows for file in self.files]
            return sum(self._kept(file, size) for file, size in enumerate(sizes))
        if not local:
            return None
        columns = [self.key or self.head.column_names[0]]
        return sum(len(t) for file in range(len(self.files)) for t, _ in self.blocks(file, columns))

    def _rows_of_parquet(self) -> int | None:
        return sum(_parquet(file).metadata.num_rows for file in self.files) if self.kind == "parquet" else None

    def _kept(self, file: int, size: int) -> int:
        """How many of the rows of a file the part keeps, where it looks at their places alone."""
        assert self.keep is not None
        starts = range(0, size, _PLACES)
        return sum(int(self.keep(None, places_of(file, k, min(k + _PLACES, size))).sum()) for k in starts)

    def blocks(
        self, file: int, columns: Sequence[str] | None = None, order: np.random.Generator | None = None
    ) -> Iterator[tuple[Any, np.ndarray]]:
        """The rows of a file, some at a time: Arrow tables, and the place of each row, a number that is its own.

        Args:
            file: its number.
            columns: that are read; all by default.
            order: of the row groups of a Parquet file; that of the file by default.

        Raises:
            RnnZooError: it cannot be read.
        """
        try:
            for table, first in self._read(file, columns, order):
                places = places_of(file, first, first + len(table))
                if self.keep is not None:
                    chosen = self.keep(table, places)
                    table, places = table.filter(chosen), places[chosen]
                if len(table):
                    yield table, places
        except RnnZooError:
            raise
        except Exception as error:
            where = f" at {self.files[file]!r}" if len(self.files) > 1 else ""
            raise RnnZooError(f"dataset={self.name!r} cannot be read{where}: {reason(error)}") from error

    def _read(
        self, file: int, columns: Sequence[str] | None, order: np.random.Generator | None
    ) -> Iterator[tuple[Any, int]]:
        wanted = columns
        if columns is not None and self.key is not None and self.key not in columns:
            wanted = [*columns, self.key]
        if self.kind == "parquet":
            yield from _of_parquet(self.files[file], wanted, order, self.options.get("features"))
            return
        first = 0
        for table in self._lines(file) if self.kind == "lines" else self._by_builder(file):
            yield (table if wanted is None else table.select(list(wanted))), first
            first += len(table)

    def _lines(self, file: int) -> Iterator[Any]:
        import pyarrow as pa

        rest = ""
        for piece in decoded(Path(self.files[file])):
            *whole, rest = (rest + piece).split("\n")
            for k in range(0, len(whole), BLOCK):
                yield pa.table({"text": [line.removesuffix("\r") for line in whole[k : k + BLOCK]]})
        if rest:
            yield pa.table({"text": [rest]})

    def _by_builder(self, file: int) -> Iterator[Any]:
        from datasets import load_dataset

        path = self.files[file]
        named = path if "://" in path else glob.escape(path)
        stream = load_dataset(self.kind, data_files={"train": [named]}, split="train", streaming=True, **self.options)
        tables = stream.with_format("arrow").iter(BLOCK)
        while (table := quietly(next, tables, None)) is not None:
            yield table


def places_of(file: int, first: int, stop: int) -> np.ndarray:
    """The places of some rows of a file."""
    return (file << _FILE) + np.arange(first, stop)


def place_in_file(place: int) -> tuple[int, int]:
    """The number of the file, and of the row in it, of a place that `RowStream.blocks` gives."""
    return int(place) >> _FILE, int(place) & (1 << _FILE) - 1


def _parquet(file: str) -> Any:
    import pyarrow.parquet as pq
    from datasets.utils.file_utils import xopen

    return pq.ParquetFile(xopen(file, "rb") if "://" in file else file)


def _of_parquet(
    file: str, columns: Sequence[str] | None, order: np.random.Generator | None, features: Any
) -> Iterator[tuple[Any, int]]:
    import pyarrow as pa
    from datasets.table import table_cast

    opened = _parquet(file)
    sizes = [opened.metadata.row_group(k).num_rows for k in range(opened.num_row_groups)]
    starts = np.cumsum([0, *sizes])
    for group in range(len(sizes)) if order is None else order.permutation(len(sizes)).tolist():
        first = int(starts[group])
        for batch in opened.iter_batches(BLOCK, row_groups=[group], columns=columns):
            table = pa.Table.from_batches([batch])
            if features is not None:
                table = table_cast(table, pa.schema([features.arrow_schema.field(c) for c in table.column_names]))
            yield table, first
            first += len(table)


def open_streams(name: Any, subset: str | None, bundled: str, cache_dir: str | None) -> dict[str, RowStream]:
    """The splits of a data set as streams, by their names; arguments are those of `load_splits`.

    Raises:
        RnnZooError: nothing of that name, or data that are not read as a stream: CSV files, which are read strictly and
            whole; saved data sets and those of Python, which are on the disk or in memory already.
    """
    if not isinstance(name, str):
        raise RnnZooError(f"streaming=true needs a name or a path, but dataset={shown(name)} is there already")
    name, subset = with_config(name, subset)
    path = path_of(name)
    cache_dir = datasets_cache(cache_dir)
    if path.is_file():
        kind = kind_of(path) or "lines"
        return _checked({"train": RowStream(kind, (_local(path, kind, cache_dir),), name)}, name)
    if path.is_dir():
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            raise RnnZooError(
                f"streaming=true has no use for dataset={name!r}: a saved data set is read from the disk as it is"
                " needed; leave it out"
            )
        return _of_builder(str(path), name, subset, cache_dir)
    if is_path(name):
        raise RnnZooError(f"dataset={name!r}: no such file or folder")
    try:
        found, offline = find_on_hub(name)
        if offline is not None:
            raise NotLoaded(f"{offline}, and streaming=true reads it from there")
        return _of_builder(found, name, subset, cache_dir)
    except RnnZooError:
        raise
    except Exception as error:
        raise no_such_data(name, bundled, error, "a path, or a name on the hub") from error


def _local(path: Path, kind: str, cache_dir: str | None) -> str:
    refuse_hops(path)
    return str(path.absolute() if kind == "lines" else unpacked(path, kind, cache_dir).absolute())


def _of_builder(place: str, name: str, subset: str | None, cache_dir: str | None) -> dict[str, RowStream]:
    builder = make_builder(place, name, subset, cache_dir)
    kind = "lines" if builder.name == "text" and Path(place).is_dir() else builder.name
    sizes = {str(split): info.num_examples for split, info in (builder.info.splits or {}).items()}
    streams = {}
    for split, files in (builder.config.data_files or {}).items():
        paths = tuple(f if "://" in f else _local(Path(f), kind, cache_dir) for f in map(str, files))
        streams[str(split)] = RowStream(kind, paths, name, options_of(builder), sizes.get(str(split)))
    return _checked(streams, name)


def _checked(streams: dict[str, RowStream], name: str) -> dict[str, RowStream]:
    kinds = {stream.kind for stream in streams.values()}
    if "csv" in kinds:
        raise RnnZooError(
            f"streaming=true cannot read dataset={name!r}: CSV files are read whole, to be read strictly; leave it out,"
            " or write Parquet or JSON lines"
        )
    if not kinds <= {"parquet", "json", "arrow", "text", "lines"}:
        raise RnnZooError(f"streaming=true reads Parquet, JSON, Arrow and text, but dataset={name!r} has {min(kinds)}")
    return streams


def make_stream_parts(
    streams: Mapping[str, RowStream],
    split: Sequence[float],
    seed: int,
    group_column: str | None,
    named: Mapping[str, str | None],
    dataset: str,
) -> dict[str, RowStream]:
    """The streams of "train", "validation" and "test"; arguments are those of `make_parts`.

    A part that is missing is made of the one before it: every row, or every group of rows, is drawn for one of them by
    a hash of `seed` and its place, or its group. Slices are not known: they would read what they leave out.

    Raises:
        RnnZooError: no split of a name, a slice, or no such group column.
    """
    fractions, what = check_fractions(split), f"dataset={dataset!r}"
    for part, name in named.items():
        if name is not None and name not in streams:
            sliced = " (slices as train[:10%] are not read from a stream)" if "[" in name or "+" in name else ""
            raise RnnZooError(
                f"{part}_split={name!r}: {what} has no split of that name{did_you_mean(name, streams)} it has"
                f" {', '.join(streams)}{sliced}"
            )
    chosen = {part: name for part, name in named.items() if name is not None}
    names = list(streams)
    if "train" not in chosen and len(names) > 1 and "train" not in names:
        raise RnnZooError(f"{what} has the splits {', '.join(names)}, but none called train: say which by train_split=")
    found = own_splits(names if "train" not in chosen else ["train", *(n for n in names if n != "train")], dataset)
    own = {part: chosen.get(part) or found.get(part) for part in PARTS}
    parts: dict[str, RowStream] = {}
    for here, part in enumerate(PARTS):
        if (name := own[part]) is None:
            continue
        last = next((k for k in range(here + 1, 3) if own[PARTS[k]]), 3)
        bounds = np.cumsum([0.0, *fractions[here:last]]) / sum(fractions[here:last])
        bounds[-1] = np.inf
        for k, (low, high) in zip(range(here, last), pairwise(bounds), strict=True):
            stream = streams[name]
            if last > here + 1:
                stream = replace(stream, keep=_Drawn(low, high, seed, group_column), key=group_column)
            parts[PARTS[k]] = stream
    if group_column is not None:
        _check_group_column(parts, group_column, what)
    return parts


def _check_group_column(parts: Mapping[str, RowStream], column: str, what: str) -> None:
    if all(stream.keep is None for stream in parts.values()):
        rank_zero_warn(f"group_column={column!r} has no effect: {what} has a split for every part")
        return
    stream = next(stream for stream in parts.values() if stream.keep is not None)
    names = replace(stream, keep=None, key=None).head.column_names
    if column not in names:
        raise RnnZooError(
            f"group_column={column!r} is not in {what}{did_you_mean(column, names)} it has {', '.join(names)}"
        )


@dataclass(frozen=True)
class _Drawn:
    """Whether a row's number between 0 and 1, drawn by a hash, lies in a part's range."""

    low: float
    high: float
    seed: int
    column: str | None

    def __call__(self, table: Any, places: np.ndarray) -> np.ndarray:
        if self.column is None:
            drawn = hashed(places, self.seed)
        else:
            import pandas as pd

            groups = np.array([str(value) for value in table[self.column].to_pylist()], dtype=object)
            drawn = hashed(pd.util.hash_array(groups), self.seed)
        share = drawn / 2.0**64
        return (share >= self.low) & (share < self.high)


def hashed(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Random numbers of 64 bits that depend on a number and the seed alone (Steele et al. 2014, SplitMix64)."""
    with np.errstate(over="ignore"):
        z = numbers.astype(np.uint64) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 & (1 << 64) - 1)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
