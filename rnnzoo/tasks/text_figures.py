"""How near written texts are to what is right: error rates of tokens and sequences, BLEU and chrF."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.text import word_error_rate
from torchmetrics.text import WordErrorRate

from rnnzoo.data.windows import exact_dtype
from rnnzoo.errors import RnnZooError, did_you_mean


class TokenErrorRate(WordErrorRate):
    """Insertions, deletions and substitutions to the nearest reference, over its tokens: phonemes, words.

    Tokens are what stands between spaces; the nearest reference is the first of those with the fewest errors.
    """

    def update(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        """Adds texts, each with its right answers."""
        for text, answers in zip(predictions, references, strict=True):
            super().update(text, nearest(text, answers))


class SequenceErrorRate(Metric):
    """The share of texts that are no reference of theirs, token by token; with `right`, of those that are one."""

    wrong: Tensor
    total: Tensor

    def __init__(self, right: bool = False) -> None:
        super().__init__()
        self.right = right
        for name in ("wrong", "total"):
            self.add_state(name, torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        """Adds texts, each with its right answers."""
        for text, answers in zip(predictions, references, strict=True):
            self.wrong += text.split() not in [answer.split() for answer in answers]
            self.total += 1

    def compute(self) -> Tensor:
        share = self.wrong / self.total
        return 1 - share if self.right else share


class SacreScore(Metric):
    """A score of `sacrebleu` over all texts, from 0 to 100, as it computes it; counts are summed over processes.

    Args:
        score: "BLEU" (Papineni et al. 2002; Post 2018) or "chrF" (Popović 2015).
    """

    counts: Tensor

    def __init__(self, score: str) -> None:
        super().__init__()
        self._score = _score(score)
        width = len(self._score._extract_corpus_statistics(["a"], [["a"]])[0])
        self.add_state("counts", torch.zeros(width), dist_reduce_fx="sum")

    def update(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        """Adds texts, each with its right answers, of which the first counts."""
        first = [answers[0] for answers in references]
        found = self._score._extract_corpus_statistics(list(predictions), [first])  # by sentence: no public way to sum
        self.counts = self.counts + torch.tensor(found, device=self.counts.device).sum(0).to(
            exact_dtype(self.counts.device)
        )

    def compute(self) -> Tensor:
        counts = [int(c) for c in self.counts.tolist()]
        return torch.tensor(self._score._compute_score_from_stats(counts).score)


FIGURES: dict[str, Callable[[], dict[str, Metric]]] = {
    "errors": lambda: {
        "token_error_rate": TokenErrorRate(),
        "sequence_error_rate": SequenceErrorRate(),
        "exact_match": SequenceErrorRate(right=True),
    },
    "translation": lambda: {"BLEU": SacreScore("BLEU"), "chrF": SacreScore("chrF")},
}


def check_figures(name: str) -> str:
    """The name of a family of figures.

    Raises:
        RnnZooError: there is none of that name.
    """
    if name not in FIGURES:
        raise RnnZooError(f"figures {name!r} are unknown{did_you_mean(name, FIGURES)} there are: {', '.join(FIGURES)}")
    return name


def nearest(text: str, answers: Sequence[str]) -> str:
    """The reference with the fewest errors."""
    if len(answers) == 1:
        return answers[0]
    return min(answers, key=lambda answer: float(word_error_rate(text, answer)) * len(answer.split()))


def translation_scores(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """BLEU and chrF of texts, each with one right answer, from 0 to 100."""
    return {
        name: float(_score(name).corpus_score(list(predictions), [list(references)]).score) for name in ("BLEU", "chrF")
    }


def _score(name: str) -> Any:
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise RnnZooError("translations are scored by another package: pip install 'rnnzoo[text]'") from error
    return BLEU() if name == "BLEU" else CHRF()
