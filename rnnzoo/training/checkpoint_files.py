"""Checkpoints as files: written aside, synced and renamed, with a digest that is checked when they are read."""

import hashlib
import os
import re
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from rnnzoo.errors import RnnZooError

_MARK = b"rnnzoo sha256 "
_COMMENT = len(_MARK) + 64  # bytes: the mark, and the digest in hexadecimal digits
_END = 22  # bytes that end a zip archive, without its comment
_PIECE = 1 << 22


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint aside and renames it: what ends in ``.ckpt`` is whole. Reads none that is damaged."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if storage_options is not None or "://" in str(path):  # not a file of this machine
            return super().save_checkpoint(checkpoint, path, storage_options)
        with whole_file(Path(path)) as file:
            write_with_digest(checkpoint, file)
        return None

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if "://" not in str(path) and Path(path).is_file() and (reason := damage(Path(path))):
            raise RnnZooError(f"checkpoint {str(path)!r} is damaged: {reason}")
        if len(args) < 2 and kwargs.get("weights_only") is None:
            kwargs["weights_only"] = True  # for an address, too, where Lightning's default runs what a pickle holds
        loaded: dict[str, Any] = super().load_checkpoint(path, *args, **kwargs)
        return loaded


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write what is to be `path`: it gets this name once it is whole, and is removed where writing fails.

    Raises:
        RnnZooError: it cannot be written, for a full disk for example.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise RnnZooError(f"{str(path)!r} cannot be written: {error.strerror}") from error
    finally:
        _remove(aside)


def _sync_folder(folder: Path) -> None:
    """Has the disk keep the new name of a file, too."""
    if os.name != "posix":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _remove(path: Path) -> None:
    with suppress(OSError):  # the folder is gone, or can no longer be written; the error of writing says so
        path.unlink(missing_ok=True)


def leave_no_parts(folder: Path) -> None:
    """Takes away what processes that were killed have half written into a folder of checkpoints."""
    for path in folder.glob(".*.part"):
        _remove(path)


# ---- the digest


def write_with_digest(content: Any, file: BinaryIO) -> None:
    """Writes by ``torch.save``, and the SHA-256 of what it wrote as the comment of that zip archive."""
    hashing = _Hashing(file)
    try:
        torch.save(content, hashing)  # type: ignore[arg-type]  # all that it needs of a file
    except RuntimeError as error:  # what torch makes of an OSError that its writer meets
        if isinstance(hashing.failed, OSError):
            raise hashing.failed from error
        raise
    file.seek(-2, os.SEEK_END)  # the length of the comment, which torch leaves empty
    file.write(struct.pack("<H", _COMMENT))
    file.write(_MARK + hashing.digest.hexdigest().encode())


class _Hashing:
    """A file to write to that keeps a digest of all that was written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest, self.failed = file, hashlib.sha256(), None

    failed: BaseException | None

    def write(self, data: Any) -> int:
        try:
            written = self.file.write(data)
        except OSError as error:
            self.failed = error
            raise
        self.digest.update(data)
        return written

    def flush(self) -> None:
        self.file.flush()


def damage(path: Path) -> str:
    """Why a checkpoint is not what was written, or "".

    One of an earlier version, or of another program, has no digest: the sums that its archive keeps of each part are
    checked instead.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _COMMENT - 2, 0))
        end = file.read()
        said = re.fullmatch(rb"..%b([0-9a-f]{64})" % re.escape(_MARK), end, re.DOTALL)
        if said is None:
            return _damage_of_archive(file)
        digest, left = hashlib.sha256(), size - len(end)
        file.seek(0)
        while left:
            piece = file.read(min(_PIECE, left))
            left -= len(piece)
            digest.update(piece)
        digest.update(b"\0\0")
    return "" if digest.hexdigest().encode() == said[1] else "its content does not have the digest that stands in it"


def _damage_of_archive(file: BinaryIO) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(4) != b"PK\x03\x04":
        return ""  # no archive, as of torch before 1.6: what reads it says what it is
    file.seek(max(size - _END - _COMMENT, 0))
    tail = file.read()
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or tail[found + _END - 2 :] != b"\0\0":  # a comment, of which a part is missing
        return "it is truncated, or was changed at its end"
    try:
        with zipfile.ZipFile(file) as archive:
            part = archive.testzip()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        return f"it is truncated, or was changed ({error})"
    return "" if part is None else f"its part {part!r} was changed"


def newest_whole(folder: Path) -> tuple[Path | None, list[str]]:
    """The checkpoint in a folder to go on from, and a line for each that is damaged.

    It is `last.ckpt` where that is whole, else that of the most steps.
    """
    found: list[tuple[bool, int, Path]] = []
    amiss = []
    for path in sorted(folder.glob("*.ckpt"), key=lambda path: path.name != "last.ckpt"):
        try:
            reason = damage(path)
            if not reason:
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
                found.append((path.name == "last.ckpt", int(content["global_step"]), path))
        except Exception as error:  # torch raises a dozen kinds for a file that is no checkpoint
            reason = " ".join(str(error).split())[:120] or type(error).__name__
        if reason:
            amiss.append(f"{path} is damaged: {reason}")
        elif path.name == "last.ckpt":
            break
    return max(found)[2] if found else None, amiss
