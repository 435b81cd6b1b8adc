"""Text and rows out of real files, through `datasets`."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict

from rnnzoo.data import CharTextData
from rnnzoo.data import builders as builders_module
from rnnzoo.data import files as files_module
from rnnzoo.data import sources as sources_module
from rnnzoo.errors import RnnZooError

Write = Callable[[str, bytes | str], str]

ROWS = ["In the beginning", "", 'God; created,\nthe "heaven"', "and the earth.", "ä€😀" * 9]


def scrambled(seed: int) -> bytes:
    """UTF-8 full of what a reader of text might change."""
    pieces = [
        "\r\n",
        "\r",
        "\n",
        "\f",
        "\v",
        "\x00",
        "\x1a",
        "\x1c",
        "\x85",
        "\u2028",
        "\ufeff",
        "a",
        "é",
        "€",
        "😀",
        " ",
        "\t",
    ]
    rng = random.Random(seed)
    return "".join(rng.choice(pieces) for _ in range(rng.randint(40, 400))).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfbom first\r\nthen \rthis\n\nand no newline at the end" * 2,
        b"\r\n" * 40,
        b"\n" * 39 + b"a",
        b"\x0c\x0b\x1c\x1d\x1e\x85"[:5] * 10,
        *map(scrambled, range(20)),
    ],
)
@pytest.mark.parametrize("block", [1 << 24, 7])
def test_a_text_file_is_read_byte_for_byte(
    content: bytes, block: int, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "BLOCK", block)
    assert CharTextData(write("a.txt", content)).text().encode() == content


def test_a_text_file_ends_in_a_data_set(write: Write) -> None:
    splits, whole = sources_module.load_splits(write("a.txt", "x\r\ny"), bundled="kjv", text_files=True)
    assert whole
    assert isinstance(splits["train"], Dataset)
    assert splits["train"]["text"][:] == ["x\r\ny"]


def test_text_files_in_a_folder_are_its_splits_byte_for_byte(write: Write, tmp_path: Path) -> None:
    train, test = b"one\r\n" * 30 + b"\r", b"two\n" * 9
    write("d/train.txt", train)
    write("d/test.txt", test)
    data = CharTextData(str(tmp_path / "d"))
    assert (data.text("train") + data.text("validation")).encode() == train
    assert data.text("test").encode() == test


def save(rows: list[str], kind: str, folder: Path) -> str:
    rowset, path = Dataset.from_dict({"id": list(range(len(rows))), "body": rows}), str(folder / f"rows.{kind}")
    {"csv": rowset.to_csv, "parquet": rowset.to_parquet, "jsonl": rowset.to_json, "saved": rowset.save_to_disk}[kind](
        path
    )
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl", "saved"])
def test_the_rows_of_a_column_are_joined(kind: str, tmp_path: Path) -> None:
    path = save(ROWS, kind, tmp_path)
    assert CharTextData(path, column="body").text() == "\n".join(ROWS)
    assert CharTextData(path, column="body", separator=" <> ").text() == " <> ".join(ROWS)


def test_rows_are_joined_across_batches_of_rows(tmp_path: Path) -> None:
    rows = [str(k) for k in range(2500)]
    assert CharTextData(save(rows, "parquet", tmp_path), column="body").text() == "\n".join(rows)


def test_the_splits_of_a_saved_set_are_used(tmp_path: Path) -> None:
    parts = {"train": "abc" * 9, "valid": "de" * 9, "test": "f" * 9, "unsupervised": "never read"}
    DatasetDict({k: Dataset.from_dict({"text": [v]}) for k, v in parts.items()}).save_to_disk(str(tmp_path / "d"))
    data = CharTextData(str(tmp_path / "d"))
    assert [data.text(p) for p in ("train", "validation", "test")] == ["abc" * 9, "de" * 9, "f" * 9]
    assert data.vocabulary == list("abcdef")


def test_a_file_that_changed_is_read_again(write: Write) -> None:
    assert CharTextData(write("a.csv", "text\n" + "one" * 20)).text() == "one" * 20
    assert CharTextData(write("a.csv", "text\n" + "two" * 20)).text() == "two" * 20


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "is an empty file"),
        ("a.csv", b"", "is an empty file"),
        ("a.csv", b"text\n", "cannot be read: no rows"),
        ("a.txt", b"caf\xe9 au lait", r"is not UTF-8: byte 0xe9 at offset 3;"),
        ("a.txt", b"a" * 20 + b"\xe2\x82", r"is not UTF-8: byte 0xe2 at offset 20;"),
        ("a.txt", b"\xe2\x82\xac" * 7 + b"\xffab", r"is not UTF-8: byte 0xff at offset 21;"),
        ("a.jsonl", b"{nonsense", "cannot be read: .*JSON parse error"),
        ("a.parquet", b"nonsense", "cannot be read: .*Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(
    name: str, content: bytes, message: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "BLOCK", 11)
    with pytest.raises(RnnZooError, match=message) as caught:
        CharTextData(write(name, content)).setup()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["missing.txt", "missing.csv", "./missing", "/missing", "a/b/c", "~/missing.parquet.gz"]
)
def test_a_missing_path_does_not_ask_the_hub(name: str) -> None:
    with pytest.raises(RnnZooError, match=f"^dataset='{name}': no such file or folder$"):
        CharTextData(name).setup()


def test_a_name_that_is_neither_here_nor_reachable_says_both() -> None:
    message = r"^dataset='someone/something' is no file or folder here; HF_HUB_OFFLINE is set.* loaded before: .*'kjv'$"
    with pytest.raises(RnnZooError, match=message) as caught:
        CharTextData("someone/something").setup()
    assert "\n" not in str(caught.value)
    with pytest.raises(RnnZooError, match="did you mean 'kjv'"):
        CharTextData("kvj").setup()


def test_an_empty_name_or_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RnnZooError, match=r"^dataset='' is empty"):
        CharTextData("").setup()
    with pytest.raises(RnnZooError, match=r"cannot be read: .*any data files"):
        CharTextData(str(tmp_path)).setup()


def test_a_column_that_is_missing_or_no_text_is_named(write: Write) -> None:
    path = write("a.csv", "text,number\nab,1\n")
    with pytest.raises(RnnZooError, match=r"^column='body' is not in .*: it has text, number$"):
        CharTextData(path, column="body").setup()
    with pytest.raises(RnnZooError, match=r"^column='number' of .* must hold text, but its type is .*int64"):
        CharTextData(path, column="number").setup()
    with pytest.raises(RnnZooError, match=r"^column='body' is not in .*: it has text$"):
        CharTextData(write("a.txt", "some text"), column="body").setup()


def test_splits_without_train_are_refused(tmp_path: Path) -> None:
    rows = Dataset.from_dict({"text": ["abc"]})
    DatasetDict({"left": rows, "right": rows}).save_to_disk(str(tmp_path / "d"))
    with pytest.raises(RnnZooError, match="has the splits left, right, but none called train"):
        CharTextData(str(tmp_path / "d")).setup()


NAMES = ["run[1]", "-r u*n?", ".läuft{😀}", "__run__", "~$a'b\"c\\d!", "a:b#c%20d\ne"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["txt", "csv", "parquet", "jsonl", "arrow", "saved"])
def test_a_file_that_is_named_is_the_file_that_is_read(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside files that its name, taken for a pattern, would find; in a folder of such a name, and by a link to it."""
    text = "this one and no other"
    suffix = "" if kind == "saved" else f".{kind}"
    for folder, stem in (("in", name), (name, "plain")):
        for other in {"run1", "runs", stem}:
            path = tmp_path / folder / f"{other}{suffix}"
            path.parent.mkdir(exist_ok=True, parents=True)
            content = text if other == stem else "another"
            rows = Dataset.from_dict({"text": [content]})
            if kind == "txt":
                path.write_text(content)
            elif kind == "arrow":
                rows.save_to_disk(str(tmp_path / "made"))
                shutil.copyfile(next((tmp_path / "made").glob("*.arrow")), path)
            else:
                {"csv": rows.to_csv, "parquet": rows.to_parquet, "jsonl": rows.to_json, "saved": rows.save_to_disk}[
                    kind
                ](path if kind == "saved" else str(tmp_path / "made.file"))
                if kind != "saved":
                    (tmp_path / "made.file").rename(path)
        path = tmp_path / folder / f"{stem}{suffix}"
        assert CharTextData(str(path)).text() == text
        monkeypatch.chdir(path.parent)
        assert CharTextData(path.name).text() == text
        link = tmp_path / f"link to {name}{suffix}"
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        assert CharTextData(str(link)).text() == text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["txt", "csv", "parquet", "jsonl"])
def test_a_folder_that_is_named_is_the_folder_that_is_read(kind: str, name: str, tmp_path: Path) -> None:
    for folder in (name, "run1", "runs"):
        (tmp_path / folder).mkdir(exist_ok=True)
        for part in ("train", "validation", "test"):
            path = tmp_path / folder / f"{part}.{kind}"
            text = f"{folder} for {part}"
            rows = Dataset.from_dict({"text": [text]})
            if kind == "txt":
                path.write_text(text)
            else:
                {"csv": rows.to_csv, "parquet": rows.to_parquet, "jsonl": rows.to_json}[kind](str(tmp_path / "made"))
                (tmp_path / "made").rename(path)
    data = CharTextData(str(tmp_path / name))
    assert [data.text(part) for part in ("train", "validation", "test")] == [
        f"{name} for {part}" for part in ("train", "validation", "test")
    ]


