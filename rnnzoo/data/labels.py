"""The labels of rows as a data set has them: names of classes, numbers, text, truth values, or lists of these."""

from collections.abc import Iterable
from typing import Any

from rnnzoo.errors import RnnZooError

_SHOWN = 8  # labels in a message


_KINDS = ("int", "uint", "float", "bool", "string", "large_string")  # begins of what `datasets` calls types


class Labels:
    """The classes of a classifier by their names, in the order of their ids.

    Args:
        names: of the classes.
        several: whether a row may have any number of them.
    """

    def __init__(self, names: Iterable[str], several: bool = False) -> None:
        self.names, self.several = list(names), several
        self._ids = {name: k for k, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def __str__(self) -> str:
        more = f" and {len(self) - _SHOWN} more" if len(self) > _SHOWN else ""
        return f"{', '.join(self.names[:_SHOWN])}{more}"

    def encode(self, row: list[str]) -> list[int]:
        """The ids of a row's labels, in order.

        Raises:
            RnnZooError: one that is not among the classes, or not one alone where it must be; what the row "has".
        """
        if not self.several and len(row) != 1:
            raise RnnZooError(f"has {len(row)} labels, but a text had one in training")
        if unknown := [name for name in row if name not in self._ids]:
            raise RnnZooError(f"has the label {unknown[0]!r}, which is not among the {len(self)} of training: {self}")
        return sorted({self._ids[name] for name in row})


def in_order_of_names(names: Iterable[str]) -> list[str]:
    """Labels sorted: whole numbers by their value, anything else by its letters."""
    return sorted(names, key=lambda name: (int(name), "") if name.lstrip("-").isdecimal() else (0, name))


class LabelColumn:
    """What one row of a column says.

    Args:
        feature: of `datasets`.
    """

    def __init__(self, feature: Any) -> None:
        inner = getattr(feature, "feature", None)  # of a list
        self.several = inner is not None
        inner = feature if inner is None else inner
        self.names: list[str] | None = getattr(inner, "names", None)
        kind = str(getattr(inner, "dtype", ""))
        self.fits = self.names is not None or kind.startswith(
            ("int", "uint", "float", "bool", "string", "large_string")
        )

    def read(self, value: Any) -> list[str] | None:
        """A row's labels by name; None where it has none: null, NaN, an empty text, or -1 among names of classes.

        Raises:
            RnnZooError: a number with a fraction, or a label that is missing among others; what the row "has".
        """
        if not self.several:
            name = self._name(value)
            return None if name is None else [name]
        if value is None:
            return None
        names = [self._name(one) for one in value]
        if None in names:
            raise RnnZooError(f"has a label that is missing, in {value!r}")
        return [name for name in names if name is not None]

    def _name(self, value: Any) -> str | None:
        if value is None or value != value or (isinstance(value, str) and not value.strip()):
            return None
        if isinstance(value, bool | str):
            return str(value).strip()
        if isinstance(value, float):  # whole numbers with one missing among them become floats in a CSV file
            if not value.is_integer():
                raise RnnZooError(f"has the label {value!r}: labels must be names or whole numbers")
            value = int(value)
        if self.names is None:
            return str(value)
        return self.names[value] if value >= 0 else None  # -1 says that there is none
