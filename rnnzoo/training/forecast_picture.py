"""Forecasts as a picture: the past, what came, the median and the bands."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FORECAST = "forecast.png"


@dataclass
class ShownForecast:
    """One window.

    Args:
        title: of it.
        before: where the past lies (T,), times or numbers.
        past: its values (T,).
        ahead: where the steps ahead lie (K,).
        truth: what came (K,); NaN where that is not known.
        quantiles: (K, Q), rising.
    """

    title: str
    before: Any
    past: np.ndarray
    ahead: Any
    truth: np.ndarray
    quantiles: np.ndarray


def draw_forecasts(shown: Sequence[ShownForecast], levels: Sequence[float], path: Path) -> None:
    """Draws windows below one another.

    Args:
        shown: the windows.
        levels: of the quantiles, with 0.5 among them.
        path: of the picture.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    from rnnzoo.training.curve import new_figure, save

    median = list(levels).index(0.5)
    figure, axes = new_figure(len(shown), (5.5, 2.8))
    for one, ax in zip(shown, axes, strict=True):
        ax.plot(one.before, one.past, color="0.35", lw=1, label="past")
        if not np.isnan(one.truth).all():
            ax.plot(one.ahead, one.truth, color="0.35", lw=1, ls=":", label="what came")
        for k in range(min(median, len(levels) - 1 - median)):
            low, high = one.quantiles[:, k], one.quantiles[:, -1 - k]
            share = levels[-1 - k] - levels[k]
            alpha = 0.15 + 0.2 * k
            ax.fill_between(one.ahead, low, high, color="C0", alpha=alpha, lw=0, label=f"{share:.0%} band")
        ax.plot(one.ahead, one.quantiles[:, median], color="C0", lw=1.4, label="median")
        ax.set_title(one.title.replace("$", r"\$"), fontsize=9, loc="left")
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
        ax.margins(y=0.15)  # room for the legend
        if isinstance(locator := ax.xaxis.get_major_locator(), AutoDateLocator):
            ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # whole dates beside one another overlap
            ax.xaxis.get_offset_text().set_fontsize(8)
    axes[0].legend(frameon=False, fontsize=8, loc="upper left", ncols=4)
    save(figure, path)
