"""The cells of this project."""

from torch import Tensor

from rnnzoo.cells import GatedCell, Hidden


class UpdateGated(GatedCell):
    """A cell to start from: one gate says how much of the state is kept.

    c, g = W x_t + R h_{t-1} + b
    h_t = σ(g + keep) h_{t-1} + (1 - σ(g + keep)) tanh(c)

    Args:
        keep: added to the gate; above 0 more is kept. A config sets it by cell_args.
    """

    gates = 2  # W, R and b have this many rows of hidden_size units: here c and g
    State = Hidden  # what goes on to the next step: a NamedTuple of tensors (B, H); Hidden has one, h

    def __init__(self, input_size: int, hidden_size: int, *, keep: float = 1.0, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.keep = keep

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        """The state after `s`; `wx` is W x + b and `rh` is R h + b, both (B, gates * H)."""
        c, g = (wx + rh).chunk(2, -1)
        kept = (g + self.keep).sigmoid()
        return Hidden(kept * s.h + (1 - kept) * c.tanh())
