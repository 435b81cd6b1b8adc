import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rnnzoo import cache as cache_module
from rnnzoo.cache import cache_folder, written_aside
from rnnzoo.data import CharTextData, encoding
from rnnzoo.data.cache import EncodedText, cached

Write = Callable[[str, bytes | str], str]

TEXT = "the quick brown fox\njumps over the lazy dog\n" * 50


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The cache folder, with every text thought worth keeping."""
    monkeypatch.setattr(encoding, "WORTH_KEEPING", 1)
    return tmp_path / "kept"


def files(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_a_short_text_is_not_kept(write: Write, tmp_path: Path) -> None:
    CharTextData(write("a.txt", TEXT), cache_dir=str(tmp_path / "kept")).setup()
    assert not any(name.startswith("text-") for name in files(tmp_path / "kept"))


def test_a_long_text_is_encoded_once(write: Write, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("a.txt", TEXT)
    assert CharTextData(path, cache_dir=str(kept)).text() == TEXT
    assert len(files(kept)) == 1
    monkeypatch.setattr(encoding, "_encode", None)
    again = CharTextData(path, batch_size=4, cache_dir=str(kept))
    assert again.text() == TEXT
    assert again.vocabulary == sorted(set(TEXT))
    assert len(list(again.train_dataloader())) == 4
    moved = CharTextData(write("b.txt", TEXT), cache_dir=str(kept), vocabulary=sorted(set(TEXT), reverse=True))
    assert moved.text() == TEXT  # keyed by content: neither the name nor the vocabulary counts


def test_another_text_has_another_key(write: Write, kept: Path) -> None:
    for text in (TEXT, TEXT[:-1], TEXT + "\n"):
        assert CharTextData(write("a.txt", text), cache_dir=str(kept)).text() == text
    assert len(files(kept)) == 3


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "one byte", "another file"])
def test_a_damaged_file_is_made_again(damage: str, write: Write, kept: Path) -> None:
    path = write("a.txt", TEXT)
    CharTextData(path, cache_dir=str(kept)).setup()
    file = kept / files(kept)[0]
    whole = file.read_bytes()
    start = whole.index(bytes(sorted(set(TEXT)).index(c) for c in TEXT[:40]))  # where the encoded text lies
    spoilt = {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "garbage": b"garbage" * 99,
        "one byte": whole[:start] + bytes([whole[start] ^ 1]) + whole[start + 1 :],
        "another file": b"PK\x05\x06" + bytes(18),
    }[damage]
    file.write_bytes(spoilt)
    assert CharTextData(path, cache_dir=str(kept)).text() == TEXT
    assert file.read_bytes() == whole
    assert len(files(kept)) == 1


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
def test_what_was_kept_comes_back_the_same(kind: type, tmp_path: Path) -> None:
    made = EncodedText(np.arange(200, dtype=kind), "any characters, é and 😀")
    warnings: list[str] = []
    cached("key", tmp_path, lambda: made, warnings.append)
    back = cached("key", tmp_path, lambda: pytest.fail("made again"), warnings.append)
    assert back.ids.dtype == kind
    assert (back.ids == made.ids).all()
    assert back.characters == made.characters
    assert not warnings


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    made, warnings = EncodedText(np.zeros(3, dtype=np.uint8), "a"), list[str]()
    assert cached("key", tmp_path / "file" / "below", lambda: made, warnings.append) is made
    assert "cannot be written" in warnings[0]


def _write_many(folder: Path, start: float) -> None:
    time.sleep(max(0.0, start - time.time()))
    for _ in range(20):
        text = cached("key", folder, lambda: EncodedText(np.arange(10**6, dtype=np.int32), "x"), print)
        assert text.ids[-1] == 10**6 - 1
        for file in folder.glob("text-*.pt"):
            file.unlink(missing_ok=True)


def test_writers_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(tmp_path, time.time() + 0.1)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith("text-")]


def test_the_folder_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("RNNZOO_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder(None) == Path("/home/someone/.cache/rnnzoo")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder(None) == Path("/xdg/rnnzoo")
    monkeypatch.setenv("RNNZOO_CACHE", "/own")
    assert cache_folder(None) == Path("/own")
    assert cache_folder("~/given") == Path("/home/someone/given")


def test_a_user_without_a_home_has_a_cache_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    cache_module._without_home.cache_clear()
    for name in ("RNNZOO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.warns(UserWarning, match="has no home folder, so nothing is kept .* RNNZOO_CACHE=FOLDER"):
        folder = cache_folder()
    assert folder.parent == cache_module.process_folder()
    assert cache_folder() == folder
    assert cached("key", folder, lambda: EncodedText(np.zeros(3, dtype=np.uint8), "a"), pytest.fail).characters == "a"
    monkeypatch.setenv("RNNZOO_CACHE", "/own")
    assert cache_folder() == Path("/own")
    cache_module._without_home.cache_clear()


def _half_written(path: Path) -> None:
    with written_aside(path) as made:
        made.write_bytes(b"ha")
        raise OSError("the disk is full")


def test_a_file_is_whole_or_not_there_and_others_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "some.bin"
    before = os.umask(0o022)
    try:
        with written_aside(path) as made:
            made.write_bytes(b"whole")
            assert not path.exists()
    finally:
        os.umask(before)
    assert path.read_bytes() == b"whole"
    assert path.stat().st_mode & 0o777 == 0o644  # a cache may be shared by users
    with pytest.raises(OSError, match="the disk is full"):
        _half_written(path)
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]
