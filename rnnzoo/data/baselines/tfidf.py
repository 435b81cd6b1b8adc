"""TF-IDF with logistic regression: what a text classifier is compared with."""

import warnings
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from rnnzoo.errors import RnnZooError

NAME = "TF-IDF with logistic regression"
_TUNED = {"ngram_range": ((1, 1), (1, 2)), "C": (3.0, 30.0)}  # that are tried on the validation part
_MOST = 10_000_000  # characters of training text that these four fits are made on


class Texts(NamedTuple):
    """The texts of a part, and the ids of the labels of each."""

    texts: list[str]
    labels: list[list[int]]


def tfidf(train: Texts, validation: Texts, test: Texts, classes: int, several: bool = False) -> dict[str, float]:
    """Fractions on the test part by the name of the figure: with scikit-learn's defaults, and tuned.

    Tuned are the strength of the regularisation and whether pairs of words count, by the accuracy on the validation
    part; counts are by their logarithm. Long training texts are not tuned on.

    Args:
        train: what it learns from.
        validation: what the tuned one is chosen by.
        test: what the figures are of.
        classes: how many there are.
        several: whether a text may have any number of labels; then each is a regression of its own.

    Raises:
        RnnZooError: scikit-learn is not installed.
    """
    check_installed()
    from sklearn.metrics import accuracy_score, f1_score

    targets = [_target(part, classes, several) for part in (train, validation, test)]
    models = {NAME: _fit(train.texts, targets[0], several, {}, {})}
    if sum(map(len, train.texts)) <= _MOST:
        tried = [
            _fit(train.texts, targets[0], several, {"ngram_range": pairs, "sublinear_tf": True}, {"C": c})
            for pairs, c in product(*_TUNED.values())
        ]
        scores = [accuracy_score(targets[1], model.predict(validation.texts)) for model in tried]
        models[f"tuned {NAME}"] = tried[int(np.argmax(scores))]
    made: dict[str, float] = {}
    for name, model in models.items():
        found = model.predict(test.texts)
        figures = {"accuracy": accuracy_score(targets[2], found)}
        if several:
            figures = {
                "subset accuracy": accuracy_score(targets[2], found),
                "micro F1": f1_score(targets[2], found, average="micro", zero_division=0),
            }
        figures["macro F1"] = f1_score(targets[2], found, average="macro", zero_division=0)
        made |= {f"{name}: {figure}": float(value) for figure, value in figures.items()}
    return made


def check_installed() -> None:
    """Raises RnnZooError where scikit-learn is not installed."""
    try:
        import sklearn.metrics  # noqa: F401  # whether it is there, before hours of training
    except ImportError as error:
        raise RnnZooError("data.baseline needs scikit-learn: pip install 'rnnzoo[text]'") from error


def _target(part: Texts, classes: int, several: bool) -> np.ndarray:
    if not several:
        return np.array([ids[0] for ids in part.labels])
    target = np.zeros((len(part.labels), classes), dtype=np.int64)
    for row, ids in enumerate(part.labels):
        target[row, ids] = 1
    return target


def _fit(texts: list[str], target: np.ndarray, several: bool, words: dict[str, Any], regression: dict[str, Any]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    model = LogisticRegression(**regression)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a label that all texts have, or a fit that could go on
        return make_pipeline(TfidfVectorizer(**words), OneVsRestClassifier(model) if several else model).fit(
            texts, target
        )
