"""fastai's words of a text: its marks for capitals, and spaCy's splits by a pattern."""

import string
from collections.abc import Sequence

from rnnzoo.data.tokenizers import TextTokenizer

UNKNOWN = "xxunk"
# a number, the parts of "don't" and "king's", any other word, line ends, a mark
_WORD = r"\d+(?:[.,]\d+)*|\w+(?=n['’]t\b)|n['’]t\b|['’](?:s|re|ve|ll|d|m)\b|\w+|\n+|\.{2,}|-{2,}|[^\w\s]"


def words_tokenizer(words: Sequence[str]) -> TextTokenizer:
    """The tokenizer of a list of words; what it lacks is "xxunk", or the first word where that is missing.

    As in fastai a word in capitals is "xxup" and the word in small letters, one that begins with a capital "xxmaj" and
    the word. Its repetitions, "xxrep" and "xxwrep", are not made, and no "xxbos" begins a text. Where spaCy knows
    abbreviations, "U.S.", the pattern does not.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    ids = {word: k for k, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN if UNKNOWN in ids else words[0]))
    marks = []
    # letter by letter: a replacement cannot repeat what it replaces
    for mark, rest in (("xxup", r"[^a-z\s]+"), ("xxmaj", r"[^A-Z\s]+")):
        if mark in ids:
            marks += [
                normalizers.Replace(Regex(rf"(?<!\S){letter}(?={rest}(?!\S))"), f"{mark} {letter.lower()}")
                for letter in string.ascii_uppercase
            ]
    tokenizer.normalizer = normalizers.Sequence([*marks, normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), "removed", invert=True)
    return TextTokenizer(tokenizer, "saved")
