"""What to say of an argument that no option takes, and of an option without a value."""

import re
import sys
from pathlib import Path

from rnnzoo.cli.classes import settings_of
from rnnzoo.errors import did_you_mean

GROUPS = (
    "model",
    "data",
    "trainer",
    "optimizer",
    "lr_scheduler",
    "seed_everything",
    "ckpt_path",
    "logger",
    "tune",
    "compare",
)
_MEANT = {  # what other programs call a setting
    "epochs": "trainer.max_epochs",
    "steps": "trainer.max_steps",
    "lr": "model.learning_rate",
    "gpus": "trainer.devices",
    "device": "trainer.accelerator",
    "seed": "seed_everything",
    "layers": "model.num_layers",
    "checkpoint": "ckpt_path",
    "resume": "ckpt_path",
    "model": "model.cell",
}


def explain_unknown(words: list[str]) -> str:
    """What to say of arguments that no option takes."""
    if not words:
        return "an argument is empty; an option's value stands right behind it"
    word = words[0]
    lists = f"`rnnzoo {command()} --help` lists them"
    if word.startswith(("—", "–")):
        return f"{word!r} begins with a dash of text; an option begins with two hyphens: --{word.lstrip('—–-')}"
    if found := re.match(r"--(\w+)\.([\w.]+)", word):
        has = settings_of(found[1])
        near = did_you_mean(found[2] if has else found[1], has or GROUPS)
        return f"unknown setting --{found[1]}.{found[2]}{near} {lists}"
    if found := re.match(r"-{1,2}([A-Za-z][\w-]*)", word):
        name = found[1].replace("-", "_")
        places = [f"{group}.{name}" for group in ("trainer", "model", "data") if name in settings_of(group)]
        meant = [*places[:1], *([_MEANT[name]] if name in _MEANT else []), *_near(name)]
        suggestion = f"; did you mean --{meant[0]}?" if meant else ";"
        return f"unknown setting {word.partition('=')[0]}{suggestion} {lists}"
    path = Path(word)
    for kind, option in ((".yaml", "--config"), (".yml", "--config"), (".ckpt", "--ckpt_path")):
        if path.suffix == kind:
            return f"{word!r} stands without an option; did you mean {option} {word}?"
    if path.exists():
        return f"{word!r} stands without an option; did you mean --data.dataset {word}?"
    return f"{word!r} stands without an option: a setting is --GROUP.NAME VALUE, a list [a,b]; {lists}"


def _near(name: str) -> list[str]:
    """The one option whose own name is like `name`."""
    known = {"config": "config", "ckpt_path": "ckpt_path", "seed_everything": "seed_everything"}
    for group in ("data", "model", "trainer"):
        known |= {setting: f"{group}.{setting}" for setting in settings_of(group)}
    near = re.search(r"'(\w+)'", did_you_mean(name, known))
    return [known[near[1]]] if near else []


def command() -> str:
    return sys.argv[1] if len(sys.argv) > 1 else "fit"


def option_without_value(option: str) -> str:
    """The option as it was typed: jsonargparse names the group that it belongs to."""
    names = option.split("/")
    for word, behind in zip(sys.argv, [*sys.argv[1:], "--"], strict=True):
        if behind.startswith("-") and "=" not in word and word.startswith(tuple(names)):
            return word
    return names[-1]
