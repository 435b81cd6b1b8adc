"""What a check runs on: a cell in float64, sequences, a state that it reached, and how results are compared."""

import copy
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from rnnzoo.cells.contract import Cell
from rnnzoo.rnn import RNN

TOLERANCE = 1e-9  # of float64, relative to 1 + the value expected

Inputs = Mapping[str, Callable[[int, int], Tensor]]
Named = dict[str, Tensor]


class Case:
    """A copy of a cell, in evaluation mode, with weights off their initial values, and something to run it on.

    The state is one that the cell reached by itself: a clock that has run, a memory that was written. T, B, I, H and
    the output size differ, as far as the cell's own do.
    """

    def __init__(self, cell: Cell, inputs: Inputs | None = None):
        self.given = cell
        self.cell = with_dtype(copy.deepcopy(cell), torch.float64).eval()
        disturb(self.cell)
        taken = {cell.input_size, cell.hidden_size, cell.output_size}
        self.T = next(n for n in range(7, 99) if n not in taken)
        self.B = next(n for n in range(4, 99) if n not in {*taken, self.T})
        self.lengths = torch.tensor([self.T - 2, self.T, 1, *range(2, self.B - 1)])
        self._make = inputs or {}
        self.x, self.inputs = self.sequences(self.T)

    @cached_property
    def state(self) -> Any:
        """What the cell's initial state has become after three steps."""
        x, extra = self.sequences(3)
        with torch.no_grad():
            s = self.cell.initial_state(self.B, self.cell.like(x))
            for t in range(3):
                s = self.cell(x[t], s, **cut(extra, t))[1]
        return s

    def sequences(self, T: int) -> tuple[Tensor, Named]:
        """x (T, B, I) and what the cell takes besides."""
        like = self.cell.like(torch.empty((), dtype=torch.float64))
        x = torch.randn(T, self.B, self.cell.input_size, dtype=like.dtype).to(like.device)
        extra = {}
        for name in self.cell.inputs:
            make = self._make.get(name, lambda T, B: 0.1 + torch.rand(T, B, 1))
            a = make(T, self.B)
            extra[name] = a.to(like.device, like.dtype if a.is_floating_point() else a.dtype)
        return x, extra

    def run(self, x: Tensor | None = None, s: Any = None, inputs: Named | None = None) -> tuple[Tensor, Any]:
        """Outputs and final state, by the cell's own ``scan``."""
        return run(self.cell, *self._or_own(x, s, inputs))

    def rnn(self, num_layers: int = 1, bidirectional: bool = False) -> RNN:
        """A stack of copies of the cell with weights that differ, run by the reference kernel."""

        def make(input_size: int, hidden_size: int) -> Cell:
            cell = disturb(copy.deepcopy(self.cell))
            return cell if input_size == cell.input_size else _Fitted(cell, input_size)

        sizes = (self.cell.input_size, self.cell.hidden_size, num_layers)
        rnn = RNN(make, *sizes, bidirectional=bidirectional, kernel="reference", dtype=self.x.dtype)
        return rnn.to(self.x.device).eval()

    def rnn_of(self, cell: Cell) -> RNN:
        """A layer of a copy of `cell`, run by the reference kernel."""
        sizes = (cell.input_size, cell.hidden_size)
        rnn = RNN(lambda *_: copy.deepcopy(cell), *sizes, kernel="reference", dtype=self.x.dtype)
        return rnn.to(self.x.device).eval()

    def reached(self, rnn: RNN) -> Any:
        """A state that `rnn` comes to by itself."""
        x, extra = self.sequences(3)
        return tree_map(Tensor.detach, rnn(x, **extra)[1])

    def _or_own(self, x: Tensor | None, s: Any, inputs: Named | None) -> tuple[Tensor, Any, Named]:
        return (
            self.x if x is None else x,
            self.state if s is None else s,
            self.inputs if inputs is None else inputs,
        )


class _Fitted(Cell):
    """A cell behind a fixed linear map, so that a copy of it takes any number of features."""

    fit: Tensor

    def __init__(self, cell: Cell, input_size: int):
        super().__init__(input_size, cell.hidden_size)
        self.cell, self.State, self.inputs = cell, cell.State, cell.inputs  # type: ignore[misc]
        self.register_buffer("fit", torch.randn(input_size, cell.input_size) / input_size**0.5)

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    def reset_parameters(self) -> None:
        """Leaves the copy's weights as they are."""

    def project(self, x: Tensor, **inputs: Tensor) -> Any:
        return self.cell.project(x @ self.fit.to(x.dtype), **inputs)

    def step(self, u: Any, s: Any) -> Any:
        return self.cell.step(u, s)

    def emit(self, s: Any) -> Tensor:
        return self.cell.emit(s)

    def readout(self, h: Tensor, u: Any, x: Tensor) -> Tensor:
        return self.cell.readout(h, u, x @ self.fit.to(x.dtype))

    def initial_state(self, batch: int, like: Tensor) -> Any:
        return self.cell.initial_state(batch, like)


