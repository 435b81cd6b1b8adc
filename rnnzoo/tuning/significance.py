"""What a few seeds say of the difference between cells."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

LEVEL = 0.05


def mean_and_interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and half the width of its 95 % interval by Student's t; NaN for one value alone."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, math.nan
    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return mean, float(stats.t.ppf(1 - LEVEL / 2, len(values) - 1)) * spread


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction (1979) of p-values, in their order."""
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, k in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[k]))
        corrected[k] = highest
    return corrected


def against_best(values: Mapping[str, Sequence[float]], sign: int) -> tuple[str, dict[str, float]]:
    """The best by its mean, and for each other the p-value of Welch's t-test against it, by Holm's correction.

    Args:
        values: of each name, one a seed.
        sign: 1 where the lowest is the best, -1 where the highest is.
    """
    best = min(values, key=lambda name: sign * float(np.mean(values[name])))
    others = [name for name in values if name != best]
    return best, dict(zip(others, holm([_welch(values[best], values[name]) for name in others]), strict=True))


def _welch(one: Sequence[float], other: Sequence[float]) -> float:
    if min(len(one), len(other)) < 2:
        return 1.0
    if np.ptp(one) == 0 and np.ptp(other) == 0:  # no spread to measure a difference by
        return float(one[0] == other[0])
    return float(stats.ttest_ind(one, other, equal_var=False).pvalue)


def verdicts(values: Mapping[str, Sequence[float]], sign: int) -> list[str]:
    """A sentence for each that is not the best: whether the seeds tell it from the best."""
    if len(values) < 2:
        return []
    best, p_values = against_best(values, sign)
    made = []
    for name, p in p_values.items():
        seeds = min(len(values[best]), len(values[name]))
        if seeds < 2:
            made.append(f"1 seed does not tell {best} from {name}: nothing is known of the spread")
        elif p < LEVEL:
            made.append(f"{best} is better than {name} (p = {p:.2g})")
        else:
            made.append(f"{seeds} seeds do not tell {best} from {name} (p = {p:.2g})")
    return made
