"""Covariates in units of their spread in the training part."""

from collections.abc import Mapping

import numpy as np

from rnnzoo.data.covariates import Covariate
from rnnzoo.data.panel import Panel
from rnnzoo.data.panel_rows import PanelRows


def standardise(
    rows: PanelRows, first: np.ndarray, stop: np.ndarray, learned: Mapping[str, Covariate] | None
) -> dict[str, Covariate]:
    """Standardises the covariates of numbers in a panel, which become float32.

    Args:
        rows: whose panel it is.
        first, stop: (S,) of the training part in each series.
        learned: covariates as they were in a training; None to learn them here.

    Returns:
        The covariates by their names.
    """
    panel = rows.panel
    inside = np.zeros(len(panel.values) + 1, np.int32)  # 1 within the training part, as a running sum of steps
    np.add.at(inside, panel.starts[:-1] + first, 1)
    np.add.at(inside, panel.starts[:-1] + np.maximum(stop, first), -1)
    training = np.cumsum(inside)[:-1] > 0
    made: dict[str, Covariate] = {}
    for field, names in rows.groups.items():
        numbers, at = getattr(panel, field), 0
        where = stop > first if field == "static" else training
        for name in names:
            covariate = rows.covariates[name]
            if covariate.labels is None:
                if learned is None or name not in learned:
                    own = numbers[where, at]
                    covariate = Covariate(None, float(own.mean()), float(own.std()) or 1.0)
                numbers[:, at] = (numbers[:, at] - covariate.mean) / covariate.std
            made[name] = covariate
            at += covariate.width
        setattr(panel, field, numbers.astype(np.float32))
    return made


def standardised(panel: Panel, covariates: Mapping[str, Covariate]) -> Panel:
    """A panel whose covariates known ahead are, in place, as they were in training: in the order of `covariates`."""
    at = 0
    for covariate in covariates.values():
        if covariate.labels is None:
            panel.known[:, at] = (panel.known[:, at] - covariate.mean) / covariate.std
        at += covariate.width
    return panel