def run(cell: Cell, x: Tensor, s: Any, inputs: Named) -> tuple[Tensor, Any]:
    """Outputs and final state over time, by the cell's own ``scan``."""
    u = cell.project(x, **inputs)
    h, last = cell.scan(u, s)
    return cell.readout(h, u, x), last


def expect(got: Named, wanted: Named, claim: str, tolerance: float = TOLERANCE) -> None:
    """Raises AssertionError with `claim` and the first part that is not what it should be, at its worst place."""
    for name, want in wanted.items():
        have = got[name]
        assert have.shape == want.shape, f"{claim}, but {name}: shape {tuple(have.shape)}, not {tuple(want.shape)}"
        assert have.dtype == want.dtype, f"{claim}, but {name}: {have.dtype}, not {want.dtype}"
        if not have.is_floating_point() and not have.is_complex():
            assert torch.equal(have, want), f"{claim}, but {name}: {have.tolist()}, not {want.tolist()}"
            continue
        have, want = have.detach(), want.detach()
        off = ((have - want).abs() / (1 + want.abs())).nan_to_num(torch.inf)
        if off.numel() and off.max() > tolerance:
            at = tuple(int(i) for i in torch.unravel_index(off.argmax(), off.shape))
            raise AssertionError(f"{claim}, but {name}{list(at)}: {have[at].item():.6g}, not {want[at].item():.6g}")


def results(y: Tensor, last: Any) -> Named:
    """Outputs and final state by name."""
    return {"outputs": y} | named(last, "final state")


def named(state: Any, prefix: str) -> Named:
    """The tensors of a state, a cell's own or one in torch's shapes, by name."""
    if isinstance(state, Tensor):
        return {prefix: state}
    if isinstance(state, list):
        return {name: a for k, layer in enumerate(state) for name, a in named(layer, f"{prefix} of layer {k}").items()}
    return {f"{prefix} {field}": a for field, a in zip(state._fields, state, strict=True)}


def tracked(x: Tensor, s: Any, inputs: Named) -> tuple[Tensor, Any, Named]:
    """Copies that gradients arrive at, where numbers are not whole ones."""
    copies: tuple[Tensor, Any, Named] = tree_map(
        lambda a: a.detach().clone().requires_grad_(differentiable(a)), (x, s, inputs)
    )
    return copies


def gradients(results: Named, leaves: Named) -> Named:
    """Of a random weighting of `results` with respect to each of `leaves`; zeros where none arrives."""
    leaves = {name: a for name, a in leaves.items() if a.requires_grad}
    grads = torch.autograd.grad(weigh(results), list(leaves.values()), allow_unused=True)
    return {
        f"gradient of {name}": torch.zeros_like(a) if grad is None else grad
        for (name, a), grad in zip(leaves.items(), grads, strict=True)
    }


def weigh(results: Named) -> Tensor:
    """A sum with random weights, the same ones in every call: plain sums are constant for a softmax or a norm."""
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros(())
    for a in results.values():
        if differentiable(a):
            real = torch.view_as_real(a) if a.is_complex() else a
            weights = torch.randn(real.shape, generator=generator, dtype=torch.float64)
            total = total + (weights.to(real.device) * real).sum()
    return total


def differentiable(a: Tensor) -> bool:
    return a.is_floating_point() or a.is_complex()


def with_dtype(module: Any, dtype: torch.dtype) -> Any:
    """``module.to(dtype)`` would drop the imaginary parts of complex weights; ``.double()`` leaves them narrow."""

    def cast(a: Tensor) -> Tensor:
        return a.to(dtype.to_complex() if a.is_complex() else dtype) if differentiable(a) else a

    return module._apply(cast)


def disturb(module: Any) -> Any:
    """Moves every weight a little, for zeros and ones that a cell starts from hide mistakes."""
    with torch.no_grad():
        for p in module.parameters():
            if differentiable(p):
                p.add_(0.1 * torch.randn_like(p))
    return module


def to_float32(a: Tensor) -> Tensor:
    return a.to(torch.complex64 if a.is_complex() else torch.float32) if differentiable(a) else a


def cut(tree: Any, index: Any) -> Any:
    """A part of every tensor of a state or of the inputs; of no state, none."""
    return None if tree is None else tree_map(lambda a: a[index], tree)
