"""Initialisations that torch lacks: of a matrix, and of a cell or a whole RNN by what its gates are for."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from rnnzoo.cells.contract import Cell

M = TypeVar("M", bound=nn.Module)


def orthogonal_(W: Tensor) -> Tensor:
    """``nn.init.orthogonal_`` for weights of any dtype: its QR decomposition knows no half precision."""
    with torch.no_grad():
        return W.copy_(nn.init.orthogonal_(wide_like(W)))


def wide_like(W: Tensor) -> Tensor:
    """An empty tensor like W, in float32 at least, to compute W's first values in."""
    return torch.empty_like(W, dtype=torch.promote_types(W.dtype, torch.float32), requires_grad=False)


def glorot_and_orthogonal_(W: Tensor, R: Tensor, *biases: Tensor | None) -> None:
    """Keras' start of recurrent layers: each gate's block of W Glorot's, each of R orthogonal, biases zero."""
    H = R.shape[1]
    for block in W.split(H):
        nn.init.xavier_uniform_(block)
    for block in R.split(H):
        orthogonal_(block)
    for b in biases:
        if b is not None:
            nn.init.zeros_(b)


def orthogonal_recurrence_(module: M) -> M:
    """Every gate's recurrent matrix, H rows of ``weight_hh``, starts orthogonal (Saxe et al. 2014).

    Each by itself: the rows of all gates together, orthogonal, would be shorter. Arguments, result and errors as
    ``identity_``.
    """
    for R in _recurrent(module, "orthogonal_recurrence_"):
        orthogonal_(R)
    return module


def identity_(module: M, scale: float = 1.0) -> M:
    """Le, Jaitly & Hinton 2015: every gate's recurrent matrix starts from `scale` times the identity.

    Args:
        module: a cell, or an RNN, each of whose cells it changes in place.
        scale: of the identity.

    Returns:
        `module`.

    Raises:
        RnnZooError: a cell without a square recurrent matrix for each gate under the name ``weight_hh``.
    """
    for R in _recurrent(module, "identity_"):
        with torch.no_grad():
            nn.init.eye_(R).mul_(scale)
    return module


def chrono_(module: M, max_steps: int) -> M:
    """Tallec & Ollivier 2018: gates start with time scales from 2 to `max_steps`, evenly, and R and W as they are.

    "keep" rows (an LSTM's f, a GRU's z) start from b = log U(1, max_steps - 1), "write" rows from -b, the same draw;
    the other rows' biases from 0.

    Args:
        module: a cell, or an RNN, each of whose cells it changes in place.
        max_steps: the longest dependency expected, in time steps, at least 3.

    Returns:
        `module`.

    Raises:
        RnnZooError: `max_steps` below 3, or a cell whose ``rows`` name no gate that keeps or writes, or without biases.
    """
    if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 3:
        raise RnnZooError(f"max_steps of chrono_ must be a whole number of at least 3, not {max_steps!r}")
    for cell in _cells(module):
        gates = _biases(cell, "chrono_")
        with torch.no_grad():
            b = torch.empty_like(gates[0][1]).uniform_(1, max_steps - 1).log_()
            for part, bias, second in gates:
                bias.copy_({"keep": b, "write": -b}.get(part, torch.zeros_like(b)))
                second.zero_()
    return module


def forget_bias_(module: M, value: float = 1.0) -> M:
    """Gers et al. 2000, Jozefowicz et al. 2015: the bias of what forgets starts from `value`, that is from remembering.

    The rows that "keep" get it, summed over both biases; where there are none, those that "write" get -value.

    Args:
        module: a cell, or an RNN, each of whose cells it changes in place.
        value: of the bias.

    Returns:
        `module`.

    Raises:
        RnnZooError: a cell whose ``rows`` name no gate that keeps or writes, or without biases.
    """
    for cell in _cells(module):
        gates = _biases(cell, "forget_bias_")
        part = "keep" if "keep" in cell.rows else "write"
        with torch.no_grad():
            for _, bias, second in (gate for gate in gates if gate[0] == part):
                bias.fill_(value if part == "keep" else -value)
                second.zero_()
    return module


def _cells(module: nn.Module) -> list[Cell]:
    """The cells in a module, those in transforms rather than these."""
    from rnnzoo.cells.contract import Cell  # cells are made with what stands here

    found = [m for m in module.modules() if isinstance(m, Cell) and not any(isinstance(c, Cell) for c in m.children())]
    if not found:
        raise RnnZooError(f"{type(module).__name__} has no cells that could be initialised")
    return found


def _recurrent(module: nn.Module, what: str) -> list[Tensor]:
    """Every gate's recurrent matrix."""
    found = []
    for cell in _cells(module):
        R, H = getattr(cell, "weight_hh", None), cell.hidden_size
        if not isinstance(R, Tensor) or R.dim() != 2 or R.shape[1] != H or len(R) % H:
            raise RnnZooError(f"{what} needs a weight_hh of H rows a gate, which {type(cell).__name__} has not")
        found += R.split(H)
    return found


def _biases(cell: Cell, what: str) -> list[tuple[str, Tensor, Tensor]]:
    """What each gate is for and its two biases, the second for nothing where the cell has one alone."""
    name = type(cell).__name__
    if not {"keep", "write"} & set(cell.rows):
        raise RnnZooError(f"{what} needs a cell with a gate that keeps or writes, which the rows of {name} do not name")
    if cell.bias_ih is None:
        raise RnnZooError(f"{what} sets biases, and this {name} has none; bias=True would do")
    second = getattr(cell, "bias_hh", None)
    second = torch.zeros_like(cell.bias_ih) if second is None else second
    count = len(cell.rows)
    return list(zip(cell.rows, cell.bias_ih.chunk(count), second.chunk(count), strict=True))
