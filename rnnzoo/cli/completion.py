"""``rnnzoo completion SHELL``, and ``rnnzoo __complete SHELL WORDS``, by which its script asks what may come next.

Nothing heavy is imported here: an answer takes a tenth of a second. What only Lightning and torch know, the settings of
classes and the names of cells, is in a table in the cache, written in the background where there is none.
"""

import json
import os
import re
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from rnnzoo import __version__
from rnnzoo.cache import cache_folder, cannot_write
from rnnzoo.cli.main import LIGHTNING, OTHERS
from rnnzoo.cli.parser import Parser
from rnnzoo.cli.shipped import PACKAGE, shipped_configs

SHELLS = ("bash", "zsh", "fish")
TOP = {
    "--config": "a file of settings",
    "--model": "a task: a class instead of a config",
    "--data": "a data module: a class instead of a config",
    "--ckpt_path": "a checkpoint to go on with or to evaluate",
    "--seed_everything": "the seed of all random numbers",
    "--print_config": "print every setting as a config",
    "--help": "the settings of what is given",
    "--help=all": "every option",
}
GROUPS = {
    "--model.": "settings of the task",
    "--data.": "settings of the data",
    "--trainer.": "settings of the trainer",
}
CONFIGS, CHECKPOINTS = (".yaml", ".yml", ".json"), (".ckpt",)
_FLAGS = ("-h", "--help", "--help=all", "--print_config")
_PATIENCE = 120  # seconds after which a table that is being written is given up

Candidates = dict[str, str]  # what may come next, with its meaning


def run(args: list[str]) -> int:
    """Prints the script of a shell."""
    parser = Parser(
        prog="rnnzoo completion",
        description='Print what has a shell complete this command. For bash: eval "$(rnnzoo completion bash)"',
    )
    parser.add_argument("shell", choices=SHELLS, help="put the line that its first line names into the shell's rc file")
    print((PACKAGE / "cli" / "shells" / f"rnnzoo.{parser.parse_args(args).shell}").read_text(encoding="utf-8"), end="")
    read_table()
    return 0


def answer(args: list[str]) -> int:
    """Prints the kind of what may come next, then a line each: words, open (no space behind), paths or default."""
    if args == ["--learn"]:
        from rnnzoo.cli.completion_table import write_table

        write_table(table_path())
        return 0
    shell, words = args[0], args[1:] or [""]
    if shell == "bash":
        words = _joined(words)
    candidates = Completion(words).candidates()
    kind = (
        "default" if not candidates else "open" if all(re.search(r"[./=]$", word) for word in candidates) else "words"
    )
    if candidates and all(os.path.lexists(Path(word.rpartition("=")[2]).expanduser()) for word in candidates):
        kind = "paths"
    print(kind)
    typed = len(words[-1].rpartition("=")[0]) + 1 if shell == "bash" and "=" in words[-1] else 0
    for word, meaning in candidates.items():
        print(_line(shell, word[typed:], meaning))
    return 0


def _joined(words: list[str]) -> list[str]:
    """The words as they were typed: bash takes ``--config=a`` for three."""
    made: list[str] = []
    for word in words:
        if made and (word == "=" or made[-1].endswith("=")) and made[-1].startswith("-"):
            made[-1] += word
        else:
            made.append(word)
    return made


def _line(shell: str, word: str, meaning: str) -> str:
    if shell == "zsh":
        return word.replace(":", "\\:") + (f":{meaning}" if meaning else "")
    return f"{word}\t{meaning}" if meaning else word


# ---- the table


def table_path() -> Path:
    """The table of this version, of these sources, and with the cells and classes of other packages."""
    changed = max(path.stat().st_mtime_ns for path in PACKAGE.rglob("*.py"))
    groups = ("rnnzoo.cells", "rnnzoo.tasks", "rnnzoo.data")
    others = "".join(sorted(point.value for group in groups for point in entry_points(group=group)))
    return cache_folder() / f"completion-{__version__}-{changed:x}{'-' * bool(others)}{others.encode().hex()[:80]}.json"


def read_table() -> dict[str, Any]:
    """The table; empty where there is none yet, and then one is written in the background."""
    path = table_path()
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return table
    except (OSError, ValueError):
        _learn(path)
        return {}


def _learn(path: Path) -> None:
    """Writes the table in a process of its own, one at a time, which takes as long as Lightning to load."""
    begun = path.with_suffix(".begun")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if begun.exists() and time.time() - begun.stat().st_mtime < _PATIENCE:
            return
        begun.touch()
    except OSError as error:
        if cannot_write(error):
            return
        raise
    nothing = subprocess.DEVNULL
    command = [sys.executable, "-m", "rnnzoo", "__complete", "--learn"]
    subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)


# ---- what may come next


