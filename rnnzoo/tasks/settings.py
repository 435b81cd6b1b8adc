"""Every setting that tasks share, in one place."""

from dataclasses import asdict, dataclass
from typing import Any

from rnnzoo.models.layers import Layers
from rnnzoo.training.optimizers import Optimization


@dataclass(kw_only=True)
class Settings(Optimization, Layers):
    """The settings of the recurrent layers, `Layers`, and of training them, `Optimization`."""

    def __post_init__(self) -> None:
        Layers.__post_init__(self)
        Optimization.__post_init__(self)

    def values(self) -> dict[str, Any]:
        """All of them by name, in plain values, as a checkpoint keeps them."""
        return {name: value for name, value in asdict(self).items() if name != "rnn_args"}
