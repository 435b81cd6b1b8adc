"""Transforms by name, as configs and checkpoints have them."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from rnnzoo.cells.contract import Cell
from rnnzoo.errors import RnnZooError, did_you_mean
from rnnzoo.transforms.around import Around


def named(given: Mapping[str, Mapping[str, Any] | None]) -> list[Callable[[Cell], Cell]]:
    """The transforms ``{"Zoneout": {"p": 0.1}, "VariationalDropout": {"input_p": 0.2}}``, the innermost first.

    Args:
        given: names of rnnzoo.transforms or import paths, each with the arguments behind the cell, None for none.

    Raises:
        RnnZooError: an unknown name, or an argument that the transform does not have or lacks.
    """
    found: list[Callable[[Cell], Cell]] = []
    for name, more in given.items():
        if not isinstance(more, Mapping | None):
            raise RnnZooError(f"transform {name!r} must have a mapping of arguments, such as {{p: 0.1}}, not {more!r}")
        transform, arguments = _find(name), dict(more or {})
        _check(name, transform, arguments)
        found.append(partial(transform, **arguments))
    return found


def _find(name: str) -> type[Around]:
    own = _own()
    if name in own:
        return own[name]
    module, _, attribute = name.rpartition(".")
    if not module:
        raise RnnZooError(f"unknown transform {name!r}{did_you_mean(name, own)} there are: {', '.join(own)}")
    try:
        found = getattr(import_module(module), attribute, None)
    except Exception as error:  # whatever a user's module raises
        raise RnnZooError(f"transform {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Around)):
        raise RnnZooError(f"transform {name!r} must be a subclass of rnnzoo.transforms.Around, not {found!r}")
    return found


def _own() -> dict[str, type[Around]]:
    package = import_module("rnnzoo.transforms")
    there = {name: getattr(package, name) for name in package.__all__}
    return {n: v for n, v in there.items() if isinstance(v, type) and v is not Around}


def _check(name: str, transform: type[Around], arguments: Mapping[str, Any]) -> None:
    known = list(inspect.signature(transform.__init__).parameters.values())[2:]  # behind self and the cell
    names = [p.name for p in known]
    for argument in arguments:
        if argument not in names:
            has = ", ".join(names) or "none"
            raise RnnZooError(
                f"transform {name!r} has no argument {argument!r}{did_you_mean(argument, names)} it has: {has}"
            )
    lacking = [p.name for p in known if p.default is p.empty and p.name not in arguments]
    if lacking:
        raise RnnZooError(f"transform {name!r} needs a value for {', '.join(map(repr, lacking))}")
