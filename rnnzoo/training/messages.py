"""What a user is told beside the results of a run, on one process only."""

import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from rnnzoo.training.stopping import NAMES, Stopped


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


def farewell(stop: Stopped, given: list[str]) -> list[str]:
    """What is said of a run that was stopped: where it stands, and the command that goes on from there."""
    lines = [f"stopped by {NAMES[signal.Signals(stop.signum)]}: {stop.stands}"]
    if stop.checkpoint is None or not Path(stop.checkpoint).is_file():
        return [*lines, "no checkpoint was written; the same command starts anew"]
    path = relative(stop.checkpoint)
    settings = (
        "" if (Path(path).parent.parent / "config.yaml").is_file() else f"{shlex.join(_without_checkpoint(given))} "
    )
    return [*lines, f"checkpoint: {path}", f"go on with: rnnzoo fit {settings}--ckpt_path {shlex.quote(path)}"]


def _without_checkpoint(given: list[str]) -> list[str]:
    """A command's arguments but for the checkpoint."""
    pairs = zip(["", *given], given, strict=False)
    return [a for before, a in pairs if a.partition("=")[0] != "--ckpt_path" and before != "--ckpt_path"]
