"""Figures of written texts against counts by hand and against sacrebleu over all texts at once."""

import pytest
import sacrebleu
import torch

from rnnzoo import RnnZooError
from rnnzoo.tasks.text_figures import (
    SacreScore,
    SequenceErrorRate,
    TokenErrorRate,
    check_figures,
    nearest,
    translation_scores,
)

WRITTEN = ["K AE T", "D AO G Z", "", "B AH T ER"]
RIGHT = [["K AE T"], ["D AA G", "D AO G"], ["AH"], ["B EH T ER", "B AH D ER Z"]]


def distance(a: list[str], b: list[str]) -> int:
    """Levenshtein's, by recursion."""
    if not a or not b:
        return len(a) + len(b)
    return min(distance(a[1:], b) + 1, distance(a, b[1:]) + 1, distance(a[1:], b[1:]) + (a[0] != b[0]))


def test_token_errors_are_counted_against_the_nearest_right_answer():
    metric = TokenErrorRate()
    for k in range(4):
        metric.update(WRITTEN[k : k + 1], RIGHT[k : k + 1])
    errors = tokens = 0
    for text, answers in zip(WRITTEN, RIGHT, strict=True):
        best = min(answers, key=lambda answer: distance(text.split(), answer.split()))
        errors += distance(text.split(), best.split())
        tokens += len(best.split())
    assert (errors, tokens) == (3, 11)
    assert metric.compute().item() == pytest.approx(3 / 11)
    assert nearest("D AO G Z", RIGHT[1]) == "D AO G"


def test_a_text_is_right_where_it_is_one_of_its_answers():
    wrong, right = SequenceErrorRate(), SequenceErrorRate(right=True)
    for metric in (wrong, right):
        metric.update(WRITTEN, RIGHT)
        metric.update(["D AO  G"], [RIGHT[1]])
    assert wrong.compute().item() == pytest.approx(3 / 5)
    assert right.compute().item() == pytest.approx(2 / 5)


TEXTS = ["the lord said to them all", "and it was so, for ever.", "go", "he went up"]
ANSWERS = ["the lord said to him", "and it was so for ever and ever.", "do not go", "he went up to the town"]


@pytest.mark.parametrize("name", ["BLEU", "chrF"])
def test_scores_summed_over_batches_are_sacrebleus_over_all(name):
    metric = SacreScore(name)
    for part in (slice(0, 1), slice(1, 4)):
        metric.update(TEXTS[part], [[answer, "not this"] for answer in ANSWERS[part]])
    whole = {"BLEU": sacrebleu.corpus_bleu, "chrF": sacrebleu.corpus_chrf}[name](TEXTS, [ANSWERS]).score
    assert 10 < whole < 90
    assert metric.compute().item() == pytest.approx(whole, rel=1e-5)
    assert translation_scores(TEXTS, ANSWERS)[name] == pytest.approx(whole)


def test_scores_of_two_processes_are_those_of_one():
    one, two = SacreScore("BLEU"), SacreScore("BLEU")
    one.update(TEXTS[:2], [[a] for a in ANSWERS[:2]])
    two.update(TEXTS[2:], [[a] for a in ANSWERS[2:]])
    one.counts = one.counts + two.counts  # as the processes' are reduced
    assert one.compute().item() == pytest.approx(sacrebleu.corpus_bleu(TEXTS, [ANSWERS]).score, rel=1e-5)
    assert one._reductions["counts"] is not None


def test_counts_do_not_lose_precision_in_a_model_of_half_precision():
    metric = SacreScore("BLEU").to(torch.bfloat16)
    for _ in range(300):
        metric.update(TEXTS, [[a] for a in ANSWERS])
    assert metric.compute().item() == pytest.approx(sacrebleu.corpus_bleu(TEXTS * 300, [ANSWERS * 300]).score, rel=1e-4)


def test_unknown_figures_are_one_line():
    with pytest.raises(RnnZooError, match="figures 'eror' are unknown"):
        check_figures("eror")
