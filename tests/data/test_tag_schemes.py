"""Schemes of span tags: which one data follow, what may not follow what, and where spans lie."""

from itertools import pairwise

import pytest
import torch

from rnnzoo.data.tag_schemes import forbidden_steps, scheme_of, spans

BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def found(text: str) -> list[tuple[int, int, str]]:
    """The spans of one sentence: first token, last token, kind."""
    tags = text.split()
    labels = sorted(set(tags))
    places = spans(torch.tensor([labels.index(tag) for tag in tags]), labels)
    kinds = sorted({tag[2:] for tag in labels if tag != "O"})
    begins = places.begins.nonzero()[:, 0].tolist()
    return [(b, int(places.last[b]), kinds[int(places.kind[b])]) for b in begins]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O B-A I-A O", [(1, 2, "A")]),
        ("B-A B-A I-A B-B", [(0, 0, "A"), (1, 2, "A"), (3, 3, "B")]),
        ("I-A I-A O I-B", [(0, 1, "A"), (3, 3, "B")]),  # IOB1, and BIO that is broken
        ("I-A B-A I-A", [(0, 0, "A"), (1, 2, "A")]),
        ("B-A I-B I-B", [(0, 0, "A"), (1, 2, "B")]),
        ("S-A B-A E-A S-A", [(0, 0, "A"), (1, 2, "A"), (3, 3, "A")]),
        ("B-A E-A I-A E-A", [(0, 1, "A"), (2, 3, "A")]),
        ("S-A I-A O", [(0, 0, "A"), (1, 1, "A")]),
        ("U-A B-A L-A", [(0, 0, "A"), (1, 2, "A")]),
        ("B I O B", [(0, 1, ""), (3, 3, "")]),
        ("O O", []),
    ],
)
def test_spans_are_read_as_conlleval_reads_them(tags, expected):
    assert found(tags) == expected


def test_a_negative_tag_parts_two_sentences():
    labels = ["O", "I-A"]
    places = spans(torch.tensor([1, -1, 1, 1, -1]), labels)
    assert places.begins.tolist() == [True, False, True, False, False]
    assert places.last[[0, 2]].tolist() == [0, 3]
    assert not spans(torch.tensor([], dtype=torch.int64), labels).begins.numel()


@pytest.mark.parametrize(
    ("sentences", "scheme"),
    [
        (["O B-A I-A", "B-A B-A"], "BIO"),
        (["O I-A I-A", "O B-A I-A"], "IOB1"),
        (["O I-A"], "IOB1"),
        (["S-A O B-A E-A", "B-A I-A E-A"], "IOBES"),
        (["O B-A I-A E-A", "S-A B-A O"], "IOB1"),  # a span that is never ended
        (["U-A O B-A L-A"], "BILOU"),
        (["B I O"], "BIO"),
        (["NOUN VERB"], None),
        (["O X Y"], None),
        (["B-A I-A"], None),  # no O: may be anything
        (["S-A O"], None),
        (["O B-A E-A L-A"], None),
    ],
)
def test_the_scheme_is_what_all_tags_follow(sentences, scheme):
    sequences = [text.split() for text in sentences]
    steps = {step for tags in sequences for step in pairwise([None, *tags, None])}
    assert scheme_of(sorted({tag for tags in sequences for tag in tags}), steps) == scheme


def test_in_bio_an_inside_follows_only_its_own_kind():
    refused = forbidden_steps(BIO, "BIO")
    border = 5
    wrong = {(0, 2), (0, 4), (1, 4), (2, 4), (3, 2), (4, 2), (border, 2), (border, 4)}
    assert {tuple(step) for step in refused.nonzero().tolist()} == wrong


def test_in_iobes_a_span_that_was_begun_must_end():
    labels = ["O", "B-A", "I-A", "E-A", "S-A", "E-B"]
    refused = forbidden_steps(labels, "IOBES")
    O, B, I, E, S, other, border = range(7)
    allowed = {(i, j) for i in (B, I) for j in (I, E)} | {
        (i, j) for i in (O, E, S, other, border) for j in (O, B, S, border)
    }
    assert {tuple(step) for step in (~refused).nonzero().tolist()} == allowed
    same = ["O", "B-A", "I-A", "L-A", "U-A", "L-B"]
    assert (forbidden_steps(same, "BILOU") == refused).all()


@pytest.mark.parametrize("scheme", ["IOB1", None])
def test_other_schemes_forbid_nothing(scheme):
    assert not forbidden_steps(BIO, scheme).any()
