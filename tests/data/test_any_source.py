"""Every kind of data set that is read: formats, compressions, folders in a hub's layout, and objects of Python."""

import bz2
import gzip
import lzma
import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hub_stub import write_repository

from rnnzoo.data.sources import load_splits
from rnnzoo.errors import RnnZooError

ROWS = {"text": ["In the beginning", "", 'God "created";\nthe heaven', "ä€😀\tand the earth"], "label": [3, 1, 2, 1]}
PACK = {
    "": lambda content: content,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


def packed(content: bytes, suffix: str) -> bytes:
    if suffix != ".zst":
        return PACK[suffix](content)
    sink = pa.BufferOutputStream()  # with the header of a file, which `pa.compress` leaves out
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def read(name: Any, subset: str | None = None, **options: Any) -> dict[str, dict[str, list[Any]]]:
    splits, _ = load_splits(name, subset, bundled="kjv", **options)
    return {split: rows[:] for split, rows in splits.items()}


def write_rows(kind: str, path: Path) -> None:
    rows = Dataset.from_dict(ROWS)
    if kind in ("csv", "tsv"):
        rows.to_csv(str(path), sep="\t" if kind == "tsv" else ",")
    elif kind == "arrow":
        rows.save_to_disk(str(path.parent / "made"))
        shutil.copyfile(next((path.parent / "made").glob("*.arrow")), path)
        shutil.rmtree(path.parent / "made")
    elif kind == "json":
        rows.to_json(str(path), lines=False)
    else:
        {"parquet": rows.to_parquet, "jsonl": rows.to_json}[kind](str(path))


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "parquet", "arrow"])
@pytest.mark.parametrize("suffix", PACK)
def test_a_file_is_read_whatever_its_format_and_compression(kind: str, suffix: str, tmp_path: Path) -> None:
    write_rows(kind, tmp_path / "plain")
    path = tmp_path / f"rows.{kind}{suffix}"
    path.write_bytes(packed((tmp_path / "plain").read_bytes(), suffix))
    assert read(str(path)) == {"train": ROWS}


@pytest.mark.parametrize("suffix", PACK)
def test_the_lines_of_a_text_file_are_rows(suffix: str, tmp_path: Path) -> None:
    for name, content, lines in (
        ("unix", "one\n\n ä€😀 \nlast", ["one", "", " ä€😀 ", "last"]),
        ("windows", "one\r\ntwo\x0b\u2028still two\r\n", ["one", "two\x0b\u2028still two"]),
    ):
        path = tmp_path / f"{name}.txt{suffix}"
        path.write_bytes(packed(content.encode(), suffix))
        assert read(str(path), text_lines=True) == {"train": {"text": lines}}


def test_lines_are_whole_where_a_piece_of_the_file_ends_within_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rnnzoo.data.files.BLOCK", 7)
    (tmp_path / "a.txt").write_text("a long line\n" * 9)
    assert read(str(tmp_path / "a.txt"), text_lines=True)["train"]["text"] == ["a long line"] * 9


def test_text_files_in_a_folder_are_its_splits_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a\nb\n")
    (tmp_path / "test.txt").write_text("c\n")
    assert read(str(tmp_path), text_lines=True) == {"train": {"text": ["a", "b"]}, "test": {"text": ["c"]}}


@pytest.mark.parametrize("kind", ["json", "jsonl", "parquet", "csv"])
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_folder_of_shards_is_read_in_their_order(kind: str, suffix: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for shard in range(3):
        write_rows(kind, tmp_path / "plain")
        path = folder / f"train-0000{shard}-of-00003.{kind}{suffix}"
        path.write_bytes(packed((tmp_path / "plain").read_bytes(), suffix))
    assert read(str(tmp_path / "data")) == {"train": {name: values * 3 for name, values in ROWS.items()}}


LABELLED = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})


