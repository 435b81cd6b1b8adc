"""Runs a case in this process, within a time limit, and says what is wrong with how it ended."""

import contextlib
import gc
import io
import json
import os
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import pytest

from rnnzoo.cli.main import main
from rnnzoo.training.checkpoint_files import damage

CONFIGS = Path(__file__).parents[2] / "configs"
LIMIT = 60  # seconds


@dataclass
class Case:
    """A command, and the files that lie in its folder; CONFIGS in an argument stands for the folder of our configs."""

    args: list[str]
    files: dict[str, bytes] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Writes the files, and what to run beside them."""
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        (folder / "command.json").write_text(json.dumps(self.args, indent=1) + "\n")


def read_case(folder: Path) -> Case:
    """A case as `Case.write` left it."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "command.json"}
    return Case(json.loads((folder / "command.json").read_text()), files)


class TookTooLong(BaseException):
    """A case did not end within its time; no handler of errors takes it for one of its own."""


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Ends what takes too long."""

    def end(signum: int, frame: FrameType | None) -> None:
        raise TookTooLong(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _arguments(case: Case) -> list[str]:
    return [argument.replace("CONFIGS", str(CONFIGS)) for argument in case.args]


def fault_of(case: Case, folder: Path, limit: int = LIMIT) -> str:
    """What is wrong with how a command ends, run in this process in an empty folder; "" where nothing is."""
    case.write(folder)
    given = {path.name for path in folder.iterdir()}
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        patch.setattr(sys, "argv", ["rnnzoo"])
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(warnings, "formatwarning", warnings.formatwarning)
        for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
            patch.setenv(name, "0")
        try:
            with limited(limit):
                status = main(_arguments(case))
        except SystemExit as done:
            status = int(done.code or 0)
        except BaseException as error:
            return f"{_place(error)}\n{traceback.format_exc()}"
    gc.collect()
    return _wrong(status, out.getvalue(), err.getvalue()) or left_behind(folder, given)


def fault_of_process(case: Case, folder: Path, limit: int = 4 * LIMIT) -> str:
    """The same by the command line, in a process of its own."""
    case.write(folder)
    given = {path.name for path in folder.iterdir()}
    command = [sys.executable, "-m", "rnnzoo", *_arguments(case)]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return f"more than {limit} s"
    return _wrong(done.returncode, done.stdout, done.stderr) or left_behind(folder, given)


def _place(error: BaseException) -> str:
    """The kind of an error and where it was raised, which tells one fault from another."""
    while error.__context__ is not None:
        error = error.__context__
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f"{os.sep}rnnzoo{os.sep}" in f.filename and "site-packages" not in f.filename]
    at = [f"{Path(f.filename).name}:{f.lineno}" for f in (*ours[-1:], *frames[-1:])]
    return f"{type(error).__name__} at {' < '.join(reversed(at))}"


def _wrong(status: int, out: str, err: str) -> str:
    if "Traceback" in out + err:
        return f"a traceback is printed\n{err[-2000:]}"
    said = [line for line in err.splitlines() if line.startswith("rnnzoo: error: ")]
    if status not in (0, 2):
        return f"exit status {status}\n{err[-2000:]}"
    if len(said) != (status == 2) or (status == 2 and not err.rstrip().endswith(said[0].rstrip())):
        return f"exit status {status} with {len(said)} lines of error\n{err[-2000:]}"
    return ""


def left_behind(folder: Path, given: set[str]) -> str:
    """What a command should not have left: files that are half written, checkpoints that are, and empty folders."""
    for path in sorted(folder.rglob("*")):
        shown = path.relative_to(folder)
        if path.suffix == ".part" or (path.name.startswith(".") and path.name not in given):
            return f"{shown} is left, half written"
        if path.is_dir() and not any(path.iterdir()):
            return f"{shown} is left, an empty folder"
        if path.suffix == ".ckpt" and path.name not in given and (reason := damage(path)):
            return f"{shown} is damaged: {reason}"
    return ""
