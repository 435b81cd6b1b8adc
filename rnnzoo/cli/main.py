"""Where ``rnnzoo`` starts: which command, and one clear line for what a user got wrong.

Nothing heavy is imported here, so that ``rnnzoo --help`` answers at once.
"""

import importlib
import io
import keyword
import os
import sys

from rnnzoo import __version__
from rnnzoo.errors import RnnZooError, did_you_mean

LIGHTNING = {
    "fit": "train a model, and report what it reached on held-out data",
    "validate": "evaluate a checkpoint on the validation data",
    "test": "evaluate a checkpoint on the test data",
    "predict": "write a checkpoint's predictions to a Parquet or CSV file",
}
OTHERS = {
    "init": "start a project: a folder with a config, a cell, a test and a README",
    "backtest": "forecast from rolling origins, beside what came",
    "generate": "sample text from a language model's checkpoint",
    "tune": "search the settings that a config names, on one machine or many",
    "compare": "train several cells on the same budget, and report on them",
    "import": "make a checkpoint of another library's pretrained model",
    "runs": "list the runs in a folder: cell, size, best figures, time",
    "plot": "draw the curves of several runs into one picture",
    "cells": "list the cells, or print the equations of one",
    "check": "run the conformance checks on a cell",
    "bench": "time kernels and peers on the same work",
    "completion": "print what has bash, zsh or fish complete this command",
}
LIGHT = ("init", "completion")  # each in a module of its name, which does not wait for torch
MEANT = {
    "train": "fit",
    "eval": "test",
    "evaluate": "test",
    "val": "validate",
    "sample": "generate",
    "list": "cells",
    "new": "init",
    "convert": "import",
}


def usage() -> str:
    """The text of ``rnnzoo --help``."""
    lines = [f"  {name:10} {what}" for name, what in {**LIGHTNING, **OTHERS}.items()]
    return "\n".join(
        [
            "usage: rnnzoo [--version] [--debug] COMMAND ...",
            "",
            "Recurrent cells written once, in ten lines, and trained at speed.",
            "",
            *lines,
            "",
            "`rnnzoo COMMAND --help` says more; --debug shows the traceback of an error.",
            "Start with: rnnzoo fit --config configs/char_lm.yaml",
        ]
    )


def main(args: list[str] | None = None) -> int:
    """Runs a command; returns its exit status."""
    args = sys.argv[1:] if args is None else list(args)
    debug = "--debug" in args
    args = [a for a in args if a != "--debug"]
    if args[:1] == ["help"]:  # `rnnzoo help fit` is `rnnzoo fit --help`
        args = [*args[1:], "--help"]
    for stream in (sys.stdout, sys.stderr):  # a console that knows no Greek gets question marks, not a traceback
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # a user's own cells lie in the working directory, which an installed command does not search by itself
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        check_text(args)
        return answer(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `rnnzoo cells | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if debug:
            raise
        message = explain(error)
        if message is None:
            raise
        print(f"rnnzoo: error: {message}", file=sys.stderr)
        return 2


def check_text(args: list[str]) -> None:
    """Raises RnnZooError for an argument that this process's locale cannot read."""
    for argument in args:
        if any("\ud800" <= character <= "\udfff" for character in argument):
            shown = os.fsencode(argument).decode("utf-8", "replace")
            raise RnnZooError(
                f"{shown!r} cannot be read as {sys.getfilesystemencoding()}, the encoding of this locale:"
                " set PYTHONUTF8=1, or LC_ALL=C.UTF-8"
            )


def answer(args: list[str]) -> int:
    """Runs a command, and sees that what it printed has arrived: a closed pipe is known only where it is written to."""
    try:
        if not args or args[0] in ("-h", "--help"):
            print(usage())
            return 0
        if args[0] in ("--version", "-V"):
            print(f"rnnzoo {__version__}")
            return 0
        return run(args[0], args[1:])
    finally:
        sys.stdout.flush()


def run(command: str, args: list[str]) -> int:
    """Runs one command; a command's own imports happen here and not before."""
    if command in LIGHTNING:
        from rnnzoo.cli.help import overview_alone, without_help

        args, help_asked = without_help(args)
        if help_asked == "short" and not args:
            print(overview_alone(command))
            return 0
        from rnnzoo.cli.lightning import run_lightning

        return run_lightning(command, args, help_asked)
    if command == "__complete":  # what the scripts of `rnnzoo completion` ask
        from rnnzoo.cli.completion import answer as complete

        return complete(args)
    if command in LIGHT:
        status: int = importlib.import_module(f"rnnzoo.cli.{command}").run(args)
        return status
    if command in OTHERS:
        from rnnzoo.cli import commands

        return getattr(commands, function_of(command))(args)
    known = [*LIGHTNING, *OTHERS]
    if command.startswith("-"):
        raise RnnZooError(f"{command!r} stands before the command: rnnzoo COMMAND ..., of {', '.join(known)}")
    near = f"; did you mean {MEANT[command]!r}?" if command in MEANT else did_you_mean(command, known)
    raise RnnZooError(f"unknown command {command!r}{near} there are: {', '.join(known)}")


def function_of(command: str) -> str:
    """The name of a command's function, which cannot be a word of Python's own."""
    return f"{command}_" if keyword.iskeyword(command) else command


def explain(error: BaseException) -> str | None:
    """The one line to print for an error that a user can mend, or None for one that is ours."""
    inner: BaseException | None = error
    while inner is not None:  # jsonargparse wraps what a class raises while it is built
        if isinstance(inner, RnnZooError):
            return str(inner)
        inner = inner.__cause__ or inner.__context__
    if isinstance(error, OSError) and error.filename:
        return f"{str(error.filename)!r} cannot be read or written: {error.strerror}"
    if isinstance(error, OSError) and error.errno:  # pyarrow's have no name of their own
        return f"a file cannot be read or written: {' '.join(str(error).split())}"
    if "jsonargparse" in sys.modules:
        from rnnzoo.cli.complaints import explain_parsing

        return explain_parsing(error)
    return None