def labelled(count: int, first: int = 0) -> Dataset:
    texts = [f"text {k}" for k in range(first, first + count)]
    return Dataset.from_dict({"text": texts, "label": [k % 2 for k in range(count)]}, features=LABELLED)


def test_a_folder_in_a_hubs_layout_has_its_splits_and_names_of_labels(tmp_path: Path) -> None:
    write_repository(tmp_path, {"default": {"train": labelled(11), "validation": labelled(5, 50)}})
    splits, _ = load_splits(str(tmp_path), bundled="kjv")
    assert {split: rows[:] for split, rows in splits.items()} == {
        "train": labelled(11)[:],
        "validation": labelled(5, 50)[:],
    }
    assert splits["train"].features == LABELLED


def test_names_of_labels_come_from_the_readme_where_the_shards_have_none(tmp_path: Path) -> None:
    write_repository(tmp_path, {"default": {"train": labelled(4)}}, shards=1)
    path = next(tmp_path.rglob("*.parquet"))
    pd.DataFrame({"text": ["a", "b"], "label": [1, 0]}).to_parquet(path)  # its schema says nothing of names
    splits, _ = load_splits(str(tmp_path), bundled="kjv")
    assert splits["train"].features["label"].names == ["bad", "good"]
    assert splits["train"][:] == {"text": ["a", "b"], "label": [1, 0]}


def two_configurations(folder: Path) -> str:
    write_repository(folder, {"short": {"train": labelled(3)}, "long": {"train": labelled(9), "test": labelled(4)}})
    return str(folder)


def test_a_configuration_is_named_by_subset_or_behind_a_colon(tmp_path: Path) -> None:
    name = two_configurations(tmp_path / "reviews")
    assert read(name, "short") == read(f"{name}:short") == {"train": labelled(3)[:]}
    assert read(f"{name}:long", "long") == {"train": labelled(9)[:], "test": labelled(4)[:]}
    with pytest.raises(
        RnnZooError, match="has the configurations short, long: give one, as subset='short' or dataset="
    ):
        read(name)
    with pytest.raises(RnnZooError, match=r"subset='lnog' is no configuration of .*; did you mean 'long'\?"):
        read(f"{name}:lnog")
    with pytest.raises(RnnZooError, match="names the configuration 'long' and subset='short': give one"):
        read(f"{name}:long", "short")


def test_a_folder_or_file_with_a_colon_in_its_name_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows("csv", tmp_path / "a:b.csv")
    assert read("a:b.csv") == {"train": ROWS}
    two_configurations(tmp_path / "a")
    (tmp_path / "a:short").mkdir()
    write_rows("csv", tmp_path / "a:short" / "train.csv")
    assert read("a:short") == {"train": ROWS}


@pytest.mark.parametrize("name", ["C:\\texts\\a.csv", "C:/texts/a.csv"])
def test_a_disk_is_no_configuration(name: str) -> None:
    with pytest.raises(RnnZooError, match=f"^dataset={re.escape(repr(name))}: no such file or folder$"):
        read(name)


def test_a_configuration_of_what_has_none_is_a_warning(tmp_path: Path) -> None:
    write_rows("csv", tmp_path / "a.csv")
    with pytest.warns(UserWarning, match=r"^subset='x' has no effect: dataset='.*a.csv' is a file$"):
        assert read(f"{tmp_path / 'a.csv'}:x") == {"train": ROWS}
    labelled(3).save_to_disk(str(tmp_path / "saved"))
    with pytest.warns(UserWarning, match=r"^subset='x' has no effect: .* is a saved data set$"):
        read(str(tmp_path / "saved"), "x")
    with pytest.warns(UserWarning, match=r"^subset='x' has no effect: the data set is given as it is$"):
        read(labelled(3), "x")


