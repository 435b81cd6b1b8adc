"""Settings of a data module that have no effect, named in a warning."""

import inspect
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_warn


def warn_without_effect(data: Any, names: tuple[str, ...], because: str, **values: Any) -> None:
    """Warns of those settings among `names` that are not at their default; `values` are of those that the data module
    has by another name."""
    parameters: dict[str, inspect.Parameter] = {}
    for kind in reversed(type(data).__mro__):  # those that a class hands on to the one that it derives from, too
        if "__init__" in vars(kind):
            parameters |= inspect.signature(kind).parameters
    given = {name: values[name] if name in values else getattr(data, name) for name in names if name in parameters}
    idle = {name: value for name, value in given.items() if value != parameters[name].default}
    if idle:
        listed = ", ".join(f"{name}={value!r}" for name, value in idle.items())
        rank_zero_warn(f"{listed} has no effect: {because}")
