"""Files as they lie on a disk: unpacked where they are compressed, and decoded exactly."""

import bz2
import codecs
import gzip
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnnzoo.errors import RnnZooError

BLOCK = 1 << 22  # bytes that are read at a time
_ARCHIVES = {b"PK\x03\x04": "zip", b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "rar"}
_WIDE = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32"}
_WIDE |= {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}  # behind UTF-32, which begins with its mark


def open_unpacked(path: Path) -> Any:
    """A file to read bytes from, without its compression: by what it begins with, not by its name.

    Raises:
        RnnZooError: it is an archive of files, or text in two or four bytes a character.
    """
    with path.open("rb") as file:
        begins = file.read(10)
    if kind := next((kind for magic, kind in _ARCHIVES.items() if begins.startswith(magic)), None):
        raise RnnZooError(f"dataset={str(path)!r} is a {kind} archive: unpack it, and give the file in it")
    if begins.startswith(b"\x1f\x8b"):
        return gzip.open(path)
    if begins.startswith(b"BZh") and begins[4:] == b"1AY&SY":  # a text may begin with the first three
        return bz2.open(path)
    if begins.startswith(b"\xfd7zXZ\x00"):
        return lzma.open(path)
    if begins.startswith(b"\x28\xb5\x2f\xfd"):  # Zstandard, which Python has from 3.14 on
        import pyarrow as pa

        return pa.input_stream(str(path), compression="zstd")
    return path.open("rb")


def decoded(path: Path) -> Iterator[str]:
    """The text of a file piece by piece, exactly as it is.

    Raises:
        RnnZooError: it is not UTF-8, with the first byte that is not.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    start = 0  # of what is decoded next, bytes from the beginning of the file
    with open_unpacked(path) as file:
        while True:
            block = file.read(BLOCK)
            if not start:  # the first block
                check_width(block, path)
            pending = len(decoder.getstate()[0])
            try:
                piece = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                at = start - pending + error.start
                raise RnnZooError(
                    f"dataset={str(path)!r} is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {at:,}; "
                    "convert it, with iconv for example"
                ) from error
            if piece:
                yield piece
            if not block:
                return
            start += len(block)


def check_width(block: bytes, path: Path) -> None:
    """Raises RnnZooError where a file's first bytes are those of UTF-16, UTF-32 or a tar archive.

    UTF-16 without a mark passes for UTF-8 with a zero beside each character: as every second byte, and none between.
    """
    kind = next((kind for mark, kind in _WIDE.items() if block.startswith(mark)), None)
    if kind is None and len(block) >= 8:
        zeros = [block[k::2].count(0) / len(block[k::2]) for k in (0, 1)]
        kind = "UTF-16" if max(zeros) > 0.5 and min(zeros) < 0.1 else None
    if kind:
        raise RnnZooError(
            f"dataset={str(path)!r} is {kind}, not UTF-8: convert it, for example with iconv -f {kind} -t UTF-8"
        )
    if block[257:262] == b"ustar":
        raise RnnZooError(f"dataset={str(path)!r} is a tar archive: unpack it, and give the file in it")
