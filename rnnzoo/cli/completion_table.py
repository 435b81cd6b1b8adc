"""The table that completion reads: options, settings with their meanings and values, and the names of cells."""

import argparse
import importlib
import json
import re
import textwrap
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin
from unittest.mock import patch

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch.optim import Optimizer, lr_scheduler

from rnnzoo.cache import written_aside
from rnnzoo.cells.registry import constants_of, list_cells
from rnnzoo.cli.classes import NOT_TO_SET, import_known, parameters_of, subclasses
from rnnzoo.cli.main import LIGHT, OTHERS, function_of
from rnnzoo.kernels.choice import KERNELS
from rnnzoo.models.blocks import BLOCKS
from rnnzoo.models.layers import INITIALIZATIONS
from rnnzoo.training.optimizers import SCHEDULES

_VALUES = {
    "kernel": ["auto", *KERNELS, "triton"],
    "block": list(BLOCKS),
    "connect": ["residual", "highway", "dense"],
    "initialization": list(INITIALIZATIONS),
    "optimizer": sorted(n for n, k in vars(torch.optim).items() if isinstance(k, type) and issubclass(k, Optimizer)),
    "schedule": [*SCHEDULES, *sorted(name for name in vars(lr_scheduler) if re.fullmatch(r"[A-Z]\w+LR", name))],
    "accelerator": ["auto", "cpu", "gpu", "mps"],
    "devices": ["auto"],
    "precision": ["32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true", "16-true"],
    "strategy": ["auto", "ddp", "fsdp"],
}


def write_table(path: Path) -> None:
    """Writes the table, whole, and removes those of other versions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        aside.write_text(json.dumps(make_table(), ensure_ascii=False), encoding="utf-8")
    for other in path.parent.glob("completion-*"):
        if other != path:
            other.unlink(missing_ok=True)


def make_table() -> dict[str, Any]:
    """Everything that completion has to know of classes, cells and commands."""
    import_known()
    return {
        "cells": {name: list(constants_of(cls)) for name, cls in list_cells().items()},
        "model": {cls.__name__: _settings(cls) for cls in subclasses(LightningModule) if _is_ours(cls)},
        "data": {cls.__name__: _settings(cls) for cls in subclasses(LightningDataModule) if _is_ours(cls)},
        "trainer": _settings(Trainer),
        "plain": {name: _options(name) for name in OTHERS},
    }


def _is_ours(cls: type) -> bool:
    return not cls.__module__.startswith("lightning.")


def _settings(cls: type) -> dict[str, Any]:
    return {
        name: {"meaning": _short(parameter.doc), "values": _VALUES.get(name) or _values(parameter.annotation)}
        for name, parameter in parameters_of(cls).items()
        if name not in NOT_TO_SET
    }


def _values(annotation: Any) -> list[str]:
    """The values that a type leaves to choose from."""
    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [value for part in get_args(annotation) for value in _values(part)]


def _short(text: str | None) -> str:
    """The first part of a meaning, on one line."""
    first = re.split(r"[.;:]\s", " ".join((text or "").split()))[0].removesuffix(".")
    return textwrap.shorten(first, 70, placeholder=" …")


class _Caught(BaseException):
    def __init__(self, parser: argparse.ArgumentParser):
        self.parser = parser


def _options(command: str) -> dict[str, Any]:
    """What a plain command takes: its parser is caught as it is about to read."""

    def catch(parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> NoReturn:
        raise _Caught(parser)

    if command in LIGHT:
        function = importlib.import_module(f"rnnzoo.cli.{command}").run
    else:
        function = getattr(importlib.import_module("rnnzoo.cli.commands"), function_of(command))
    actions: list[argparse.Action] = []
    with patch.object(argparse.ArgumentParser, "parse_known_args", catch):  # which parse_args calls
        try:
            function([])
        except _Caught as caught:
            actions = caught.parser._actions
    return {
        "options": {
            option: {
                "meaning": _short(action.help),
                "values": [str(one) for one in action.choices or ()],
                "flag": action.nargs == 0,
            }
            for action in actions
            for option in action.option_strings
            if option.startswith("--")
        },
        "positional": {a.dest: [str(one) for one in a.choices or ()] for a in actions if not a.option_strings},
    }
