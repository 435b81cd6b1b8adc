"""What cells are to each other: one file a family, each with functions that build two sides which must be equal.

These need no other people's code, and catch most mistakes: a gate held open turns one published cell into another.
"""

import importlib
import pkgutil

from identities.notation import IDENTITIES

for _module in pkgutil.iter_modules(__path__, __name__ + "."):
    importlib.import_module(_module.name)

__all__ = ["IDENTITIES"]