class Completion:
    """What may stand in the place of the last of the words behind ``rnnzoo``."""

    def __init__(self, words: list[str]):
        self.words, self.current = words[:-1], words[-1]
        self.table = read_table()
        self._config: dict[str, Any] | None = None

    def candidates(self) -> Candidates:
        """The words that begin with what is typed, with their meanings; nothing where the shell's own files may do."""
        if not self.words:
            return self._of({**LIGHTNING, **OTHERS, "help": "the help of a command"})
        command = self.words[0]
        if command == "help":
            return self._of({**LIGHTNING, **OTHERS})
        option, equals, value = self.current.partition("=")
        if equals and option.startswith("--") and self.current != "--help=all"[: len(self.current)]:
            return {f"{option}={word}": meaning for word, meaning in self._values(command, option, value).items()}
        before = self.words[-1] if len(self.words) > 1 else ""
        if before.startswith("-") and "=" not in before and not self._is_flag(command, before):
            return self._values(command, before, self.current)
        if command in LIGHTNING:
            return self._options(command)
        return self._plain(command)

    def _of(self, words: Candidates, typed: str | None = None) -> Candidates:
        typed = self.current if typed is None else typed
        return {word: meaning for word, meaning in words.items() if word.startswith(typed)}

    def _options(self, command: str) -> Candidates:
        match = re.match(r"--(model|data|trainer)\.", self.current)
        if match is None:
            own = {"--predictions.path": "the file to write"} if command == "predict" else {}
            return self._of({**TOP, **own, **GROUPS})
        group = match[1]
        if self.current.startswith("--model.cell_args."):
            constants = self.table.get("cells", {}).get(self._cell(), [])
            return self._of({f"--model.cell_args.{name}": "" for name in constants})
        return self._of({f"--{group}.{name}": about["meaning"] for name, about in self._settings(group).items()})

    def _settings(self, group: str) -> dict[str, Any]:
        """The settings of the trainer, or of the class that is given or that the config has; else of all classes."""
        known = self.table.get(group, {})
        if group == "trainer":
            return dict(known)
        name = (self._typed(f"--{group}") or (self._in_config(group, "class_path") or "")).rpartition(".")[2]
        return (
            dict(known[name]) if name in known else {k: v for settings in known.values() for k, v in settings.items()}
        )

    def _cell(self) -> str:
        settings = self._in_config("model", "init_args")
        return self._typed("--model.cell") or (settings.get("cell", "") if isinstance(settings, dict) else "") or "lstm"

    def _typed(self, option: str) -> str:
        """The value that stands behind an option on the line."""
        for word, behind in zip(self.words, [*self.words[1:], ""], strict=True):
            if word == option:
                return behind
            if word.startswith(f"{option}="):
                return word.partition("=")[2]
        return ""

    def _in_config(self, group: str, name: str) -> Any:
        if self._config is None:
            self._config = _read_config(self._typed("--config") or self._typed("-c"))
        part = self._config.get(group)
        return part.get(name) if isinstance(part, dict) else part if name == "class_path" else None

    def _is_flag(self, command: str, option: str) -> bool:
        return option in _FLAGS or bool(self._plain_options(command).get(option, {}).get("flag"))

    def _values(self, command: str, option: str, typed: str) -> Candidates:
        """What may be the value of an option."""
        name = option.lstrip("-").replace("-", "_")
        group, _, setting = name.partition(".")
        if option in ("--config", "-c"):
            ours = {f"configs/{path.name}": "" for path in sorted(shipped_configs())}
            return {**self._of(ours, typed), **files(typed, CONFIGS)}
        if setting == "cell" or name == "cell":
            return self._of(dict.fromkeys(self.table.get("cells", {}), ""), typed)
        if name == "ckpt_path" or setting == "pretrained":
            return files(typed, CHECKPOINTS)
        if option in ("--model", "--data"):
            return self._of(dict.fromkeys(self.table.get(group, {}), ""), typed)
        about = self._settings(group).get(setting) if setting else self._plain_options(command).get(option)
        return self._of(dict.fromkeys((about or {}).get("values", ()), ""), typed)

    # ---- the plain commands

    def _plain_options(self, command: str) -> dict[str, Any]:
        return dict(self.table.get("plain", {}).get(command, {}).get("options", {}))

    def _plain(self, command: str) -> Candidates:
        if self.current.startswith("-"):
            options = {name: about["meaning"] for name, about in self._plain_options(command).items()}
            return self._of(options or {"--help": "what it does"})
        for name, values in self.table.get("plain", {}).get(command, {}).get("positional", {}).items():
            if name == "cell":
                return self._of(dict.fromkeys(self.table.get("cells", {}), ""))
            if name == "checkpoint":
                return files(self.current, CHECKPOINTS)
            if values:
                return self._of(dict.fromkeys(values, ""))
        return {}


def files(typed: str, suffixes: tuple[str, ...]) -> Candidates:
    """The folders, ending in a slash, and the files of these endings whose paths begin with what is typed."""
    folder, slash, name = typed.rpartition("/")
    try:
        entries = sorted(os.scandir(Path(folder + slash).expanduser()), key=lambda entry: entry.name)
    except OSError:
        return {}
    shown = [e for e in entries if e.name.startswith(name) and (name or not e.name.startswith("."))]
    return {
        f"{folder}{slash}{entry.name}{'/' * entry.is_dir()}": ""
        for entry in shown
        if entry.is_dir() or entry.name.endswith(suffixes)
    }


def _read_config(path: str) -> dict[str, Any]:
    """A config, as far as it can be read; one of the package where there is no such file."""
    import yaml

    file = Path(path).expanduser()
    if path and not file.is_file():
        file = next((config for config in shipped_configs() if config.name == file.name), file)
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}
