"""Where a decoder looks while it writes, as a picture."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from rnnzoo.training.curve import save

_LABEL = 0.24  # inches for each token
_MOST = 60  # tokens of a side


def draw_attention(weights: Tensor, source: Sequence[str], target: Sequence[str], path: Path) -> None:
    """Draws weights (T, S), source tokens from left to right, target tokens from top to bottom, dark for 1.

    Args:
        weights: of each source token at each target token, in [0, 1].
        source, target: the tokens.
        path: of the picture.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    source, target = source[:_MOST], target[:_MOST]
    shown = weights[: len(target), : len(source)].float().cpu().numpy()
    size = (1.8 + _LABEL * len(source), 1.4 + _LABEL * len(target))
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    ax.imshow(shown, cmap="Greys", vmin=0, vmax=1, aspect="equal")
    ax.set_xticks(range(len(source)), [_shown(token) for token in source], rotation=90, fontsize=9)
    ax.set_yticks(range(len(target)), [_shown(token) for token in target], fontsize=9)
    ax.xaxis.tick_top()
    save(figure, path)


def _shown(token: str) -> str:
    """A token as text, of which matplotlib takes nothing for mathematics; Ġ begins a word in byte-pair encoding."""
    return token.replace("Ġ", "␣").replace("$", r"\$")
