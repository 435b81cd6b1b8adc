"""What ``rnnzoo fit --help`` says before any class is known, and how settings are laid out below it.

Nothing heavy is imported here, so that ``rnnzoo fit --help`` answers at once.
"""

import json
import re
import shutil
import textwrap
from typing import Any

from rnnzoo.cli.shipped import shipped_configs
from rnnzoo.errors import RnnZooError

FIRST_OPTIONS = {
    "--config FILE": "a file of settings; further ones go over it",
    "--model CLASS, --data CLASS": "instead of a config: rnnzoo.tasks' and rnnzoo.data's by name, yours by import path",
    "--GROUP.NAME VALUE": "any setting of the groups model, data and trainer; it wins over a config's",
    "--ckpt_path FILE": "a checkpoint; its settings and its data come with it",
}
ABOUT = {
    "fit": (
        "rnnzoo fit --config FILE [--GROUP.NAME VALUE ...]",
        "Trains a model, writes a run to runs/NAME/version_N (settings, metrics, checkpoints), and says what the model"
        " reached on held-out data. With --ckpt_path it goes on with an earlier run.",
    ),
    "validate": (
        "rnnzoo validate --ckpt_path FILE [--GROUP.NAME VALUE ...]",
        "Evaluates a checkpoint on the validation data and prints each metric. --data.NAME replaces its data.",
    ),
    "test": (
        "rnnzoo test --ckpt_path FILE [--GROUP.NAME VALUE ...]",
        "Evaluates a checkpoint on the test data and prints each metric. --data.NAME replaces its data.",
    ),
    "predict": (
        "rnnzoo predict --ckpt_path FILE [--predictions.path FILE] [--GROUP.NAME VALUE ...]",
        "Writes a checkpoint's predictions to a file, a row an example. --data.NAME replaces its data.",
    ),
}
LAST_OPTIONS = {
    "--print_config": "print every setting as a config, and stop",
    "--help": "this; with a config, a checkpoint or classes, their settings too",
    "--help=all": "every option of Lightning and of jsonargparse",
}
OWN_OPTIONS = {
    "fit": {"--profile": "time some fifty steps, say what they cost the most for, and write nothing"},
    "predict": {
        "--predictions.path FILE": "Parquet, or CSV where it ends in .csv",
        "--what anomaly|imputation": "of a forecaster: how far each step lies from its forecast; or what is missing",
    },
}
_LEFT = 36  # columns of an option and its value
_ROWS = 2  # lines of a meaning


def without_help(args: list[str]) -> tuple[list[str], str | None]:
    """`args` without a request for help, and which help is wanted: "short", "all" or None.

    Raises:
        RnnZooError: ``--help=`` something else.
    """
    asked = [argument for argument in args if argument in ("-h", "--help") or argument.startswith("--help=")]
    for argument in asked:
        if "=" in argument and argument != "--help=all":
            raise RnnZooError(f"{argument} is unknown: --help is short, --help=all shows every option")
    kind = None if not asked else "all" if "--help=all" in asked else "short"
    return [argument for argument in args if argument not in asked], kind


def overview(command: str) -> str:
    """Usage, what a command does, and the options that most people need."""
    usage, about = ABOUT[command]
    options = {**FIRST_OPTIONS, **OWN_OPTIONS.get(command, {}), **LAST_OPTIONS}
    rows = [line for option, meaning in options.items() for line in row(option, meaning)]
    return "\n".join([f"usage: {usage}", "", *textwrap.wrap(about, columns()), "", *rows])


def overview_alone(command: str) -> str:
    """`overview`, and where to go from there: the configs that there are."""
    example = "--config configs/char_lm.yaml" if command == "fit" else "--ckpt_path RUN/checkpoints/best.ckpt"
    configs = [row(f"configs/{path.name}", first_comment(path), rows=1)[0] for path in sorted(shipped_configs())]
    lines = ["", "Configs that come with the package:", *configs] if command == "fit" else []
    return "\n".join(
        [overview(command), *lines, "", f"All settings and their values: rnnzoo {command} {example} --help"]
    )


def first_comment(path: Any) -> str:
    """What the first line of a config says of it."""
    first: str = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def columns() -> int:
    """The width to write for: the terminal's, within 80 to 120 columns."""
    return min(max(shutil.get_terminal_size((100, 24)).columns, 80), 120)


def row(left: str, meaning: str, ends: str = "", rows: int = _ROWS) -> list[str]:
    """An option with its meaning beside it, on `rows` lines at most; `ends` is always kept.

    A meaning that is longer is cut between two of its parts, or words, and ends in "…".
    """
    width = columns() - _LEFT
    lines = _fitted(" ".join(meaning.split()).removesuffix("."), ends, width, rows)
    head = textwrap.shorten(f"  {left}", columns(), placeholder=" …") if len(left) > columns() - 2 else f"  {left}"
    if len(head) > _LEFT - 2:
        return [head, *(" " * _LEFT + line for line in lines)]
    return [head.ljust(_LEFT) + lines[0] if lines else head, *(" " * _LEFT + line for line in lines[1:])]


def _fitted(meaning: str, ends: str, width: int, rows: int) -> list[str]:
    behind = f" {ends}" if ends else ""
    lines = textwrap.wrap(meaning + behind, width)
    if len(lines) <= rows:
        return lines
    words = meaning.split(" ")
    cuts = [
        *(k for k in range(len(words) - 1, 0, -1) if words[k - 1][-1] in ",;:.)" and _closed(words[:k])),
        *range(len(words) - 1, 0, -1),
    ]
    shorter = (" ".join(words[:k]).rstrip(",;:.") + " …" + behind for k in cuts)
    few = [wrapped for text in shorter if len(wrapped := textwrap.wrap(text, width)) <= rows]
    long = max(few, key=lambda lines: len(" ".join(lines)), default=lines[:rows])
    return next((lines for lines in few if len(" ".join(lines)) > 0.7 * len(" ".join(long))), long)


def _closed(words: list[str]) -> bool:
    text = " ".join(words)
    return all(text.count(opens) == text.count(closes) for opens, closes in ("()", "[]", "{}"))


def plain(value: Any) -> str:
    """A value as it is typed on the command line; text that a line cannot hold in quotes."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(plain, value))}]"
    if isinstance(value, dict) and "class_path" in value:
        return str(value["class_path"]).rpartition(".")[2]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {plain(one)}" for name, one in value.items()) + "}"
    text = str(value)
    return text if re.fullmatch(r"[^\s'\"\\]+", text) else json.dumps(text, ensure_ascii=False)
