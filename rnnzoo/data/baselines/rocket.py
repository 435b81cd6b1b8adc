"""ROCKET of sktime: what the models of labelled series are compared with."""

import os

import numpy as np

from rnnzoo.data.series_arrays import SeriesExamples
from rnnzoo.errors import RnnZooError


def rocket(
    train: SeriesExamples, validation: SeriesExamples, test: SeriesExamples, classes: bool, seed: int | None = None
) -> dict[str, float]:
    """Figures on the test part by their names, of 10,000 random kernels and a ridge (Dempster et al. 2020).

    It needs no validation: it is fitted on both other parts. It takes series of one length: shorter ones are filled up
    behind their end with the mean of the training part.

    Args:
        train, validation: what it is fitted on.
        test: what the figures are of.
        classes: whether answers are classes, or numbers.
        seed: of the kernels; by default what `seed_everything` said.

    Raises:
        RnnZooError: sktime or numba is not installed.
    """
    check_installed()
    from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, mean_squared_error
    from sktime.classification.kernel_based import RocketClassifier
    from sktime.regression.kernel_based import RocketRegressor

    longest = max(int(np.diff(part.offsets).max()) for part in (train, validation, test))
    x = np.concatenate([_of_one_length(part, longest) for part in (train, validation)])
    y = np.concatenate([train.answers, validation.answers])
    seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if seed is None else seed
    model = (RocketClassifier if classes else RocketRegressor)(random_state=seed)
    found = model.fit(x, y).predict(_of_one_length(test, longest))
    if classes:
        macro = f1_score(test.answers, found, average="macro", zero_division=0)
        figures = {"accuracy": accuracy_score(test.answers, found), "macro F1": macro}
    else:
        figures = {
            "mean squared error": mean_squared_error(test.answers, found),
            "mean absolute error": mean_absolute_error(test.answers, found),
        }
    return {f"ROCKET: {name}": float(value) for name, value in figures.items()}


def check_installed() -> None:
    """Raises RnnZooError where sktime or what its ROCKET needs is not installed."""
    try:
        import numba  # noqa: F401  # whether it is there, before the training
        import sktime  # noqa: F401
    except ImportError as error:
        raise RnnZooError(f"data.baseline needs {error.name}: pip install 'rnnzoo[demo]'") from error


def _of_one_length(part: SeriesExamples, length: int) -> np.ndarray:
    """(N, I, T) float64."""
    made = np.zeros((len(part), part.x.shape[1], length))
    for k in range(len(part)):
        own = part.x[part.offsets[k] : part.offsets[k + 1]]
        made[k, :, : len(own)] = own.numpy().T
    return made
