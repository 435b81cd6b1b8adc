"""Cells by name: the registry, the entry-point group ``rnnzoo.cells``, and import paths."""

import contextlib
import importlib
import inspect
import math
import typing
import warnings
from collections.abc import Callable
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from torch.nn.utils import parametrize

from rnnzoo.cells.contract import Cell
from rnnzoo.errors import RnnZooError, did_you_mean

ENTRY_POINTS = "rnnzoo.cells"
_CELLS: dict[str, type[Cell]] = {}
_SIMPLE_TYPES: dict[str, Any] = {"bool": bool, "int": int, "float": (int, float), "str": str}
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

C = typing.TypeVar("C", bound=type[Cell])


def register(name: str) -> Callable[[C], C]:
    """Class decorator that makes a cell known by `name`.

    Raises:
        RnnZooError: the name is taken by another class.
    """

    def add(cls: C) -> C:
        taken = _CELLS.get(name)
        if taken is not None and _path(taken) != _path(cls):  # the same path is the same class, loaded again
            raise RnnZooError(f"cell name {name!r} is already taken by {_path(taken)}")
        _CELLS[name] = cls
        return cls

    return add


def list_cells() -> dict[str, type[Cell]]:
    """Every registered cell by name, those of installed packages included; one that cannot be loaded is warned of."""
    for point in entry_points(group=ENTRY_POINTS):
        try:
            _load(point)
        except RnnZooError as error:
            warnings.warn(f"entry point {point.name!r} is left out: {error}", stacklevel=2)
    return dict(sorted(_CELLS.items()))


def find(cell: str | type[Cell]) -> type[Cell]:
    """The class of a cell given as a class, a registered name, or an import path such as ``my_lab.cells.Leaky``.

    Raises:
        RnnZooError: nothing goes by that name, or its module cannot be imported.
    """
    if isinstance(cell, type) and issubclass(cell, Cell):
        return cell
    if not isinstance(cell, str):
        raise RnnZooError(f"cell must be a registered name, an import path or a Cell class, not {cell!r}")
    if cell in _CELLS:
        return _CELLS[cell]
    for point in entry_points(group=ENTRY_POINTS, name=cell):
        return _load(point)
    if "." in cell or ":" in cell:
        return _import(cell)
    known = list_cells()
    near = did_you_mean(cell, known)
    own = "" if "?" in near else "; one of your own goes by its path, as my_lab.cells.Leaky"
    raise RnnZooError(f"unknown cell {cell!r}{near} `rnnzoo cells` lists all {len(known)}{own}")


def create(cell: str | type[Cell], input_size: int, hidden_size: int, **constants: Any) -> Cell:
    """A bare cell: ``create("gru", 10, 20)``; `constants` are the cell's own keyword arguments.

    Raises:
        RnnZooError: an unknown cell, a size below 1, or an argument that the cell does not have.
    """
    cls = find(cell)
    check_constants(cls, constants)
    return cls(input_size, hidden_size, **constants)


def constants_of(cls: type[Cell]) -> dict[str, inspect.Parameter]:
    """The keyword arguments that a cell takes besides its sizes."""
    constants: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        own = list(inspect.signature(vars(base)["__init__"]).parameters.values())
        # self and the two sizes come first
        constants |= {p.name: p for p in own[3:] if p.kind in _NAMED and p.name not in constants}
        if not any(p.kind is p.VAR_KEYWORD for p in own):  # **kwargs are the next class's
            break
    return constants


def check_constants(cls: type[Cell], constants: dict[str, Any]) -> None:
    """Raises RnnZooError for an argument that the cell does not have, or one of another type."""
    known, cell = constants_of(cls), name_of(cls)
    for name, value in constants.items():
        if name not in known:
            has = ", ".join(known) or "none"
            raise RnnZooError(f"cell {cell!r} has no argument {name!r}{did_you_mean(name, known)} it has: {has}")
        annotation = known[name].annotation  # a type, or with postponed evaluation its name
        hint = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
        expected = _SIMPLE_TYPES.get(hint)  # other annotations are the cell's to check
        if expected and (not isinstance(value, expected) or isinstance(value, bool) != (expected is bool)):
            raise RnnZooError(f"argument {name!r} of cell {cell!r} must be {hint}, not {value!r}")
        if isinstance(value, float) and math.isnan(value):
            raise RnnZooError(f"argument {name!r} of cell {cell!r} must be a number, not nan")
    required = [name for name, p in known.items() if p.default is p.empty and name not in constants]
    if required:
        raise RnnZooError(f"cell {cell!r} needs a value for {', '.join(map(repr, required))}")


def name_of(cls: type[Cell]) -> str:
    """The registered name of a cell, else the path that it is imported by."""
    return next((name for name, known in _CELLS.items() if known is cls), _path(cls))


def kind(cell: Cell) -> type[Cell]:
    """A cell's class; that which it was written as where torch has put a derived one in its place."""
    return type(cell).__bases__[0] if parametrize.is_parametrized(cell) else type(cell)


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _load(point: Any) -> type[Cell]:
    if point.name in _CELLS and _path(_CELLS[point.name]) == point.value.replace(":", "."):
        return _CELLS[point.name]
    return register(point.name)(_import(point.value))


def _import(path: str) -> type[Cell]:
    module_name, _, attribute = path.replace(":", ".").rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            dots = "; a path is written with dots: my_lab.cells.Leaky" if "/" in path or "\\" in path else ""
            raise RnnZooError(
                f"cell {path!r} cannot be found: there is no module {error.name!r} in the working directory"
                f" or among the installed packages{dots}"
            ) from error
        raise RnnZooError(f"cell {path!r} cannot be used: importing {module_name} failed: {error}") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise RnnZooError(f"cell {path!r} cannot be used: importing {module_name} raised {reason}") from error
    found = getattr(module, attribute, None)
    if found is None:  # the path may be that of a module, which is nobody's attribute before it is imported
        with contextlib.suppress(Exception):
            found = importlib.import_module(f"{module_name}.{attribute}")
    if not (isinstance(found, type) and issubclass(found, Cell)):
        home = found if isinstance(found, ModuleType) else module
        kinds = {n: v for n, v in vars(home).items() if isinstance(v, type) and issubclass(v, Cell)}
        there = [n for n, v in kinds.items() if v.__module__ == home.__name__]
        a = f"a {type(found).__name__}, not a Cell class" if not isinstance(found, type) else "a class, but no Cell"
        what = f"is {a}" if found is not None else "does not exist"
        if home is found and there:
            has = f"; give one of its cells: {', '.join(f'{path}.{name}' for name in there)}"
        else:
            has = f"{did_you_mean(attribute, there)} the cells in that module: {', '.join(there) or 'none'}"
        raise RnnZooError(f"cell {path!r} cannot be used: {module_name}.{attribute} {what}{has}")
    return found
