"""Every registered cell once more, from its paper: one step of one row, a unit at a time, on 0-d float64 tensors.

Written apart from the library on purpose: sums are spelled out, gates are rows of a list, and nothing is shared with
`rnnzoo`. One file a family, as in `rnnzoo/cells/`. A cell without an oracle fails `tests/cells/test_oracles.py`.
"""

import importlib
import pkgutil

from oracles.notation import ORACLES, Oracle, run_oracle

for _module in pkgutil.iter_modules(__path__, __name__ + "."):
    importlib.import_module(_module.name)

__all__ = ["ORACLES", "Oracle", "run_oracle"]
