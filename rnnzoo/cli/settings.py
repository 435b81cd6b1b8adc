"""How settings are read, and what is wrong with a config, looked at before jsonargparse does."""

import re
from pathlib import Path
from typing import Any

import jsonargparse
import yaml

from rnnzoo.cli.shipped import shipped_configs
from rnnzoo.errors import RnnZooError, did_you_mean

MODE = "omegaconf+"
_NOTHING = ("", "~", "null", "Null", "NULL")


def use_own_loader() -> None:
    """Has jsonargparse take text that YAML sees no value in as text: ``---`` and ``#`` are separators of a data set."""
    parser = jsonargparse.ArgumentParser(parser_mode=MODE)
    parser.add_argument("--any", type=int)
    parser.parse_string("any: 1")  # the loader of a mode is made where it is first used
    theirs = jsonargparse.get_loader(MODE)
    if getattr(theirs, "takes_text", False):
        return

    def load(text: str) -> Any:
        try:
            value = theirs(text)
        except TypeError:  # a mapping whose key is no text, as "?" is
            return text
        return text if value is None and text.strip() not in _NOTHING else value

    load.takes_text = True  # type: ignore[attr-defined]
    jsonargparse.set_loader(MODE, load, (yaml.YAMLError,))


def check_configs(args: list[str]) -> None:
    """Says what is wrong with the file of a ``--config``, with its name.

    Raises:
        RnnZooError: it is a folder, a checkpoint, no text in UTF-8, no YAML, or it has a key twice.
    """
    for before, argument in zip(["", *args], args, strict=False):
        option, equals, value = argument.partition("=")
        if equals and option in ("--config", "-c"):
            check_config(value)
        elif before in ("--config", "-c") and not argument.startswith("-"):
            check_config(argument)
        elif re.match(r"-c[a-z]", argument):
            raise RnnZooError(f"unknown setting {argument}; did you mean -{argument}?")


def check_config(path: str) -> None:
    """As `check_configs`, of one file."""
    file = Path(path)
    if path and file.is_dir():
        raise RnnZooError(f"--config {path!r} is a folder, not a file of settings, as configs/char_lm.yaml is")
    if not file.is_file():
        if file.suffix in (".yaml", ".yml", ".json"):
            ours = [f"configs/{p.name}" for p in sorted(shipped_configs())]
            near = did_you_mean(f"configs/{file.name}", ours)
            raise RnnZooError(f"--config {path!r} does not exist{near} the package has {', '.join(ours)}")
        return  # jsonargparse says what is wrong; it takes settings themselves, too
    content = file.read_bytes()
    if content[:4] == b"PK\x03\x04":
        raise RnnZooError(f"--config {path!r} is a checkpoint: --ckpt_path {path} takes it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RnnZooError(
            f"--config {path!r} is not UTF-8 text: byte 0x{content[error.start]:02x} at {error.start}"
        ) from None
    try:
        _check_keys(yaml.compose(text, Loader=yaml.SafeLoader), path)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "its end"
        tab = ": a tab, where YAML has spaces" if "\t" in line[: len(line) - len(line.lstrip())] else ""
        raise RnnZooError(
            f"--config {path!r} is no YAML at {where}{tab or f': {error.problem}'} ({line.strip()!r})"
        ) from None
    except yaml.YAMLError as error:
        raise RnnZooError(f"--config {path!r} is no YAML: {' '.join(str(error).split())}") from None


def _check_keys(node: Any, path: str) -> None:
    """Raises for a key that a mapping has twice: YAML would take the last one, and forget the others."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen and isinstance(key, yaml.ScalarNode) and key.value != "<<":
                raise RnnZooError(
                    f"--config {path!r} has {key.value!r} twice, in line {seen[key.value]} and in line {line}"
                )
            if isinstance(key, yaml.ScalarNode):
                seen[key.value] = line
            _check_keys(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, path)
