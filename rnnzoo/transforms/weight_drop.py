"""Weight drop: DropConnect on the recurrent weights of any cell."""

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from rnnzoo.errors import RnnZooError


class _Dropped(nn.Module):
    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, weight: Tensor) -> Tensor:
        return F.dropout(weight, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def weight_drop(module: nn.Module, p: float, name: str = "weight_hh") -> nn.Module:
    """Drops weights in training, the same for a whole sequence: DropConnect on recurrent weights (Merity et al. 2018).

    Args:
        module: a cell, or an RNN, each of whose cells with a parameter `name` it changes in place.
        p: the part of the weights that is dropped in each call; in [0, 1). 0 changes nothing.
        name: the parameter.

    Returns:
        `module`.

    Raises:
        RnnZooError: p out of range, or no parameter of this name.
    """
    if not 0 <= p < 1:
        raise RnnZooError(f"weight_drop must be in [0, 1), not {p}")
    owners = [m for m in module.modules() if name in m._parameters and m._parameters[name] is not None]
    if not owners:
        raise RnnZooError(f"{type(module).__name__} has no parameter {name!r} whose weights could be dropped")
    for owner in owners if p else ():
        parametrize.register_parametrization(owner, name, _Dropped(p))
    return module
