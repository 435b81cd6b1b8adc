"""What the parts of a walk share: what was found, and how further objects are visited."""

import hashlib
from typing import Any

from rnnzoo.kernels.fingerprint.checks import Checks

HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class that can be given attributes
PLAIN = (bool, int, str, bytes, float, complex, type(None), type(...), type(NotImplemented))


class Visitor:
    """The state of a walk; `live` are the names that are looked at, None all of them.

    Afterwards `words` tell the cell, `checks` say whether they still would, `reached` are the names that reachable
    code loads, None where some code computes names, and `portable` says whether the words mean the same in every
    process.
    """

    def __init__(self, live: frozenset[str] | None, roots: frozenset[str] = frozenset()):
        self.live = live
        self.words: list[str] = []
        self.checks = Checks()
        self.portable = True
        self.containers: list[Any] = []  # lists, dicts and sets, which a step might change
        self._reached: set[str] | None = set(roots)
        self._first: dict[int, int] = {}
        self._alive: list[Any] = []  # no id is taken twice
        self._count = [0]  # of objects, also of walks apart
        self._own: frozenset[str] = frozenset()
        self._tensors: dict[int, int] = {}
        self._where: list[str] = []
        self._places: dict[int, str] = {}  # of modules not yet visited, as the checks reach them

    @property
    def reached(self) -> frozenset[str] | None:
        return None if self._reached is None else frozenset(self._reached)

    @property
    def digest(self) -> str:
        return hashlib.sha256("\0".join(self.words).encode(errors="surrogatepass")).hexdigest()

    def visit(self, value: Any, name: str = "") -> None:
        """Adds the words and checks of whatever object; `name`: where it was found, for messages."""
        raise NotImplementedError

    def _is_live(self, name: str) -> bool:
        return self.live is None or name in self.live

    def _by_computed_names(self) -> None:
        self._reached = None