def test_settings_of_the_readme_say_how_its_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,1\nb,2\n")
    config = "- config_name: default\n  data_files: rows.csv\n  header: null\n  names: [text, label]\n"
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{config}---\n")
    assert read(str(tmp_path)) == {"train": {"text": ["a", "b"], "label": [1, 2]}}
    (tmp_path / "rows.json").write_text('{"version": 1, "data": [{"text": "a"}, {"text": "b"}]}')
    config = "- config_name: default\n  data_files: rows.json\n  field: data\n"
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{config}---\n")
    assert read(str(tmp_path)) == {"train": {"text": ["a", "b"]}}


@pytest.mark.parametrize("subset", [None, "default"])
@pytest.mark.parametrize("kind", ["parquet", "jsonl.zst"])
def test_a_shard_that_changed_within_its_time_stamp_is_read_again(
    subset: str | None, kind: str, tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files: train.{kind}\n---\n")
    path = tmp_path / f"train.{kind}"
    for text in ("one of a text", "two of a text"):
        rows = Dataset.from_dict({"text": [text]})
        (rows.to_parquet if kind == "parquet" else rows.to_json)(str(tmp_path / "made"))
        content = (tmp_path / "made").read_bytes()
        path.write_bytes(packed(content, ".zst") if kind == "jsonl.zst" else content)
        os.utime(path, ns=(10**18, 10**18))
        assert read(str(tmp_path), subset) == {"train": {"text": [text]}}


class Polars:
    """What a frame of polars is to Arrow: a stream, with views of strings."""

    def __init__(self, rows: dict[str, list[Any]]) -> None:
        table = pa.table(rows)
        self.table = table.cast(
            pa.schema([f.with_type(pa.string_view() if f.type == pa.string() else f.type) for f in table.schema])
        )

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "make",
    [Dataset.from_dict, pd.DataFrame, Polars, pa.table, lambda rows: DatasetDict(train=Dataset.from_dict(rows))],
    ids=["Dataset", "pandas", "polars", "Arrow", "DatasetDict"],
)
def test_a_data_set_is_handed_over_in_python(make: Any) -> None:
    splits, whole = load_splits(make(ROWS), bundled="kjv")
    assert {split: rows[:] for split, rows in splits.items()} == {"train": ROWS}
    assert isinstance(splits["train"], Dataset)
    assert splits["train"].features["text"].dtype in ("string", "large_string")
    assert not whole


def test_several_frames_are_splits_by_their_names() -> None:
    rows = {"train": pd.DataFrame(ROWS, index=[5, 3, 8, 1]), "test": labelled(2)}
    assert read(rows) == {"train": ROWS, "test": labelled(2)[:]}


def test_rows_handed_over_come_as_they_are_whatever_their_format() -> None:
    assert read(labelled(3).with_format("numpy", columns=["label"])) == {"train": labelled(3)[:]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            [1, 2],
            "dataset=<list> must be the name of a data set, a Dataset or DatasetDict of `datasets`, or a frame of",
        ),
        (pd.DataFrame({"text": []}), "dataset=<DataFrame> has no rows"),
        ({}, "dataset=<dict> has no splits"),
        ({"train": "a.csv"}, "dataset=<dict>['train'] must be the name of a data set, a Dataset or "),
        (labelled(3).to_iterable_dataset(), "dataset=<IterableDataset> is a stream of `datasets`, whose rows have no"),
    ],
)
def test_an_object_that_is_no_data_set_is_one_line(given: Any, message: str) -> None:
    with pytest.raises(RnnZooError, match=re.escape(message)) as caught:
        read(given)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_of_a_table_is_that_of_its_rows(tmp_path: Path) -> None:
    prints = []
    for text in ("one", "two", "one"):
        (tmp_path / "a.csv").write_text(f"text,label\n{text},1\n")
        prints.append(load_splits(str(tmp_path / "a.csv"), bundled="kjv")[0]["train"]._fingerprint)
    assert prints[0] == prints[2] != prints[1]


def test_nothing_is_said_where_nothing_is_amiss(tmp_path: Path) -> None:
    name = two_configurations(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(f"{name}:long")
