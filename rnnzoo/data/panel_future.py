"""What is known of the steps behind the end of a panel, from a file of the future."""

from typing import Any

import numpy as np

from rnnzoo.data.handed import shown
from rnnzoo.data.panel import Panel
from rnnzoo.errors import RnnZooError


def with_future(panel: Panel, coming: Panel, future: Any) -> tuple[Panel, np.ndarray]:
    """The panel with the steps to come behind each series, whose values are NaN; and which series (M,) have some.

    Args:
        panel: the past.
        coming: the covariates known ahead of the future, in the same columns and series.
        future: the data set that they are from, for messages.

    Raises:
        RnnZooError: a series that the past has not; times that do not go on where its past ends.
    """
    what = f"future={shown(future)}"
    place = {one: k for k, one in enumerate(panel.ids)} if len(panel.ids) else {None: 0}
    ids = list(coming.ids) if len(coming.ids) else [None]
    if unknown := [one for one in ids if one not in place]:
        raise RnnZooError(f"{what} has the series {unknown[0]!r}, which the data have not")
    steps = np.zeros(len(panel), np.int64)
    source: dict[int, int] = {}
    for j, one in enumerate(ids):
        k = place[one]
        source[k] = j
        steps[k] = coming.starts[j + 1] - coming.starts[j]
        if panel.times is not None:
            _check_times(panel, k, coming, j, what)
    lengths = np.diff(panel.starts)
    bounds = np.concatenate([[0], np.cumsum(lengths + steps)])
    rows = len(panel.values) + int(steps.sum())
    values = np.full(rows, np.nan)
    known = np.zeros((rows, panel.known.shape[1]), np.float32)
    past = np.zeros((rows, panel.past.shape[1]), np.float32)
    times = None if panel.times is None else np.zeros(rows, np.int64)
    for k, (a, b) in enumerate(zip(panel.starts[:-1], panel.starts[1:], strict=True)):
        at = slice(bounds[k], bounds[k] + b - a)
        values[at], known[at], past[at] = panel.values[a:b], panel.known[a:b], panel.past[a:b]
        if times is not None and panel.times is not None:
            times[at] = panel.times[a:b]
        if k in source:
            ahead = slice(bounds[k] + b - a, bounds[k + 1])
            own = slice(coming.starts[source[k]], coming.starts[source[k] + 1])
            known[ahead] = coming.known[own]
            if times is not None and coming.times is not None:
                times[ahead] = coming.times[own]
    made = Panel(values, bounds, panel.ids, times, panel.frequency, panel.clock, known, past, panel.static, steps)
    return made, np.flatnonzero(steps)


def _check_times(panel: Panel, k: int, coming: Panel, j: int, what: str) -> None:
    """Raises RnnZooError where the times of a series in the future are not the next ones."""
    assert panel.times is not None
    assert coming.times is not None
    last, own = panel.times[panel.starts[k + 1] - 1], coming.times[coming.starts[j] : coming.starts[j + 1]]
    if panel.frequency is None:
        return
    due = panel.frequency.after(np.full(len(own), last), np.arange(1, len(own) + 1))
    if (own == due).all():
        return
    first = int(np.flatnonzero(own != due)[0])
    number = panel.clock == "number"
    shown_time, shown_due, shown_last = (
        t if number else np.datetime64(int(t), "ns").astype("datetime64[s]") for t in (own[first], due[first], last)
    )
    if own[0] <= last:
        raise RnnZooError(
            f"{what} overlaps the past: {panel.name(k)} has values up to {shown_last}, and the future begins at"
            f" {np.datetime64(int(own[0]), 'ns').astype('datetime64[s]') if not number else own[0]}"
        )
    raise RnnZooError(
        f"{what} must go on in steps of {panel.frequency} where {panel.name(k)} ends, at {shown_last}: {shown_due} is"
        f" due, and {shown_time} is there"
    )
