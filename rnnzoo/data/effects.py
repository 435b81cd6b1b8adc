"""Settings of a data module that have no effect, named in a warning."""

import inspect
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_warn


def warn_without_effect(data: Any, names: tuple[str, ...], because: str) -> None:
    """Warns of those settings among `names` that are not at their default."""
    parameters: dict[str, inspect.Parameter] = {}
    for kind in reversed(type(data).__mro__):  # those that a class hands on to the one that it derives from, too
        if "__init__" in vars(kind):
            parameters |= inspect.signature(kind).parameters
    idle = [name for name in names if name in parameters and getattr(data, name) != parameters[name].default]
    if idle:
        listed = ", ".join(f"{name}={getattr(data, name)!r}" for name in idle)
        rank_zero_warn(f"{listed} has no effect: {because}")
