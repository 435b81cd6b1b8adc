"""``rnnzoo plot forecast``: the forecasts of a checkpoint as a picture."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from rnnzoo.errors import RnnZooError, did_you_mean

_KINDS = (".png", ".svg", ".pdf")
_MOST = 6  # windows that are drawn unasked


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``rnnzoo plot forecast``."""
    parser.add_argument("checkpoint", help="of a forecaster: <run>/checkpoints/best.ckpt")
    parser.add_argument("--output", help="the picture: .png, .svg or .pdf (default: forecast.png in the run's folder)")
    parser.add_argument("--series", action="append", metavar="ID", help="which to draw; may be given several times")
    parser.add_argument("--windows", type=int, default=1, help="origins of each series, the last ones (default: 1)")


def run(given: argparse.Namespace) -> int:
    """Draws the last windows of the checkpoint's data.

    Raises:
        RnnZooError: no forecaster's checkpoint, a series that there is not, or a picture that cannot be written.
    """
    from rnnzoo.cli.from_checkpoint import data_of
    from rnnzoo.data.series import SeriesData
    from rnnzoo.tasks.checkpoints import load_task, read_checkpoint
    from rnnzoo.tasks.confusion_picture import owner
    from rnnzoo.tasks.forecasting import Forecaster
    from rnnzoo.training.forecast_picture import FORECAST, draw_forecasts

    model = load_task(given.checkpoint)
    data = data_of(read_checkpoint(given.checkpoint), given.checkpoint, predict_split="backtest")
    if not isinstance(model, Forecaster) or not isinstance(data, SeriesData):
        raise RnnZooError(f"checkpoint {given.checkpoint!r} holds a {type(model).__name__}, not a Forecaster")
    if given.windows < 1:
        raise RnnZooError(f"--windows={given.windows} must be at least 1")
    data.backtest_windows = given.windows
    path = Path(given.output or (owner(given.checkpoint) or Path.cwd()) / FORECAST)
    if path.suffix.lower() not in _KINDS:
        raise RnnZooError(f"--output {given.output!r} must end in one of {', '.join(_KINDS)}")
    shown = _windows(model, data, _chosen(data, given.series), given.series is None)
    try:
        draw_forecasts(shown, model.quantiles, path)
    except OSError as error:
        raise RnnZooError(f"--output {str(path)!r} cannot be written: {error.strerror}") from error
    print(f"{len(shown)} {'forecast' if len(shown) == 1 else 'forecasts'} in {path}")
    return 0


def _chosen(data: Any, names: list[str] | None) -> set[int]:
    ids = [str(one) for one in data.panel.ids]
    if names is None or not ids:
        if names:
            raise RnnZooError(f"--series {names[0]!r}: the data are one series, without an id")
        return set(range(len(data.panel)))
    if unknown := [name for name in names if name not in ids]:
        near = did_you_mean(unknown[0], ids)
        raise RnnZooError(f"--series {unknown[0]!r} is not in the data{near} there are: {', '.join(ids[:20])}")
    return {ids.index(name) for name in names}


def _windows(model: Any, data: Any, chosen: set[int], some: bool) -> list[Any]:
    import torch

    from rnnzoo.training.forecast_picture import ShownForecast

    panel = data.panel
    made: list[ShownForecast] = []
    for batch in data.predict_dataloader():
        with torch.no_grad():
            quantiles = model(batch).numpy()
        for k in range(len(batch.origin)):
            series = 0 if batch.series is None else int(batch.series[k])
            if series not in chosen or (some and len(made) == _MOST):
                continue
            origin, seen = int(batch.origin[k]), min(batch.past.shape[1], 3 * data.horizon)
            places = np.arange(origin - seen, origin + data.horizon)
            times = panel.times_at(np.array([series]), places[None])
            where = places if times is None else np.asarray(panel.as_times(times[0]))
            name = panel.name(series).removeprefix("the ")
            made.append(
                ShownForecast(
                    f"{name}, from {where[seen]} on" if times is None else f"{name}, from {str(where[seen])[:16]} on",
                    where[:seen],
                    batch.past[k, -seen:].numpy(),
                    where[seen:],
                    batch.future[k].numpy(),
                    quantiles[k],
                )
            )
    return made
