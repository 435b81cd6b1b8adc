"""Tags that mark spans of tokens, B-PER I-PER O: which scheme they follow, and where spans begin and end.

BIO (Ramshaw & Marcus 1995, as CoNLL 2002 has it) begins every span with B; IOB1, their own, a span with B only behind
another of its kind; IOBES and BILOU also mark the last token, E or L, and a span of one, S or U.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

OUTSIDE = "O"
_TAG = re.compile(r"([BIESLU])(?:-(.+))?")
_AS_IOBES = {"L": "E", "U": "S"}
_BEGIN, _END = "BS", "ES"  # prefixes that begin a span whatever stands before, or end it whatever stands behind
STRICT = ("BIO", "IOBES", "BILOU")  # in which some tags may not follow others


class Spans(NamedTuple):
    """Where spans lie among N tags: at each, whether one begins there, its kind (-1 outside), and its last place."""

    begins: Tensor
    kind: Tensor
    last: Tensor


def scheme_of(labels: Sequence[str], steps: Iterable[tuple[str | None, str | None]]) -> str | None:
    """The scheme that all tags and their order follow: BIO, IOBES or BILOU; IOB1 where the order is free; or None.

    Args:
        labels: all tags.
        steps: which of them follow each other in the training data; None before a sentence, and behind it.
    """
    parts = [_TAG.fullmatch(label) for label in labels if label != OUTSIDE]
    prefixes = {part[1] for part in parts if part is not None}
    if None in parts or OUTSIDE not in labels or not prefixes & set("BI"):
        return None
    if prefixes <= set("BI"):
        scheme = "BIO"
    elif prefixes <= set("BIES"):
        scheme = "IOBES"
    elif prefixes <= set("BILU"):
        scheme = "BILOU"
    else:
        return None
    refused = forbidden_steps(labels, scheme)
    place = {label: k for k, label in enumerate([*labels, None])}  # None is the border
    return "IOB1" if any(refused[place[before], place[after]] for before, after in steps) else scheme


def forbidden_steps(labels: Sequence[str], scheme: str | None) -> Tensor:
    """Which tag may not follow which in a scheme, (K + 1, K + 1) of bool; in the last row and column, at a border."""
    tags = [*map(_split, labels), ("O", None)]
    steps = torch.zeros(len(tags), len(tags), dtype=torch.bool)
    if scheme not in STRICT:
        return steps
    ends = scheme != "BIO"  # whether a span that was begun must be ended by E
    for i, (before, kind) in enumerate(tags):
        for j, (after, other) in enumerate(tags):
            goes_on = after in "IE"
            opened = before in "BI"
            steps[i, j] = (goes_on and not (opened and kind == other)) or (ends and opened and not goes_on)
    return steps


def spans(tags: Tensor, labels: Sequence[str]) -> Spans:
    """The spans among tags, read as the script `conlleval` of CoNLL reads them: an I that follows nothing begins one.

    Args:
        tags: (N,) int64; a negative one, as between two sentences, is outside.
        labels: the names of the tags.
    """
    split = [*map(_split, labels), ("O", None)]  # the last is that of a negative tag
    kinds = sorted({kind or "" for prefix, kind in split if prefix != "O"})
    table = torch.tensor([-1 if p == "O" else kinds.index(k or "") for p, k in split], device=tags.device)
    begin, end = (torch.tensor([p in which for p, _ in split], device=tags.device) for which in (_BEGIN, _END))
    tags = tags.where(tags >= 0, len(labels))
    kind, inside = table[tags], table[tags] >= 0
    apart = torch.ones_like(inside)  # from the tag before
    apart[1:] = (kind[1:] != kind[:-1]) | begin[tags[1:]] | end[tags[:-1]]
    last_of_one = torch.ones_like(inside)
    last_of_one[:-1] = apart[1:]
    places = torch.arange(len(tags), device=tags.device)
    last = places.where(last_of_one, len(tags)).flip(0).cummin(0).values.flip(0) if len(tags) else places
    return Spans(inside & apart, kind, last)


def _split(label: str) -> tuple[str, str | None]:
    """Its prefix, by IOBES, and its kind."""
    part = _TAG.fullmatch(label)
    return ("O", None) if part is None else (_AS_IOBES.get(part[1], part[1]), part[2])
