"""The classes that a config may name, and what each can be told."""

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

from lightning.pytorch import LightningDataModule, Trainer

from rnnzoo.tasks.base import Task


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
            if ours and not inspect.isabstract(sub) and sub.__name__ not in seen:
                seen.add(sub.__name__)
                yield sub


def settings_of(group: str) -> list[str]:
    """The settings of the trainer, of any task, or of any data module."""
    if group == "trainer":
        return list(inspect.signature(Trainer).parameters)
    if group == "predictions":
        return ["path"]
    bases: dict[str, type] = {"model": Task, "data": LightningDataModule}
    if group not in bases:
        return []
    return [n for cls in subclasses(bases[group]) for n in inspect.signature(cls).parameters]
