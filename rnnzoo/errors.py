"""The error a user's input raises: one line with what, its value, and what would be right."""

from collections.abc import Iterable
from difflib import get_close_matches


class RnnZooError(ValueError):
    """Something the user gave is not usable; the command line prints the message without a traceback."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'lstm'?"`` for the nearest of `known`, or ``";"``: a message goes on behind either."""
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ";"
