"""What taggers are compared with: a word's most frequent tag, and a CRF over features made by hand."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import torch

from rnnzoo.errors import RnnZooError

Tagged = tuple[list[list[str]], list[list[str]]]  # sentences, and their tags


def tagging_baselines(train: Tagged, test: Tagged, labels: Sequence[str], scheme: str | None) -> dict[str, float]:
    """The accuracy of both on `test`, and the span F1 where tags mark spans, by name.

    Args:
        train, test: sentences and their tags.
        labels: all tags.
        scheme: of tags that mark spans; None for others.

    Raises:
        RnnZooError: `sklearn-crfsuite` is not installed.
    """
    found = {
        "most frequent tag of each word": most_frequent(train, test[0]),
        "CRF with hand-made features (sklearn-crfsuite)": crf_suite(train, test[0]),
    }
    figures = {f"{name}: accuracy": _accuracy(tags, test[1]) for name, tags in found.items()}
    if scheme is not None:
        figures |= {f"{name}: span F1": _span_f1(tags, test[1], labels) for name, tags in found.items()}
    return figures


def most_frequent(train: Tagged, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
    """Of each word the tag that it has most often in `train`, and of one that is not there the most frequent of all."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for words, tags in zip(*train, strict=True):
        for word, tag in zip(words, tags, strict=True):
            counts[word][tag] += 1
    best = {word: own.most_common(1)[0][0] for word, own in counts.items()}
    ((other, _),) = sum(counts.values(), Counter()).most_common(1)
    return [[best.get(word, other) for word in words] for words in sentences]


def crf_suite(train: Tagged, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
    """Tags by `sklearn_crfsuite.CRF` (L-BFGS, c1 and c2 0.1, at most 100 iterations) over `features`."""
    try:
        from sklearn_crfsuite import CRF
    except ImportError as error:
        raise RnnZooError("baseline=true needs sklearn-crfsuite: pip install 'rnnzoo[text]'") from error
    crf = CRF(algorithm="lbfgs", c1=0.1, c2=0.1, max_iterations=100, all_possible_transitions=True)
    crf.fit([list(features(words)) for words in train[0]], train[1])
    return [list(tags) for tags in crf.predict([list(features(words)) for words in sentences])]


def features(words: Sequence[str]) -> Iterator[dict[str, str | bool | float]]:
    """Of each word its form, beginnings, endings and shape, and the forms and shapes of the two on either side."""
    for t, word in enumerate(words):
        low = word.lower()
        own: dict[str, str | bool | float] = {"bias": 1.0, "word": low, **_shape(word, "")}
        own |= {f"ending {n}": low[-n:] for n in range(1, 5)} | {f"beginning {n}": low[:n] for n in range(1, 4)}
        for step in (-2, -1, 1, 2):
            if 0 <= t + step < len(words):
                other = words[t + step]
                own |= {
                    f"{step}:word": other.lower(),
                    f"{step}:ending": other[-3:].lower(),
                    **_shape(other, f"{step}:"),
                }
            else:
                own[f"{step}:none"] = True
        yield own


def _shape(word: str, where: str) -> dict[str, str | bool | float]:
    return {
        f"{where}upper": word.isupper(),
        f"{where}title": word.istitle(),
        f"{where}digit": any(c.isdigit() for c in word),
        f"{where}letter": any(c.isalpha() for c in word),
    }


def _accuracy(found: Sequence[Sequence[str]], wanted: Sequence[Sequence[str]]) -> float:
    right = [a == b for ours, theirs in zip(found, wanted, strict=True) for a, b in zip(ours, theirs, strict=True)]
    return sum(right) / len(right)


def _span_f1(found: Sequence[Sequence[str]], wanted: Sequence[Sequence[str]], labels: Sequence[str]) -> float:
    from rnnzoo.tasks.span_scores import SpanScore

    score, place = SpanScore(labels), {label: k for k, label in enumerate(labels)}
    for ours, theirs in zip(found, wanted, strict=True):
        score.update(*(torch.tensor([place[tag] for tag in tags]) for tags in (ours, theirs)))
    return float(score.compute())
