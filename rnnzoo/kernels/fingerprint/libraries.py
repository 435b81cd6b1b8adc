"""What belongs to Python, to torch and to what else is installed: known by name and version, not by content."""

import importlib
import importlib.util
import sys
import sysconfig
import types
from functools import cache
from pathlib import Path
from typing import Any

import torch

_FOLDERS = tuple(
    str(Path(folder))
    for folder in {
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        str(Path(torch.__file__).parents[1]),
    }
)
_OWN = str(Path(__file__).parents[2])  # this package's, wherever it is installed


@cache
def installed_file(path: str) -> bool:
    """Whether a file is a library's: below a folder that packages are installed to, and not of this package."""
    if path.startswith(_OWN):
        return False
    return path.startswith(("<frozen", *_FOLDERS))


@cache
def version_of(package: str) -> str:
    """The version of an installed package, or what else tells its contents from others'."""
    module = sys.modules.get(package)
    found = getattr(module, "__version__", None)
    if isinstance(found, str):
        return found
    path = getattr(module, "__file__", None)
    return str(Path(path).stat().st_mtime_ns) if path else sys.version


def installed_module(name: str, own: frozenset[str]) -> bool:
    """Whether the module `name` is a library's; not where its package is among `own`, those of the cell's classes."""
    top = name.partition(".")[0]
    if top in own:
        return False
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return top != "__main__"
    path = getattr(sys.modules.get(name), "__file__", None)
    return path is not None and installed_file(path)


def installed_function(function: types.FunctionType, own: frozenset[str]) -> bool:
    """Whether a function of Python is a library's."""
    if str(function.__module__).partition(".")[0] in own:
        return False
    return installed_file(function.__code__.co_filename)


def by_name(value: Any) -> bool:
    """Whether the name that a function or class carries leads to it."""
    found: Any = sys.modules.get(value.__module__)
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is value


def imported(name: str, package: str) -> types.ModuleType | None:
    """The module that code of `package` imports by `name`, or None where there is none."""
    names = [name, f"{package}.{name}"] if name else [package]
    for candidate in names:
        if candidate in sys.modules:
            return sys.modules[candidate]
    for candidate in names:
        try:
            return importlib.import_module(candidate)
        except Exception:  # the step meets the same error, and shows it
            continue
    return None
