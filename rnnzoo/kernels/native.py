"""The vendor's kernel: what nn.LSTM, nn.GRU and nn.RNN call (cuDNN, oneDNN, ATen), on the cells' own weights."""

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rnnzoo import states
from rnnzoo.cells.contract import Cell
from rnnzoo.cells.gru import GRU, CudnnGRU
from rnnzoo.cells.lstm import LSTM, CudnnLSTM
from rnnzoo.cells.plain import IRNN, CudnnRNN, ReluRNN, TanhRNN
from rnnzoo.cells.registry import kind, name_of
from rnnzoo.kernels import vendor
from rnnzoo.kernels.base import Kernel, Work, milliseconds
from rnnzoo.kernels.differentiation import in_forward_mode
from rnnzoo.kernels.layout import Packed
from rnnzoo.kernels.transforms import transforms

RATE, NARROW = 130.0, 260.0  # GFLOP/s in float32, and in bfloat16

# what oneDNN, cuDNN, MIOpen and ATen say of what they do not have
_FAILURES = ("a primitive", "cuDNN error", "CUDNN_STATUS", "miopenStatus", "not implemented for", "NOT_SUPPORTED")


@dataclass(frozen=True)
class Vendor:
    """A cell's equivalent in torch: its module, its operation, and cuDNN's name of it."""

    module: Callable[..., nn.RNNBase]
    operation: Callable[..., Any]
    mode: str
    step: float  # ms beside its products


_LSTM = Vendor(nn.LSTM, torch.lstm, "LSTM", 0.005)
_GRU = Vendor(nn.GRU, torch.gru, "GRU", 0.12)
_TANH = Vendor(nn.RNN, torch.rnn_tanh, "RNN_TANH", 0.04)
_RELU = Vendor(nn.RNN, torch.rnn_relu, "RNN_RELU", 0.04)

# by exact class: a subclass may have other equations
VENDORS: dict[type[Cell], Vendor] = {
    LSTM: _LSTM,
    CudnnLSTM: _LSTM,
    GRU: _GRU,
    CudnnGRU: _GRU,
    TanhRNN: _TANH,
    CudnnRNN: _TANH,
    ReluRNN: _RELU,
    IRNN: _RELU,
}


class Native(Kernel):
    """The whole stack, its directions, lengths and dropout in one call of torch's own operation."""

    name = "native"

    def why_not(self, work: Work) -> str | None:
        if work.x.device.type == "mps" and isinstance(work.layout, Packed):
            return "torch's MPS kernel takes no packed sequences"
        if work.connections:
            return "torch's modules have no connections past a layer"
        if work.locked and work.dropout and len(work.layers) > 1:
            return "torch's modules drop other units at every step, and locked_dropout is asked for"
        return why_no_module(work.layers) or _why_not_here(work)

    def cost(self, work: Work) -> float:
        step = VENDORS.get(kind(work.cells[0]), _LSTM).step
        return milliseconds(work, NARROW if _narrow(work) else RATE) + step * work.layout.time * len(work.cells)

    def cannot_after_all(self, error: Exception) -> bool:
        whose = isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError)
        return whose and any(part in str(error) for part in _FAILURES)

    def run(self, work: Work) -> tuple[Tensor, Any]:
        x, layout, first = work.x, work.layout, work.layers[0][0]
        of, state = VENDORS[kind(first)], first.State
        weights = flat_weights(work.layers)
        if x.is_cuda:
            lay_in_one_block(weights, work.layers, of.mode)
        if work.hx is None:
            shape = (len(work.cells), layout.batch, first.hidden_size)
            zeros = torch.zeros(shape, dtype=x.dtype, device=x.device)
            hx = (zeros,) * len(state._fields)
        else:
            hx = (work.hx,) if isinstance(work.hx, Tensor) else tuple(work.hx)
        # cuDNN keeps what its backward needs only in training mode; dropout is 0 already where it does not apply
        train = torch.is_grad_enabled() or work.dropout > 0
        options = (first.bias, len(work.layers), work.dropout, train, len(work.layers[0]) == 2)
        h = hx if len(hx) > 1 else hx[0]
        if isinstance(layout, Packed):
            y, *last = of.operation(x, layout.packed.batch_sizes, h, weights, *options)
        else:
            y, *last = of.operation(x, h, weights, *options, False)
        return y, states.unwrap(state(*last))


