"""The words of a command line before they are parsed: configs first, those that are shipped, a checkpoint's own."""

import re
from pathlib import Path

from rnnzoo.cli.shipped import shipped_configs
from rnnzoo.errors import RnnZooError, did_you_mean
from rnnzoo.tasks.checkpoints import read_checkpoint


def configs_first(args: list[str]) -> list[str]:
    """`args` with the configs before all else: what stands beside a config wins over it, wherever it stands."""
    configs: list[str] = []
    others: list[str] = []
    for before, argument in zip(["", *args], args, strict=False):
        path = before in ("--config", "-c") and not argument.startswith("-")
        (configs if path or argument.partition("=")[0] in ("--config", "-c") else others).append(argument)
    return [*configs, *others]


def joined(args: list[str]) -> list[str]:
    """`args`, with an option and a value of hyphens alone as one: ``--data.separator ---`` is two options otherwise."""
    made: list[str] = []
    for argument in args:
        if made and re.fullmatch(r"--[a-z][\w.]*\.\w+", made[-1]) and re.fullmatch(r"-{2,}\s*|-+\s+", argument):
            made[-1] += f"={argument}"
        else:
            made.append(argument)
    for argument in made:
        if re.fullmatch(r"--[a-z][\w.]*=--", argument):  # which argparse takes away: it ends the options elsewhere
            raise RnnZooError(f"{argument.partition('=')[0]} cannot be '--' on the command line: set it in a config")
    return made


def shipped(argument: str, before: str) -> str:
    """A config that came with the package, where ``--config configs/char_lm.yaml`` finds no such file here."""
    option, equals, value = argument.partition("=")
    path = Path(value if equals else argument)
    if (option if equals else before) not in ("--config", "-c") or path.exists() or path.parent.name != "configs":
        return argument
    for config in shipped_configs():
        if config.name == path.name:
            return f"{option}={config}" if equals else str(config)
    return argument


def without_pretrained(args: list[str]) -> tuple[list[str], str | None]:
    """`args` without ``--model.pretrained``, which any LightningModule takes, and its value."""
    made: list[str] = []
    value = None
    todo = iter(args)
    for argument in todo:
        option, equals, given = argument.partition("=")
        if option in ("--model.pretrained", "--model.init_args.pretrained"):
            value = given if equals else next(todo, None)
            if value is None or (not equals and value.startswith("--")):
                raise RnnZooError(f"{option} needs a value: a checkpoint")
            value = None if value in ("null", "None") else value
        else:
            made.append(argument)
    return made, value


def with_arguments_of(args: list[str]) -> list[str]:
    """`args` with ``--model.optimizer_args.momentum`` for ``--model.optimizer.momentum``; block, cell, schedule too."""
    pattern = re.compile(r"--model\.(?:init_args\.)?(optimizer|schedule|cell|block)\.(\w)")
    return [pattern.sub(r"--model.\1_args.\2", argument, count=1) for argument in args]


def with_what(args: list[str]) -> list[str]:
    """`args` with ``--data.predict_split anomaly`` for ``--what anomaly``; forecasts, the default, need no word."""
    made: list[str] = []
    todo = iter(args)
    for argument in todo:
        option, equals, given = argument.partition("=")
        if option != "--what":
            made.append(argument)
            continue
        value = given if equals else next(todo, "")
        if value not in WHAT:
            raise RnnZooError(f"--what {value!r} is unknown{did_you_mean(value, WHAT)} there are: {', '.join(WHAT)}")
        made += ["--data.predict_split", value] if value != WHAT[0] else []
    return made


WHAT = ("forecast", "anomaly", "imputation")  # that `rnnzoo predict` writes of series


def typed_settings(given: list[str], group: str) -> set[str]:
    """The settings of a group that stand on the command line itself."""
    pattern = re.compile(rf"--{group}\.(?:init_args\.)?([A-Za-z_]\w*)")
    return {match[1] for argument in given if (match := pattern.match(argument))}


def with_own_config(args: list[str]) -> list[str]:
    """`args`, with the config of a checkpoint's run, or its classes, where a checkpoint is all that was given."""
    text = " ".join(args)
    if re.search(r"(^| )(--config|-c|--model|--data)( |=)", text):
        return args
    for k, argument in enumerate(args):
        path = argument.partition("=")[2] if argument.startswith("--ckpt_path=") else ""
        if argument == "--ckpt_path" and k + 1 < len(args):
            path = args[k + 1]
        config = Path(path).parent.parent / "config.yaml"
        if path and Path(path).is_file() and config.is_file():
            return ["--config", str(config), *args]
        if path:
            content = read_checkpoint(path, "ckpt_path")  # what is wrong with it comes before what else is missing
            if data := content["rnnzoo"].get("data"):
                return [f"--model={content['rnnzoo']['task']}", f"--data={data['class_path']}", *args]
    return args
