"""Columns with a list for each sentence: of words, or of tags, however these are written."""

from typing import Any

from rnnzoo.data.streams import IGNORED
from rnnzoo.data.text_columns import is_text

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def is_words(feature: Any) -> bool:
    """Whether a feature of `datasets` is lists of text."""
    return is_text(_inner(feature))


def takes_words(feature: Any) -> bool:
    """Whether a feature is lists of text, or text, which blanks part into words."""
    return is_text(feature) or is_words(feature)


class TagColumn:
    """How the tags of a column are read: as text, whatever they are.

    Args:
        feature: of `datasets`; None for no column.
    """

    def __init__(self, feature: Any) -> None:
        inner = _inner(feature)
        self.names: list[str] | None = list(inner.names) if hasattr(inner, "names") else None
        self.numbers = self.names is None and getattr(inner, "dtype", None) in _INTEGERS

    @staticmethod
    def are_lists(feature: Any) -> bool:
        """Whether a feature is lists of names, text or whole numbers."""
        inner = _inner(feature)
        return is_text(inner) or hasattr(inner, "names") or getattr(inner, "dtype", None) in _INTEGERS

    @staticmethod
    def fits(feature: Any) -> bool:
        """Whether a column may hold tags: such lists, or text, which blanks part into tags."""
        return is_text(feature) or TagColumn.are_lists(feature)

    def read(self, value: Any) -> list[str | None] | None:
        """The tags of a row; None in the place of one that is missing, or of all."""
        if value is None or isinstance(value, str):
            return None if value is None else list[str | None](value.split())
        if self.names is not None:
            return [None if tag is None or tag < 0 else self.names[tag] for tag in value]
        if self.numbers:
            return [None if tag is None or tag == IGNORED else str(tag) for tag in value]
        return list(value)

    def order(self, tag: str) -> Any:
        """What tags are sorted by: numbers by their value."""
        return int(tag) if self.numbers else tag


def _inner(feature: Any) -> Any:
    """What a list has in it; None where a feature is no list of one kind."""
    if isinstance(feature, list):
        return feature[0]
    inner = getattr(feature, "feature", None)
    return None if isinstance(inner, dict) else inner


def words_of(value: Any) -> Any:
    """The words of a sentence: those of a list, or what blanks part of a text."""
    return value.split() if isinstance(value, str) else value
