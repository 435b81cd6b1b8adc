"""Connections past a layer: what the next layer gets, made of a layer's input and output."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rnnzoo.errors import RnnZooError, did_you_mean


class Connection(nn.Module):
    """From a layer's input x (..., input_size) and output y (..., output_size) to what the next layer gets.

    Args:
        input_size: features of x.
        output_size: features of y, of both directions together; as an attribute, features of what comes out.
    """

    def __init__(self, input_size: int, output_size: int):
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        raise RnnZooError(f"connection {type(self).__name__} must define forward(x, y)")


class Residual(Connection):
    """He et al. 2016: x + y; where their sizes differ, V x + y with a learned V."""

    def __init__(self, input_size: int, output_size: int):
        super().__init__(input_size, output_size)
        self.skip = nn.Identity() if input_size == output_size else nn.Linear(input_size, output_size, bias=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.skip(x) + y


class Highway(Residual):
    """Srivastava et al. 2015: t y + (1 - t) x with t = σ(W x + b), b from -1; V x for x where sizes differ."""

    def __init__(self, input_size: int, output_size: int):
        super().__init__(input_size, output_size)
        self.gate = nn.Linear(input_size, output_size)
        nn.init.constant_(self.gate.bias, -1.0)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        t = self.gate(x).sigmoid()
        return t * y + (1 - t) * self.skip(x)


class Dense(Connection):
    """Huang et al. 2017: x and y side by side, so that a layer gets what all before it have given."""

    def __init__(self, input_size: int, output_size: int):
        super().__init__(input_size, output_size)
        self.output_size = input_size + output_size

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([x, y], -1)


CONNECTIONS: dict[str, Callable[[int, int], Connection]] = {"residual": Residual, "highway": Highway, "dense": Dense}


def connection(which: str | Callable[[int, int], nn.Module]) -> Callable[[int, int], nn.Module]:
    """What makes a connection: one of the names above, or itself.

    Raises:
        RnnZooError: an unknown name.
    """
    if not isinstance(which, str):
        return which
    if which not in CONNECTIONS:
        raise RnnZooError(
            f"unknown connection {which!r}{did_you_mean(which, CONNECTIONS)} there are: {', '.join(CONNECTIONS)}"
        )
    return CONNECTIONS[which]