def test_what_datasets_takes_for_a_place_in_an_archive_is_refused_by_name(tmp_path: Path, write: Write) -> None:
    rows = Dataset.from_dict({"text": ["abcabcabc" * 9]})
    for name, save in (("a::b.parquet", rows.to_parquet), ("a::b", rows.save_to_disk)):
        save(str(tmp_path / "made"))
        (tmp_path / "made").rename(tmp_path / name)
        with pytest.raises(RnnZooError, match=r"has .::. in its path, .* rename it"):
            CharTextData(str(tmp_path / name)).setup()
    assert CharTextData(write("a::c/ab.txt", "abcabcabc" * 9)).text() == "abcabcabc" * 9
    assert CharTextData(str(tmp_path / "a::c")).text() == "abcabcabc" * 9


def test_a_home_folder_is_meant_by_a_tilde_unless_something_is_called_so(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("home/a.txt", "at home, where else")
    write("here/~/a.txt", "a folder called so")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "home")
    assert CharTextData("~/a.txt").text() == "at home, where else"
    monkeypatch.chdir(tmp_path / "here")
    assert CharTextData("~/a.txt").text() == "a folder called so"


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl", "txt"])
def test_a_file_that_changed_within_its_time_stamp_is_read_again(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    for text in ("one of a text " * 5, "two of a text " * 5):
        rows = Dataset.from_dict({"text": [text]})
        if kind == "txt":
            path.write_text(text)
        else:
            {"csv": rows.to_csv, "parquet": rows.to_parquet, "jsonl": rows.to_json}[kind](str(path))
        os.utime(path, ns=(10**18, 10**18))  # as a copy with times, or a clock that was set back
        assert CharTextData(str(path)).text() == text


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "folder"])
def test_where_datasets_cannot_write_its_cache_it_has_one_for_this_process(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "file" / "cache"))
    said: list[str] = []
    monkeypatch.setattr(builders_module, "rank_zero_warn", said.append)
    rows, name = (
        Dataset.from_dict({"text": ["a text and no more"] * 9}),
        "train.parquet" if kind == "folder" else f"a.{kind}",
    )
    (rows.to_json if kind == "jsonl" else rows.to_parquet)(str(tmp_path / name))
    (tmp_path / "file2").mkdir()
    path = tmp_path / name
    if kind == "folder":
        path = path.rename(tmp_path / "file2" / name).parent
    assert CharTextData(str(path)).text().startswith("a text and no more\na text")
    assert len(said) == 1 + (kind == "folder")
    assert said[0].startswith("what `datasets` prepares is not kept for the next run: ")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", "~/cache")
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / "rnnzoo"))
    monkeypatch.chdir(tmp_path)
    assert CharTextData(str(path)).text().startswith("a text and no more\na text")
    assert (tmp_path / "rnnzoo" / "datasets").is_dir()
    assert not (tmp_path / "~").exists()
