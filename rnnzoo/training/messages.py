"""What a user is told beside the results of a run, on one process only."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_only


@rank_zero_only
def say(line: str) -> None:
    """Prints, on one process only."""
    print(line, flush=True)


@rank_zero_only
def warn(line: str) -> None:
    """Says what a user may have meant otherwise, on one process only."""
    print(f"rnnzoo: warning: {line}", file=sys.stderr, flush=True)


def one_line(others: Callable[..., str]) -> Callable[..., str]:
    """How warnings are printed: those of this package in a line, without its code; any other as `others` has it."""
    package = str(Path(__file__).parent.parent)

    def formatted(message: Warning | str, category: type[Warning], filename: str, *where: Any, **line: Any) -> str:
        if filename.startswith(package):
            return f"rnnzoo: warning: {message}\n"
        return others(message, category, filename, *where, **line)

    return formatted


def relative(path: str) -> str:
    """A path as a user would type it."""
    inside = os.path.relpath(path)
    return path if inside.startswith("..") else inside
