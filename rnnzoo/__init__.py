"""Recurrent cells written once, in ten lines, and everything else derived from them.

Public names load on first use, so that ``rnnzoo --help`` does not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Description": "rnnzoo.description",
    "RNN": "rnnzoo.rnn",
    "RnnZooError": "rnnzoo.errors",
    "create": "rnnzoo.cells",
    "from_torch": "rnnzoo.convert",
    "list_cells": "rnnzoo.cells",
    "load": "rnnzoo.tasks",
    "register": "rnnzoo.cells",
    "to_torch": "rnnzoo.convert",
    "trainer": "rnnzoo.training.trainer",
}
__all__ = [
    "RNN",
    "Description",
    "RnnZooError",
    "create",
    "from_torch",
    "list_cells",
    "load",
    "register",
    "to_torch",
    "trainer",
]

if TYPE_CHECKING:
    from rnnzoo.cells import create, list_cells, register
    from rnnzoo.convert import from_torch, to_torch
    from rnnzoo.description import Description
    from rnnzoo.errors import RnnZooError
    from rnnzoo.rnn import RNN
    from rnnzoo.tasks import load
    from rnnzoo.training.trainer import trainer


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'rnnzoo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
