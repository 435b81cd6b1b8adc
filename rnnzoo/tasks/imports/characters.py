"""A language model of characters, as flair's and stanza's are."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rnnzoo.data.tokenizers import of_characters
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError
from rnnzoo.tasks.language_modeling import LanguageModel


def character_model(
    kind: str, tokens: Sequence[str], *, unknown: str, backward: bool, dropout: Any, **settings: Any
) -> LanguageModel:
    """A model of single characters, to be filled with weights.

    Args:
        kind: the library that it is of.
        tokens: by their ids; those of several characters never occur in a text.
        unknown: the one that stands for a character that it does not know.
        backward: whether it reads texts from their end.
        dropout: as the file has it; what is no probability is 0.
        settings: of a LanguageModel.

    Raises:
        RnnZooError: a token that is there twice.
    """
    if twice := [token for token, times in Counter(tokens).items() if times > 1]:
        raise RnnZooError(f"the characters of this model must be distinct, and {twice[0]!r} is there twice")
    tokenizer = of_characters(tokens, unknown, backward=backward)
    description = Description(source=kind, vocabulary=tokenizer.vocabulary, tokenizer=tokenizer.to_json())
    usual = isinstance(dropout, float) and 0 <= dropout < 1
    return LanguageModel(description, dropout=dropout if usual else 0.0, **settings)
