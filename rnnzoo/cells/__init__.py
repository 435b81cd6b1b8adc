"""The contract, the registry, and one family of cells a file."""

import importlib
import pkgutil

from rnnzoo.cells.contract import Cell, GatedCell, Hidden, HiddenCell, LinearCell
from rnnzoo.cells.registry import create, find, list_cells, name_of, register

# every file here registers its cells by being imported: a new one needs no line in this file
for _module in pkgutil.iter_modules(__path__, __name__ + "."):
    importlib.import_module(_module.name)

__all__ = [
    "Cell",
    "GatedCell",
    "Hidden",
    "HiddenCell",
    "LinearCell",
    "create",
    "find",
    "list_cells",
    "name_of",
    "register",
]
