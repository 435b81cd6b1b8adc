"""The classes that a config may name, and what each can be told."""

import functools
import importlib
import inspect
import warnings
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from jsonargparse._parameter_resolvers import ParamData, get_signature_parameters
from lightning.pytorch import LightningDataModule, LightningModule, Trainer

from rnnzoo import data, tasks

NOT_TO_SET = ("description", "rnn_args", "args", "kwargs")  # given by the command line, or of earlier versions
GROUPS = {"model": "rnnzoo.tasks", "data": "rnnzoo.data"}  # entry points for the classes of other packages


def import_class(path: str) -> Any:
    """What a dotted path leads to."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def subclasses(cls: type) -> Iterator[type]:
    """The classes to choose from: those that are imported, public and not abstract."""
    seen: set[str] = set()
    todo: list[type] = [cls]
    while todo:
        subs: list[type] = todo.pop().__subclasses__()
        for sub in subs:
            todo.append(sub)
            ours = not sub.__name__.startswith(("_", "Dummy")) and ".demos." not in sub.__module__
            if sub.__module__ in (
                "rnnzoo.tasks.base",
                "rnnzoo.data.base",
                "rnnzoo.data.row_data",
                "rnnzoo.data.text_examples",
            ):  # to be derived from
                continue
            if ours and not inspect.isabstract(sub) and sub.__name__ not in seen:
                seen.add(sub.__name__)
                yield sub


@functools.cache
def parameters_of(cls: type) -> dict[str, ParamData]:
    """What a class's constructor takes, by name, with what it hands on to others by ``**settings``."""
    return {parameter.name: parameter for parameter in get_signature_parameters(cls, "__init__")}


def required(cls: type) -> list[str]:
    """The names of what a class's constructor cannot do without."""
    return [name for name, p in parameters_of(cls).items() if p.default is inspect.Parameter.empty]


@functools.cache
def installed(group: str) -> dict[str, EntryPoint]:
    """The tasks ("model") or data modules ("data") of other packages, by the names of their entry points."""
    return {point.name: point for point in entry_points(group=GROUPS[group])}


def import_known() -> None:
    """Imports our tasks and data modules and those of other packages, so that they are known by short names.

    A package that cannot be imported is a warning.
    """
    for package in (tasks, data):
        for name in package.__all__:
            getattr(package, name)
    for group in GROUPS:
        for name, point in installed(group).items():
            try:
                point.load()
            except Exception as error:  # whatever a package of somebody else does when it is imported
                warnings.warn(f"entry point {name!r} of {GROUPS[group]} is left out: {error}", stacklevel=2)


def with_import_paths(args: list[str]) -> list[str]:
    """`args` with the import path of a class where the name of an entry point stands: ``--model masked``."""
    made = []
    for before, argument in zip(["", *args], args, strict=False):
        option, equals, value = argument.partition("=")
        group = (option if equals else before).removeprefix("--")
        point = installed(group).get(value if equals else argument) if group in GROUPS else None
        path = point.value.replace(":", ".") if point else None
        made.append(argument if path is None else f"{option}={path}" if equals else path)
    return made


def settings_of(group: str) -> list[str]:
    """The settings of the trainer, of any task, or of any data module."""
    if group == "trainer":
        return list(inspect.signature(Trainer).parameters)
    if group == "predictions":
        return ["path"]
    bases: dict[str, type] = {"model": LightningModule, "data": LightningDataModule}
    if group not in bases:
        return []
    ours = [cls for cls in subclasses(bases[group]) if not cls.__module__.startswith("lightning.")]
    return [name for cls in ours for name in parameters_of(cls)]
