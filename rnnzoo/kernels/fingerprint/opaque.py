"""Numbers of objects that nothing can be read of: each has its own, which no later object gets."""

import itertools
import weakref
from functools import partial
from typing import Any

_numbers: dict[int, tuple[Any, int]] = {}  # by id: how to reach the object, and its number
_count = itertools.count()


def number_of(value: Any) -> int:
    """The number of an object, the same for as long as it lives; watched by a weak reference where it can be."""
    found = _numbers.get(id(value))
    if found is not None and found[0]() is value:
        return found[1]
    number = next(_count)
    try:
        reach: Any = weakref.ref(value, partial(_forget, id(value)))
    except TypeError:  # it knows no weak references, so it is kept

        def reach(kept: Any = value) -> Any:
            return kept

    _numbers[id(value)] = reach, number
    return number


def _forget(key: int, _: Any) -> None:
    _numbers.pop(key, None)
