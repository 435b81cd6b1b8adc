"""The folder in which rnnzoo keeps what it would otherwise make again, encoded text and compiled kernels, and how
files get there whole."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder(given: str | None = None) -> Path:
    """`given`, else $RNNZOO_CACHE, else rnnzoo in $XDG_CACHE_HOME or in ~/.cache."""
    if folder := given or os.environ.get("RNNZOO_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "rnnzoo"


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Where to write what is to be `path`: renamed once it is whole, and removed where writing fails."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        made = Path(folder) / path.name
        yield made
        os.replace(made, path)
