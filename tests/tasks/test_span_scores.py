"""Scores of spans beside cases that were counted by hand, and beside sets of spans."""

import pytest
import torch

from rnnzoo.tasks.span_scores import SpanScore

LABELS = ["O", "B-A", "I-A", "B-B", "I-B"]
KINDS = ("precision", "recall", "f1")


def scores(pairs, together=True):
    """The three scores of (prediction, target), sentences of tags; in one batch, or each in its own."""
    wide = max(len(p.split()) for p, _ in pairs) + 1
    rows = [[[LABELS.index(t) for t in side.split()] for side in pair] for pair in pairs]
    metrics = [SpanScore(LABELS, kind) for kind in KINDS]
    if together:
        rest = [wide - len(prediction) for prediction, _ in rows]
        # what is predicted behind a sentence's end is a span, which must not count
        prediction = torch.tensor([p + [1] * n for (p, _), n in zip(rows, rest, strict=True)])
        target = torch.tensor([t + [-100] * n for (_, t), n in zip(rows, rest, strict=True)])
        batches = [(prediction, target)]
    else:
        batches = [(torch.tensor(p), torch.tensor(t)) for p, t in rows]
    for metric in metrics:
        for batch in batches:
            metric.update(*batch)
    return [metric.compute().item() for metric in metrics]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        # right; too short; of another kind; missed, and one made up: 1 of 4 predicted, 1 of 4 wanted
        (
            [("B-A I-A O B-A O", "B-A I-A O B-A I-A"), ("B-A O O B-B", "B-B O B-A O")],
            (1 / 4, 1 / 4, 1 / 4),
        ),
        ([("B-A O", "B-A B-A")], (1, 1 / 2, 2 / 3)),
        ([("B-A I-A", "B-A B-A")], (0, 0, 0)),
        ([("I-A I-A O", "B-A I-A O")], (1, 1, 1)),  # as conlleval has it
        ([("O", "O")], (0, 0, 0)),
        ([("O I-A", "O I-A"), ("I-A O", "I-A O")], (1, 1, 1)),  # two spans, not one over the end of a sentence
    ],
)
def test_spans_count_as_by_hand(pairs, expected, together):
    assert scores(pairs, together) == pytest.approx(expected)


def test_spans_count_as_sets_of_them_do():
    def as_set(tags):
        made, open_ = set(), None
        for t, tag in enumerate([*tags, "O"]):
            if open_ is not None and not (tag[0] == "I" and tag[2:] == open_[1]):
                made.add((open_[0], t - 1, open_[1]))
                open_ = None
            if tag != "O" and open_ is None:
                open_ = t, tag[2:]
        return made

    draw = torch.Generator().manual_seed(3)
    prediction = torch.randint(5, (40, 7), generator=draw)
    target = prediction.where(torch.rand(40, 7, generator=draw) < 0.8, torch.randint(5, (40, 7), generator=draw))
    right = found = wanted = 0
    for p, t in zip(prediction.tolist(), target.tolist(), strict=True):
        ours, theirs = as_set([LABELS[k] for k in p]), as_set([LABELS[k] for k in t])
        right, found, wanted = right + len(ours & theirs), found + len(ours), wanted + len(theirs)
    assert 0 < right < found
    expected = (right / found, right / wanted, 2 * right / (found + wanted))
    for kind, value in zip(KINDS, expected, strict=True):
        metric = SpanScore(LABELS, kind)
        metric.update(prediction[:23], target[:23])
        metric.update(prediction[23:], target[23:])
        assert metric.compute().item() == pytest.approx(value)
