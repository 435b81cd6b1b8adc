"""Covariates in units of their spread in the training part."""

from collections.abc import Mapping

import numpy as np

from rnnzoo.data.covariates import Covariate
from rnnzoo.data.panel import Panel
from rnnzoo.data.panel_rows import PanelRows
from rnnzoo.data.pieces import mean_and_std, rows_within


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
    training = rows_within(panel.starts, first, stop)
    made: dict[str, Covariate] = {}
    for field, names in rows.groups.items():
        numbers, at = getattr(panel, field), 0
        where = stop > first if field == "static" else training
        for name in names:
            covariate = rows.covariates[name]
            if covariate.labels is None:
                if learned is None or name not in learned:
                    mean, std = mean_and_std(numbers[:, at], where)
                    covariate = Covariate(None, mean, std or 1.0)
                numbers[:, at] -= covariate.mean  # in place: a column may be as long as memory allows
                numbers[:, at] /= covariate.std
            made[name] = covariate
            at += covariate.width
        setattr(panel, field, numbers.astype(np.float32, copy=False))
    return made


def standardised(panel: Panel, covariates: Mapping[str, Covariate]) -> Panel:
    """A panel whose covariates known ahead are, in place, as they were in training: in the order of `covariates`."""
    at = 0
    for covariate in covariates.values():
        if covariate.labels is None:
            panel.known[:, at] = (panel.known[:, at] - covariate.mean) / covariate.std
        at += covariate.width
    return panel
