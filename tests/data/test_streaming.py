"""Streams of rows: every row once, in an order of seed and epoch alone, whoever reads them."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hub_stub import write_repository

from rnnzoo.data import streaming
from rnnzoo.data.row_streams import RowStream, make_stream_parts, open_streams, place_in_file
from rnnzoo.data.streaming import StreamedBatches, streamed
from rnnzoo.errors import RnnZooError

ROWS = [171, 64, 5, 93]  # of each file


class Batch(NamedTuple):
    numbers: list[int]
    places: list[int]
    counts: bool = True

    def unanswered(self) -> "Batch":
        return self._replace(counts=False)


def make(table: Any, numbers: np.ndarray, places: np.ndarray, epoch: int) -> Batch:
    return Batch(table["n"].to_pylist(), numbers.tolist())


def size(table: Any) -> np.ndarray:
    return np.array([len(text) for text in table["text"].to_pylist()])


def write_shards(folder: Path, kind: str = "parquet", sizes: list[int] = ROWS, group: int = 20) -> str:
    folder.mkdir(exist_ok=True)
    first = 0
    for shard, count in enumerate(sizes):
        numbers = list(range(first, first + count))
        texts = ["x" * (7 * n % 31 + 1) for n in numbers]
        table = pa.table({"n": numbers, "text": texts, "g": [n // 6 for n in numbers]})
        path = folder / f"train-{shard:05}-of-{len(sizes):05}.{kind}"
        if kind == "parquet":
            pq.write_table(table, path, row_group_size=group)
        else:
            Dataset(table).to_json(str(path))
        first += count
    return str(folder)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows and blocks so small that there are many."""
    monkeypatch.setattr(streaming, "_WINDOW", 40)
    monkeypatch.setattr("rnnzoo.data.row_streams.BLOCK", 8)
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")


@pytest.fixture
def stream(tmp_path: Path) -> RowStream:
    return open_streams(write_shards(tmp_path / "d"), None, "kjv", None)["train"]


def trains(**settings: Any) -> SimpleNamespace:
    """What is read of a trainer."""
    usual = {"world_size": 1, "global_rank": 0, "current_epoch": 0, "max_steps": -1, "limit_train_batches": 1.0}
    connector = SimpleNamespace(use_distributed_sampler=False)
    return SimpleNamespace(**{**usual, "_accelerator_connector": connector, **settings})


def batches(stream: RowStream, batch_size: int = 12, seed: int | None = 5, epoch: int = 0, **more: Any) -> list[Batch]:
    made = StreamedBatches(stream, ["n", "text"], make, batch_size, seed, **more)
    made.epoch = epoch
    return list(made)