def _why_not_here(work: Work) -> str | None:
    """The reason why torch's operation cannot run this call where it is made, or None."""
    x, first, rows = work.x, work.layers[0][0], work.layout.batch_sizes
    mode = VENDORS[kind(first)].mode
    sizes = None if rows is None else vendor.EVEN if rows[0] == rows[-1] else vendor.UNEVEN
    # one operation with a derivative of its own, where others are made of torch's
    whole = x.device.type == "cuda" or (mode == "LSTM" and x.device.type == "cpu" and sizes != vendor.UNEVEN)
    around = transforms()
    if "Vmap" in around:
        return "torch has no rule for it under torch.func.vmap"
    if around and sizes:
        return "torch's kernels of packed sequences run in no transform of torch.func"
    if whole and (around.count("Grad") > 1 or "Jvp" in around or in_forward_mode(work)):
        return "torch's kernel has a first derivative, in backward mode, and no other"
    if x.device.type != "cpu":
        return None
    if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
        if sizes:
            return "torch.compile cannot look into torch's kernels of packed sequences"
        # its graph has oneDNN's operation then, whose derivative torch.compile cannot take
        learning = torch.is_grad_enabled() and any(w.requires_grad for w in flat_weights(work.layers))
        if whole and learning and not x.requires_grad:
            return "torch.compile cannot differentiate oneDNN's LSTM"
    state = x.dtype if work.hx is None else states.as_tuple(work.hx)[0].dtype
    train = torch.is_grad_enabled() or work.dropout > 0
    return vendor.why_not(mode, x.dtype, state, first.weight_ih.dtype, sizes, first.bias, train)


def _narrow(work: Work) -> bool:
    autocast = work.x.device.type != "meta" and torch.is_autocast_enabled(work.x.device.type)  # knows no "meta"
    return autocast or work.x.dtype == torch.bfloat16


def why_no_module(layers: states.Layers, known: Container[type[Cell]] = VENDORS) -> str | None:
    """The reason why no module of torch computes what this stack does, or None; `known`: the cells that torch has."""
    first = layers[0][0]
    if kind(first) not in known:
        return f"{name_of(kind(first))} has no torch equivalent"
    for cell in (cell for directions in layers for cell in directions):
        if kind(cell) is not kind(first):
            return f"the stack mixes {name_of(kind(first))} and {name_of(kind(cell))}"
        if cell.hidden_size != first.hidden_size:
            return f"hidden sizes differ: {first.hidden_size} and {cell.hidden_size}"
        if cell.bias != first.bias:
            return "some layers have biases and some have none"
    return None


def flat_weights(layers: states.Layers) -> list[Tensor]:
    """Weights in the order of nn.RNNBase: w_ih, w_hh, b_ih, b_hh of each layer and direction.

    By name, not as the module lists them: weight norm and pruning put what is derived in a parameter's place.
    """
    cells = (cell for directions in layers for cell in directions)
    return [getattr(cell, name) for cell in cells for name, shape in cell.parameter_shapes().items() if shape]


def lay_in_one_block(weights: list[Tensor], layers: states.Layers, mode: str) -> None:
    """Moves CUDA weights into one block, as cuDNN wants them, unless they lie in one already.

    Looked at in every call, which is cheap, so that it holds after ``.to``, deepcopy, loading and DDP alike:
    otherwise cuDNN copies every weight in every call.
    """
    block = weights[0].untyped_storage().data_ptr()
    if all(w.untyped_storage().data_ptr() == block for w in weights):
        return
    tied = len({w.data_ptr() for w in weights}) < len(weights)
    if tied or not torch.backends.cudnn.is_acceptable(weights[0]) or not torch._use_cudnn_rnn_flatten_weight():
        return
    from torch.backends.cudnn import rnn as cudnn

    first = layers[0][0]
    with torch.cuda.device(weights[0].device), torch.no_grad():
        torch._cudnn_rnn_flatten_weight(
            weights,
            4 if first.bias else 2,
            first.input_size,
            cudnn.get_cudnn_mode(mode),
            first.hidden_size,
            0,
            len(layers),
            False,
            len(layers[0]) == 2,
        )
