"""The folder in which rnnzoo keeps what it would otherwise make again: encoded text, compiled kernels."""

import os
from pathlib import Path


def cache_folder(given: str | None = None) -> Path:
    """`given`, else $RNNZOO_CACHE, else rnnzoo in $XDG_CACHE_HOME or in ~/.cache."""
    if folder := given or os.environ.get("RNNZOO_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "rnnzoo"