def numbers(read: list[Batch]) -> list[int]:
    return [n for batch in read if batch.counts for n in batch.numbers]


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "jsonl.gz"])
@pytest.mark.parametrize("by_size", [False, True])
def test_an_epoch_has_every_row_once_in_full_batches_but_for_the_last(kind: str, by_size: bool, tmp_path: Path) -> None:
    stream = open_streams(write_shards(tmp_path / "d", kind), None, "kjv", None)["train"]
    read = batches(stream, size=size if by_size else None)
    assert sorted(numbers(read)) == list(range(sum(ROWS)))
    assert [len(batch.numbers) for batch in read] == [12] * (sum(ROWS) // 12) + [sum(ROWS) % 12]
    assert len({place for batch in read for place in batch.places}) == sum(ROWS)


def test_the_order_depends_on_seed_and_epoch_alone(stream: RowStream) -> None:
    assert batches(stream) == batches(stream)
    assert numbers(batches(stream, epoch=1)) != numbers(batches(stream))
    assert numbers(batches(stream, seed=6)) != numbers(batches(stream))
    assert numbers(batches(stream, epoch=1)) == numbers(batches(stream, epoch=1))


def where(n: int) -> tuple[int, int]:
    """The file of a row, and its number in it."""
    file = int(np.searchsorted(np.cumsum(ROWS), n, side="right"))
    return file, n - sum(ROWS[:file])


@pytest.mark.parametrize("order", [None, 3])
def test_a_place_says_the_file_of_a_row_and_its_number_there(order: int | None, stream: RowStream) -> None:
    for file in range(len(ROWS)):
        rng = None if order is None else np.random.default_rng(order)
        read = [
            (n, place)
            for table, places in stream.blocks(file, ["n"], rng)
            for n, place in zip(table["n"].to_pylist(), places, strict=True)
        ]
        assert len(read) == ROWS[file]
        assert all(place_in_file(place) == where(n) for n, place in read)


def test_rows_of_several_files_and_row_groups_are_mixed_within_a_window(stream: RowStream) -> None:
    first = numbers(batches(stream))[:40]
    files = {int(np.searchsorted(np.cumsum(ROWS), n, side="right")) for n in first}
    assert len(files) >= 3
    assert sorted(first) != first
    groups = {n // 20 for n in numbers(batches(stream))[:80]}
    assert groups != set(range(len(groups)))  # not the first ones


def test_in_order_rows_come_as_the_files_have_them_with_numbers_from_zero(stream: RowStream) -> None:
    read = batches(stream, seed=None)
    assert numbers(read) == list(range(sum(ROWS)))
    assert [place for batch in read for place in batch.places] == list(range(sum(ROWS)))


def test_batches_of_like_sizes_differ_less_in_size_than_others(stream: RowStream) -> None:
    def spread(read: list[Batch]) -> float:
        return float(np.mean([np.ptp([7 * n % 31 for n in batch.numbers]) for batch in read]))

    assert spread(batches(stream, 4, size=size)) < 0.9 * spread(batches(stream, 4))


@pytest.mark.parametrize("seed", [5, None])
@pytest.mark.parametrize(("world_size", "batch_size"), [(2, 12), (3, 12), (5, 10)])
def test_processes_share_out_each_batch_of_one_process(
    world_size: int, batch_size: int, seed: int | None, stream: RowStream
) -> None:
    alone = batches(stream, batch_size, seed, size=size)
    shares = [
        batches(stream, batch_size, seed, size=size, world_size=world_size, rank=rank) for rank in range(world_size)
    ]
    assert {len(own) for own in shares} == {len(alone)}
    for k, batch in enumerate(alone):
        together = [n for own in shares if own[k].counts for n in own[k].numbers]
        assert sorted(together) == sorted(batch.numbers)


def test_a_process_without_a_row_for_the_last_batch_gets_one_that_counts_for_nothing(tmp_path: Path) -> None:
    stream = open_streams(write_shards(tmp_path / "d", sizes=[25]), None, "kjv", None)["train"]
    shares = [batches(stream, 12, world_size=3, rank=rank) for rank in range(3)]
    assert [own[-1].counts for own in shares] == [True, False, False]
    assert all(len(own[-1].numbers) == 1 for own in shares)


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_workers_give_the_batches_that_a_loader_without_them_gives(num_workers: int, stream: RowStream) -> None:
    trainer = trains(world_size=2, global_rank=1, current_epoch=4)
    given: Any = (stream, ["n", "text"], make, 12, trainer)
    alone, shared = (streamed(*given, count, training=True, size=size) for count in (0, num_workers))
    assert len(shared) == len(alone) == -(-sum(ROWS) // 12)
    assert list(shared) == list(alone) == batches(stream, 12, 3, 4, size=size, world_size=2, rank=1)
    trainer.current_epoch = 5
    assert list(shared) == batches(stream, 12, 3, 5, size=size, world_size=2, rank=1)


def test_more_workers_than_batches_give_each_once(stream: RowStream) -> None:
    loader = streamed(stream, ["n", "text"], make, 300, None, 3, training=True)
    assert sorted(numbers(list(loader))) == list(range(sum(ROWS)))


# ---- how many there are


def test_parquet_files_on_the_disk_say_how_many_rows_they_have(stream: RowStream) -> None:
    assert stream.count == sum(ROWS)


def test_a_readme_says_it_for_other_files(tmp_path: Path) -> None:
    rows = Dataset.from_dict({"n": list(range(9)), "text": ["a"] * 9})
    write_repository(tmp_path, {"default": {"train": rows}})
    said = open_streams(str(tmp_path), None, "kjv", None)["train"]
    assert said.said == said.count == 9


def test_without_either_training_needs_to_be_told_its_steps(tmp_path: Path) -> None:
    stream = open_streams(write_shards(tmp_path / "d", "jsonl"), None, "kjv", None)["train"]
    assert stream.count is None
    given: Any = (stream, ["n"], make, 12)
    with pytest.raises(
        RnnZooError, match=r"how many rows dataset='.*' has for training is not known.* --trainer.max_steps$"
    ):
        streamed(*given, trains(), 0, training=True)
    loader = streamed(*given, trains(max_steps=9), 0, training=True)
    with pytest.raises(TypeError):
        len(loader)
    assert sorted(numbers(list(loader))) == list(range(sum(ROWS)))
    streamed(*given, trains(), 0, training=False)


# ---- parts


def parts_of(stream: RowStream, group: str | None = None, seed: int = 0, **named: str | None) -> dict[str, RowStream]:
    return make_stream_parts({"train": stream}, (0.6, 0.3, 0.1), seed, group, named, "d")


def test_missing_parts_are_drawn_by_rows_and_every_row_is_in_one(stream: RowStream) -> None:
    parts = parts_of(stream)
    read = {part: numbers(batches(own, seed=None)) for part, own in parts.items()}
    assert sorted(n for own in read.values() for n in own) == list(range(sum(ROWS)))
    assert all(own == sorted(own) for own in read.values())
    assert {part: own.count for part, own in parts.items()} == {part: len(own) for part, own in read.items()}
    for part, share in zip(read, (0.6, 0.3, 0.1), strict=True):
        assert len(read[part]) == pytest.approx(share * sum(ROWS), abs=25)
    assert numbers(batches(parts_of(stream)["test"], seed=None)) == read["test"]
    assert numbers(batches(parts_of(stream, seed=1)["test"], seed=None)) != read["test"]
    assert sorted(numbers(batches(parts["test"]))) == read["test"]


def test_missing_parts_are_drawn_by_groups(stream: RowStream) -> None:
    parts = parts_of(stream, "g")
    groups = [{n // 6 for n in numbers(batches(own, seed=None))} for own in parts.values()]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    assert len(groups[0] | groups[1] | groups[2]) == -(-sum(ROWS) // 6)
    assert all(own.count == len(numbers(batches(own))) for own in parts.values())


def test_own_splits_are_used_and_a_missing_one_comes_from_the_one_before(tmp_path: Path) -> None:
    rows = Dataset.from_dict({"n": list(range(40)), "text": ["a"] * 40})
    write_repository(tmp_path, {"default": {"train": rows, "test": rows.select(range(7)), "more": rows}})
    streams = open_streams(str(tmp_path), None, "kjv", None)
    parts = make_stream_parts(streams, (0.5, 0.4, 0.1), 0, None, {}, "d")
    read = {part: numbers(batches(own, seed=None)) for part, own in parts.items()}
    assert read["test"] == list(range(7))
    assert sorted(read["train"] + read["validation"]) == list(range(40))
    assert read["validation"]
    named = {"train": "more", "validation": "test"}
    assert make_stream_parts(streams, (0.5, 0.4, 0.1), 0, None, named, "d")["validation"].count == 7


@pytest.mark.parametrize(
    ("named", "group", "message"),
    [
        (
            {"train": "tran"},
            None,
            r"^train_split='tran': dataset='d' has no split of that name; did you mean",
        ),
        ({"test": "train[:9]"}, None, r"slices as train\[:10%\] are not read from a stream"),
        ({}, "chapter", r"^group_column='chapter' is not in dataset='d'; it has n, text, g$"),
    ],
)
def test_a_part_that_is_not_there_is_one_line(
    named: dict[str, str | None], group: str | None, message: str, stream: RowStream
) -> None:
    with pytest.raises(RnnZooError, match=message):
        make_stream_parts({"train": stream}, (0.6, 0.3, 0.1), 0, group, named, "d")


# ---- what is read


@pytest.mark.parametrize("kind", ["txt", "txt.gz"])
def test_lines_of_text_are_streamed(kind: str, tmp_path: Path) -> None:
    lines = [f"line {k} ä" for k in range(100)]
    content = "\r\n".join(lines).encode()
    (tmp_path / f"a.{kind}").write_bytes(gzip.compress(content) if kind.endswith("gz") else content)
    stream = open_streams(str(tmp_path / f"a.{kind}"), None, "kjv", None)["train"]
    assert [t for table, _ in stream.blocks(0) for t in table["text"].to_pylist()] == lines


def test_the_head_has_the_types_that_the_readme_says(tmp_path: Path) -> None:
    from datasets import ClassLabel, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    rows = Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=features)
    write_repository(tmp_path, {"default": {"train": rows}})
    assert open_streams(str(tmp_path), None, "kjv", None)["train"].head.features == features


def saved(tmp_path: Path) -> Any:
    Dataset.from_dict({"text": ["a"]}).save_to_disk(str(tmp_path / "saved"))
    return str(tmp_path / "saved")


def a_csv_file(tmp_path: Path) -> Any:
    (tmp_path / "a.csv").write_text("text,label\na,1\n")
    return str(tmp_path / "a.csv")


def broken(tmp_path: Path) -> Any:
    (tmp_path / "a.parquet").write_bytes(b"nonsense")
    return str(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (saved, r"^streaming=true has no use for dataset='.*': a saved data set is read from the disk as it is needed"),
        (a_csv_file, r"^streaming=true cannot read dataset='.*': CSV files are read whole, to be read strictly"),
        (broken, r"^dataset='.*a.parquet' cannot be read: .*Parquet"),
        (lambda _: Dataset.from_dict({"a": [1]}), r"^streaming=true needs a name or a path, but dataset=<Dataset> is"),
        (lambda _: "./missing", r"^dataset='./missing': no such file or folder$"),
        (lambda _: "some/where", r"^dataset='some/where' is no file or folder here; HF_HUB_OFFLINE is set"),
    ],
)
def test_what_is_no_stream_is_one_line(name: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RnnZooError, match=message) as caught:
        _ = open_streams(name(tmp_path), None, "kjv", None)["train"].head
    assert "\n" not in str(caught.value)


def test_no_more_is_read_than_is_asked_for(stream: RowStream, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    whole = RowStream.blocks

    def counted(self: RowStream, *args: Any) -> Iterator[tuple[Any, np.ndarray]]:
        for table, places in whole(self, *args):
            read.append(len(table))
            yield table, places

    monkeypatch.setattr(RowStream, "blocks", counted)
    next(iter(StreamedBatches(stream, ["n"], make, 12, 5)))
    assert sum(read) <= 40 + 12 + 8
