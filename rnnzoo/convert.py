"""Weights to and from nn.LSTM, nn.GRU and nn.RNN, exactly: same names, same row order."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import Cell
from rnnzoo.cells.gru import GRU
from rnnzoo.cells.lstm import LSTM, LSTMP
from rnnzoo.cells.plain import ReluRNN, TanhRNN
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels.derived import with_derived_weights
from rnnzoo.kernels.native import VENDORS, why_no_module
from rnnzoo.rnn import RNN, torch_names

_CELLS: dict[str, type[Cell]] = {"LSTM": LSTM, "GRU": GRU, "RNN_TANH": TanhRNN, "RNN_RELU": ReluRNN}
# by exact class, with the options that are the same for all
_MODULES: dict[type[Cell], tuple[Callable[..., nn.RNNBase], dict[str, Any]]] = {
    **{cls: (of.module, {"nonlinearity": "relu"} if of.mode == "RNN_RELU" else {}) for cls, of in VENDORS.items()},
    LSTMP: (nn.LSTM, {}),
}


def from_torch(module: nn.RNNBase) -> RNN:
    """An RNN with the weights, shapes and options of an nn.LSTM, nn.GRU or nn.RNN; of `lstmp` for one that projects.

    Raises:
        RnnZooError: another module.
    """
    if not isinstance(module, nn.RNNBase):
        raise RnnZooError(f"from_torch takes an nn.LSTM, nn.GRU or nn.RNN, not {type(module).__name__}")
    constants: dict[str, Any] = {"proj_size": module.proj_size} if module.proj_size else {}
    weight = module.weight_ih_l0
    assert isinstance(weight, torch.Tensor)
    rnn = RNN(
        LSTMP if module.proj_size else _CELLS[module.mode],
        module.input_size,
        module.hidden_size,
        module.num_layers,
        module.bias,
        module.batch_first,
        module.dropout,
        module.bidirectional,
        device=weight.device,
        dtype=weight.dtype,
        **constants,
    )
    rnn.load_state_dict(module.state_dict())
    return rnn.train(module.training)


def _why_not(rnn: RNN, cells: list[list[Cell]]) -> str | None:
    """The reason why no module of torch computes what an RNN does, or None."""
    reason = why_no_module(cells, _MODULES)
    if reason or rnn.connections is not None:
        return reason or "torch's modules have no connections past a layer"
    if rnn.locked_dropout and rnn.dropout:
        return "torch's modules have no locked_dropout"
    own = {cell.proj_size for directions in cells for cell in directions if isinstance(cell, LSTMP)}
    if len(own) > 1:
        return f"sizes of projections differ: {' and '.join(map(str, sorted(own)))}"
    if own and min(own) >= cells[0][0].hidden_size:
        return f"nn.LSTM takes a proj_size below hidden_size={cells[0][0].hidden_size}, and this one is {min(own)}"
    return None


def _derived(rnn: RNN, name: str) -> Tensor:
    """A parameter, or what weight norm and the like put in its place."""
    owner, _, leaf = name.rpartition(".")
    return getattr(rnn.get_submodule(owner), leaf).detach()


def to_torch(rnn: RNN) -> nn.RNNBase:
    """The nn.LSTM, nn.GRU or nn.RNN with the weights, shapes and options of an RNN.

    Raises:
        RnnZooError: a cell that torch does not have, or a stack of different ones.
    """
    cells = with_derived_weights(rnn._cells)
    reason = _why_not(rnn, cells)
    if reason:
        raise RnnZooError(f"to_torch cannot convert this RNN: {reason}")
    cell = cells[0][0]
    make, options = _MODULES[type(cell)]
    if isinstance(cell, LSTMP):
        options = {"proj_size": cell.proj_size}
    weight = cell.weight_ih
    module = make(
        rnn.input_size,
        cell.hidden_size,
        rnn.num_layers,
        bias=cell.bias,  # by name: nn.RNN has its nonlinearity in this place
        batch_first=rnn.batch_first,
        dropout=rnn.dropout,
        bidirectional=rnn.bidirectional,
        device=weight.device,
        dtype=weight.dtype,
        **options,
    )
    module.load_state_dict({theirs: _derived(rnn, name) for theirs, name in torch_names(rnn).items()})
    return module.train(rnn.training)
