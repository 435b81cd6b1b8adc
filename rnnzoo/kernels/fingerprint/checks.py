"""Checks that run at every call of a layer, compiled to one expression: a check takes some 30 nanoseconds."""

import builtins
import types
from collections.abc import Callable
from functools import lru_cache
from operator import is_
from typing import Any, NamedTuple


class Check(NamedTuple):
    """A condition on objects, and what has changed where it does not hold.

    `expression` names its objects as {0}, {1}, ...
    """

    label: str
    expression: str
    objects: tuple[Any, ...]


class Checks:
    """Conditions that hold together."""

    def __init__(self) -> None:
        self._checks: list[Check] = []
        self._modules = 0
        self._numbers: list[int] = []  # of tensors, in the order of their checks
        self._names: dict[int, str] = {}  # of objects, by id; `_objects` keeps them alive
        self._objects: dict[str, Any] = {"__builtins__": builtins, "is_": is_}

    def add(self, label: str, expression: str, *objects: Any) -> None:
        """Adds a condition; see ``Check``."""
        self._checks.append(Check(label, expression, objects))

    def same(self, label: str, owner: str, value: Any, *objects: Any) -> None:
        """Adds that the expression `owner` of `objects` still is `value`."""
        self.add(label, f"{owner} is {{{len(objects)}}}", *objects, value)

    def items(self, label: str, container: Any) -> None:
        """Adds that a list, a dict or another mapping holds the same objects in the same order."""
        values = tuple(container.values()) if hasattr(container, "values") else tuple(container)
        if not values:
            self.add(label, "not {0}", container)
            return
        if hasattr(container, "values"):
            keys = tuple(container)
            plain = all(type(k) is str for k in keys)
            self.add(label, "tuple({0}) == {1}" if plain else "all(map(is_, {0}, {1}))", container, keys)
            self.add(label, "len({0}) == {1} and all(map(is_, {0}.values(), {2}))", container, len(values), values)
        else:
            self.add(label, "len({0}) == {1} and all(map(is_, {0}, {2}))", container, len(values), values)

    def module(self, label: str, place: str | None, module: Any) -> int:
        """Names a module at `place`, or this very one, for later checks: m0 and its attributes d0, m1 and d1, ..."""
        at = self._modules
        self._modules += 1
        self.add(label, f"(d{at} := (m{at} := {place or '{0}'}).__dict__) is not None", *(() if place else (module,)))
        return at

    def tensor(self, label: str, place: str, number: int, shape: Any, dtype: Any) -> None:
        """Adds that the tensor at `place` has this shape and dtype, and is the same as others of its number alone."""
        at = len(self._numbers)
        self.add(label, f"(t{at} := {place}).shape == {{0}} and t{at}.dtype is {{1}}", shape, dtype)
        if number in self._numbers:
            self.add(f"{label}, which was tied", f"t{at} is t{self._numbers.index(number)}")
        self._numbers.append(number)

    def _distinct(self) -> Check:
        """That tensors of different numbers are different."""
        first = sorted({self._numbers.index(number) for number in self._numbers})
        return Check(
            "parameters that are one", f"len({{{{{', '.join(f'id(t{k})' for k in first)}}}}}) == {len(first)}", ()
        )

    def _all(self) -> list[Check]:
        return [*self._checks, self._distinct()] if self._numbers else self._checks

    def compiled(self) -> Callable[[Any], bool]:
        """A function that says of a cell whether all of them hold."""
        function = types.FunctionType(_code(tuple(map(self._term, self._all()))), self._objects)

        def hold(cell: Any) -> bool:
            try:
                return bool(function(cell))
            except Exception:  # what a check looks at is gone
                return False

        return hold

    def first_change(self, cell: Any) -> str | None:
        """The label of the first condition that does not hold of a cell."""
        names = self._objects | {"cell": cell}
        for check in self._all():
            try:
                if eval(self._term(check), names):
                    continue
            except Exception:
                pass
            return check.label
        return None

    def _term(self, check: Check) -> str:
        return check.expression.format(*map(self._name, check.objects))

    def _name(self, value: Any) -> str:
        name = self._names.get(id(value))
        if name is None:
            name = self._names[id(value)] = f"o{len(self._names)}"
            self._objects[name] = value
        return name


@lru_cache(maxsize=256)
def _code(terms: tuple[str, ...]) -> types.CodeType:
    """One function for all cells whose checks read alike."""
    body = " and ".join(f"({term})" for term in terms) or "True"
    names: dict[str, Any] = {}
    exec(f"def hold(cell):\n    return {body}\n", names)
    code: types.CodeType = names["hold"].__code__
    return code
