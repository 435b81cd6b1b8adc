"""Several variables of the same steps, each forecast from the past of all."""

from collections.abc import Sequence

import numpy as np

from rnnzoo.data.covariates import Covariate
from rnnzoo.data.panel import Panel

VARIABLE = "(variable)"  # the static covariate that says which variable a series is


def series_of(names: Sequence[str], ids: Sequence[object] | None) -> list[list[str]]:
    """The ids of the series of each variable: of a wide table the variables' own, else the table's before them."""
    return [[name] if ids is None else [f"{one}/{name}" for one in ids] for name in names]


def join(panel: Panel, names: Sequence[str], with_ids: bool) -> dict[str, Covariate]:
    """Puts the values of all variables beside each as past covariates, and which it is as a static one.

    Args:
        panel: with a series for each of the variables, or for each of every id.
        names: V, of the variables.
        with_ids: whether the ids of series begin with those of a table.

    Returns:
        The covariates that were put in, by their names, in order: V of the past, which are not standardised yet, and
        one that is static.
    """
    place = {one: k for k, one in enumerate(panel.ids)}
    end = f"/{names[0]}"
    groups = [one.removesuffix(end) for one in panel.ids if one.endswith(end)] if with_ids else None
    others, which = np.zeros((len(panel.values), len(names))), np.zeros((len(panel), len(names)))
    for own in zip(*series_of(names, groups), strict=True):
        at = [slice(panel.starts[place[one]], panel.starts[place[one] + 1]) for one in own]
        values = np.stack([panel.values[steps] for steps in at], 1)
        for variable, (one, steps) in enumerate(zip(own, at, strict=True)):
            others[steps] = values
            which[place[one], variable] = 1.0
    panel.past = np.concatenate([panel.past, others], 1)
    panel.static = np.concatenate([panel.static, which], 1)
    return {name: Covariate() for name in names} | {VARIABLE: Covariate(tuple(names))}


def for_each(coming: Panel, names: Sequence[str]) -> Panel:
    """The steps to come, once for each variable."""
    ids = [one for own in series_of(names, coming.ids if len(coming.ids) else None) for one in own]
    times = len(names)
    lengths = np.tile(np.diff(coming.starts), times)
    return Panel(
        np.tile(coming.values, times),
        np.concatenate([[0], np.cumsum(lengths)]),
        ids,
        None if coming.times is None else np.tile(coming.times, times),
        coming.frequency,
        coming.clock,
        np.tile(coming.known, (times, 1)),
    )
