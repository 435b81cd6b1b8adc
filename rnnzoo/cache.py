"""The folder in which rnnzoo keeps what it would otherwise make again, encoded text and compiled kernels, and how
files get there whole."""

import errno
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_UNWRITABLE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS),  # no permission
    *(errno.ENOSPC, errno.EDQUOT),  # no room
    *(errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG),  # no folder of such a name
}
_ROOM = 8 << 20  # bytes below which a disk counts as full


def cache_folder(given: str | None = None) -> Path:
    """`given`, else $RNNZOO_CACHE, else rnnzoo in $XDG_CACHE_HOME or in ~/.cache; a user without a home has it for one
    process."""
    try:
        if folder := given or os.environ.get("RNNZOO_CACHE"):
            return Path(folder).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "rnnzoo"
    except RuntimeError:
        return _without_home()


@cache
def process_folder() -> Path:
    """A folder of this process, removed when it ends: where what cannot be kept is made."""
    folder = tempfile.TemporaryDirectory(prefix="rnnzoo-")
    _FOLDERS.append(folder)
    return Path(folder.name)


_FOLDERS: list[tempfile.TemporaryDirectory] = []  # which are removed with the last reference


@cache
def _without_home() -> Path:
    warnings.warn(
        "the user has no home folder, so nothing is kept for the next run: RNNZOO_CACHE=FOLDER keeps it", stacklevel=3
    )
    return process_folder() / "cache"


def is_full(folder: Path) -> bool:
    """Whether a folder's disk has next to no room."""
    try:
        return shutil.disk_usage(folder).free < _ROOM
    except OSError:
        return False


def cannot_write(error: BaseException | None) -> bool:
    """Whether an error, or what it comes from, is a folder that may not be written, or a disk that is full."""
    while error is not None:
        if isinstance(error, OSError) and (error.errno in _UNWRITABLE or "disk space" in str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Where to write what is to be `path`: renamed once it is whole, and removed where writing fails."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        made = Path(folder) / path.name
        yield made
        os.replace(made, path)
