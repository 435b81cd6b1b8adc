"""What `TextExamples` does where its rows are streamed: nothing is kept, rows are tokenized as they come."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from rnnzoo.data.effects import warn_without_effect
from rnnzoo.data.parts import held_out_part, held_out_parts
from rnnzoo.data.ragged import columns_of
from rnnzoo.data.row_streams import RowStream, make_stream_parts, open_streams, place_in_file
from rnnzoo.data.streaming import StreamLoader, streamed
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset

    from rnnzoo.data.text_examples import TextExamples

_TEXTS = 100_000  # rows that a tokenizer is trained on


class TextStreams:
    """The parts of a data module as streams.

    Args:
        data: whose settings and methods are used.
        named: for each part the name of a split, or None.

    Raises:
        RnnZooError: as `open_streams` and `make_stream_parts`, or a setting that needs all rows at once.
    """

    def __init__(self, data: "TextExamples", named: Mapping[str, str | None]) -> None:
        self.data = data
        self._said: set[str] = set()  # parts of which it was said how much is cut
        if isinstance(data.dataset, str) and data.dataset in data.bundled:
            raise RnnZooError(f"streaming=true has no use for dataset={data.dataset!r}: it is in memory; leave it out")
        if data.baseline:
            raise RnnZooError("baseline=true needs all rows at once: leave it out, or streaming=true")
        warn_without_effect(data, ("tokens_per_batch",), "streaming=true makes batches of batch_size rows")
        bundled, grouped = next(iter(data.bundled), "kjv"), (data.group_column, named, data.dataset)
        self.splits = open_streams(data.dataset, data.subset, bundled, data.cache_dir)
        held_out = held_out_parts(self.splits, named) if data.held_out else {}
        self.parts = held_out or make_stream_parts(self.splits, data.split, data.split_seed or 0, *grouped)

    def part(self, name: str) -> RowStream:
        """The stream of "train", "validation", "test" or "all"."""
        return self._all() if name == "all" else held_out_part(self.parts, name, self.data.dataset)

    def _all(self) -> RowStream:
        first, *others = self.splits.values()
        said = [stream.said for stream in self.splits.values()]
        files = [*first.files, *(file for stream in others for file in stream.files)]
        return replace(first, files=tuple(files), said=None if None in said else sum(s or 0 for s in said))

    def head(self, name: str) -> "Dataset":
        """The first rows of a part."""
        return self.part(name).head

    def by_role(self, name: str, required: bool, most: int | None = None) -> Iterator[Mapping[str, list[Any]]]:
        """The columns of a part that are read, by role, some rows at a time."""
        stream = self.part(name)
        chosen, done = self.data.columns(stream.head, required), 0
        for file in range(len(stream.files)):
            for table, _ in stream.blocks(file, sorted({*chosen.values()})):
                if most is not None and done + len(table) >= most:
                    yield _Rows(table.slice(0, most - done), chosen)
                    return
                done += len(table)
                yield _Rows(table, chosen)

    def texts(self) -> Iterator[str]:
        """What a tokenizer is trained on."""
        seen = 0
        for rows in self.by_role("train", required=False, most=_TEXTS):
            seen += len(next(iter(rows.values())))
            yield from self.data.texts(rows)
        if seen == _TEXTS:
            rank_zero_info(f"the tokenizer is trained on the first {_TEXTS:,} {self.data.named} of the stream")

    def loader(self, name: str, training: bool) -> StreamLoader:
        """The batches of a part."""
        data, stream = self.data, self.part(name)
        _ = data.description  # what has been learned
        chosen = data.columns(stream.head, not data.predicts)
        self._say_what_is_cut(name, chosen)
        if training and stream.count is not None and stream.count < data.batch_size:
            raise RnnZooError(
                f"batch_size={data.batch_size} is larger than the {stream.count} training {data.named} of"
                f" {data.dataset!r}: batch_size={stream.count} would do"
            )
        columns, make = sorted({*chosen.values()}), _Maker(data, stream, chosen, data.crop if training else None)
        options = (data.batch_size, data.trainer, data.num_workers)
        return streamed(stream, columns, make, *options, training=training, size=_Size(chosen))

    def _say_what_is_cut(self, name: str, chosen: dict[str, str]) -> None:
        if self.data.max_length is None or name in self._said:
            return
        self._said.add(name)
        head = self.head(name)
        rows = {role: head[column][:] for role, column in chosen.items()}
        share = np.mean(self.data.encode_rows(rows, list(range(len(head))))["cut"].to_numpy())
        if share:
            rank_zero_info(
                f"{share:.1%} of the first {len(head):,} {self.data.named} of {name} are cut to"
                f" max_length={self.data.max_length}"
            )


class _Rows(Mapping[str, list[Any]]):
    """The columns of a table by role, which become lists when they are read."""

    def __init__(self, table: Any, chosen: Mapping[str, str]) -> None:
        self.table, self.chosen = table, chosen

    def __getitem__(self, role: str) -> list[Any]:
        return self.table[self.chosen[role]].to_pylist()

    def __iter__(self) -> Iterator[str]:
        return iter(self.chosen)

    def __len__(self) -> int:
        return len(self.chosen)


class _Maker:
    """Makes a batch of rows of Arrow."""

    def __init__(self, data: "TextExamples", stream: RowStream, chosen: dict[str, str], crop: int | None) -> None:
        self.data, self.stream, self.chosen, self.crop = data, stream, chosen, crop

    def __call__(self, table: Any, numbers: np.ndarray, places: np.ndarray, epoch: int) -> Any:
        rows = dict(_Rows(table, self.chosen))
        try:
            encoded = self.data.encode_rows(rows, numbers.tolist(), epoch, self.crop)
        except RnnZooError:
            self._find_amiss(rows, places)
            raise
        return self.data.make_batch(columns_of(encoded), numbers)

    def _find_amiss(self, rows: dict[str, list[Any]], places: np.ndarray) -> None:
        """Raises the error of the first row that is amiss, with its number in its file."""
        for k, place in enumerate(places):
            file, row = place_in_file(place)
            try:
                self.data.encode_rows({role: values[k : k + 1] for role, values in rows.items()}, [row])
            except RnnZooError as error:
                files = self.stream.files
                raise RnnZooError(f"{error}, in {files[file]!r}" if len(files) > 1 else str(error)) from error


class _Size:
    """How long the rows of a table are, in characters or items of a column, for batches of like lengths."""

    def __init__(self, chosen: Mapping[str, str]) -> None:
        self.columns = list(chosen.values())

    def __call__(self, table: Any) -> np.ndarray:
        import pyarrow as pa
        import pyarrow.compute as pc

        for name in self.columns:
            kind = table[name].type
            if pa.types.is_string(kind) or pa.types.is_large_string(kind):
                lengths = pc.utf8_length(table[name])
            elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
                lengths = pc.list_value_length(table[name])
            else:
                continue
            return pc.fill_null(lengths, 0).to_numpy()
        return np.zeros(len(table), dtype=np.int64)
