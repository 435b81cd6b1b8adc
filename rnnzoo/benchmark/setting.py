"""One piece of work to time: its sizes, its data, and a model's call on them.

Sizes: B batch, T time, I input, H hidden.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from rnnzoo.cells.contract import Cell
from rnnzoo.cells.registry import find
from rnnzoo.kernels.native import VENDORS
from rnnzoo.rnn import RNN, Sequences

SIZES = [(32, 128, 128, 128), (32, 128, 256, 256), (64, 128, 512, 512), (8, 512, 128, 256), (1, 512, 128, 256)]
WHAT = {
    "forward": "the forward pass alone, in inference mode",
    "backward": "forward and backward, as in training",
    "step": "one time step in inference mode, from a state that is given",
}
PRECISIONS = {"float32": torch.float32, "float64": torch.float64, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Setting:
    """What is timed, on what sizes, and how; precision bf16 is autocast over float32 weights."""

    cell: str
    B: int
    T: int
    I: int
    H: int
    what: str = "backward"
    layers: int = 1
    bidirectional: bool = False
    precision: str = "float32"
    lengths: bool = False
    device: str = "cpu"
    threads: int = 1
    input_grad: bool = True
    cell_args: dict[str, Any] = field(default_factory=dict)

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        return self.B, self.T, self.I, self.H

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights and of x."""
        return torch.float64 if self.precision == "float64" else torch.float32

    @property
    def vendor(self) -> str | None:
        """cuDNN's name of the cell, where torch has a module for it: LSTM, GRU, RNN_TANH, RNN_RELU."""
        vendor = VENDORS.get(find(self.cell))
        return vendor.mode if vendor else None

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.precision != "bf16":
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.device).type, torch.bfloat16)

    def rnn(self, kernel: str = "reference") -> RNN:
        """The layer, with the same weights every time."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            rnn = RNN(
                self.cell,
                self.I,
                self.H,
                self.layers,
                bidirectional=self.bidirectional,
                kernel=kernel,
                dtype=self.dtype,
                **self.cell_args,
            )
        return rnn.to(self.device)

    def flops(self, cells: list[Cell], rows: int) -> int | None:
        """Operations of the products: 2 a weight and row forward, twice that backward; None for a cell whose
        products are not those of weight_ih and weight_hh."""
        total = 0
        for k, cell in enumerate(cells):
            weights = {n: p.numel() for n, p in cell.named_parameters() if n in ("weight_ih", "weight_hh")}
            if not weights:
                return None
            for name, size in weights.items():
                no_gradient = name == "weight_ih" and k < 1 + self.bidirectional and not self.input_grad
                total += 2 * size * rows * (1 if self.what != "backward" else 2 if no_gradient else 3)
        return total


class Data:
    """What the layer reads: (T, B, I) or packed, with lengths from T/4 to T; (1, B, I) for a step."""

    def __init__(self, setting: Setting):
        draw = torch.Generator().manual_seed(0)
        B, T, I, _ = setting.sizes
        if setting.what == "step":
            T = 1
        x = torch.randn(T, B, I, generator=draw, dtype=setting.dtype)
        extra = {n: 0.1 + torch.rand(T, B, 1, generator=draw, dtype=setting.dtype) for n in find(setting.cell).inputs}
        self.x: Any = x.to(setting.device)  # Sequences
        self.inputs: dict[str, Any] = {n: a.to(setting.device) for n, a in extra.items()}
        self.rows = T * B
        if setting.lengths and setting.what != "step":
            lengths = torch.randint(max(1, T // 4), T + 1, (B,), generator=draw)
            lengths[0] = T  # so that as much is computed at most as without lengths
            self.rows = int(lengths.sum())
            self.x, *packed = (
                pack_padded_sequence(a, lengths, enforce_sorted=False) for a in (self.x, *self.inputs.values())
            )
            self.inputs = dict(zip(self.inputs, packed, strict=True))
        self.leaf = self.x.data.detach()
        if setting.what == "backward" and setting.input_grad:
            self.leaf.requires_grad_()
        self.x = self.x._replace(data=self.leaf) if isinstance(self.x, PackedSequence) else self.leaf


@dataclass
class Model:
    """A layer, ours or a peer's: over sequences, and where it can a step, (1, B, I) and a state to the new state."""

    run: Callable[[Any], Sequences]
    step: Callable[[Any, Any], Any] | None
    parameters: list[Tensor]


def call_of(model: Model, data: Data, setting: Setting) -> Callable[[], Any]:
    """What is timed: one call without arguments."""
    x, autocast = data.x, setting.autocast
    if setting.what == "step":
        step = model.step
        assert step is not None
        with torch.inference_mode(), autocast():
            state = step(x, None)  # from this one every time: a state carried on for thousands of steps may overflow

        def one() -> None:
            with torch.inference_mode(), autocast():
                step(x, state)

        return one

    def forward() -> None:
        with torch.inference_mode(), autocast():
            model.run(x)

    leaves = [p for p in (*model.parameters, data.leaf) if p.requires_grad]
    gradient: list[Tensor] = []

    def backward() -> None:
        for p in leaves:
            p.grad = None
        with autocast():
            out = model.run(x)
        y = out.data if isinstance(out, PackedSequence) else out  # .data of a tensor has no gradient
        if not gradient:  # a real one: that of y.sum() is a single number expanded, which some kernels have to copy
            gradient.append(torch.randn_like(y))
        y.backward(gradient[0])

    return forward if setting.what == "forward" else backward
