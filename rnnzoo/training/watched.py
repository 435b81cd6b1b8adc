"""One pass of an RNN by the reference loop, with what its cells compute on the way: states, gates, where NaN begins."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from rnnzoo.arrange import Arranged
from rnnzoo.cells.contract import Cell
from rnnzoo.kernels.base import Work, run_stack
from rnnzoo.kernels.layout import Layout
from rnnzoo.kernels.reference import Reference
from rnnzoo.rnn import RNN

SQUASHES = {  # by the name of torch's operation: the name that it is shown by, and the share of its range near an end
    "sigmoid": ("sigmoid", lambda a: (a < 0.05) | (a > 0.95)),
    "hardsigmoid": ("sigmoid", lambda a: (a < 0.05) | (a > 0.95)),
    "tanh": ("tanh", lambda a: a.abs() > 0.95),
    "hardtanh": ("tanh", lambda a: a.abs() > 0.95),
}


@dataclass
class Layer:
    """What one cell of the stack computed, in one direction.

    Args:
        name: its place, ``layers.1``, with ``.backward`` for the direction that reads from the end.
        states: after each step, in the order in which the cell reads.
        saturated: by kind, "sigmoid" or "tanh": how many values lie near an end of the range, and how many there are.
        first_bad: the first step after which the state is not finite, or None.
    """

    name: str
    states: list[Any] = field(default_factory=list)
    saturated: dict[str, tuple[Tensor, int]] = field(default_factory=dict)
    first_bad: int | None = None

    def shares(self) -> dict[str, Tensor]:
        """The share of saturated values by kind; of kinds that the cell has."""
        return {kind: near / count for kind, (near, count) in self.saturated.items()}

    def norms(self) -> dict[str, Tensor]:
        """The norm of the state by field: the mean over all steps and sequences."""
        fields = self.states[0]._fields
        return {name: torch.cat([_row_norms(getattr(s, name)) for s in self.states]).mean() for name in fields}


def _row_norms(a: Tensor) -> Tensor:
    """Of (B, ...) numbers, (B,)."""
    return torch.linalg.vector_norm(a.detach().reshape(len(a), -1), dim=1)


@dataclass
class Watched:
    """What `watch` saw: the call as kernels get it, its outputs as they return them, and each cell."""

    arranged: Arranged
    output: Tensor
    layers: list[Layer]


class _Squashes(TorchDispatchMode):
    """Counts what sigmoids and tanhs return, whichever way a cell calls them."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        squash = SQUASHES.get(func.overloadpacket.__name__.rstrip("_"))
        if squash is not None and isinstance(out, Tensor) and not out.is_complex():
            name, near = squash
            many, count = self.layer.saturated.get(name, (0, 0))
            self.layer.saturated[name] = many + near(out.detach()).sum(), count + out.numel()
        return out


class _Watching(Reference):
    """The reference, which keeps what it sees; dilated cells are not folded, so that their steps are those of time."""

    name = "watching"

    def __init__(self, layers: Sequence[Sequence[Cell]]) -> None:
        self.layers = [
            Layer(f"layers.{k}{'.backward' * d}") for k, directions in enumerate(layers) for d in range(len(directions))
        ]
        self._next = 0

    def run(self, work: Work) -> tuple[Tensor, Any]:
        return run_stack(work, lambda cell, x, inputs, s: self.layer(cell, x, inputs, s, work.layout))

    def layer(self, cell: Cell, x: Tensor, inputs: Any, s: Any, layout: Layout) -> tuple[Tensor, Any]:
        seen = self.layers[self._next]
        self._next += 1
        if torch.is_grad_enabled():  # a cell that is not trained passes gradients on all the same
            s = tree_map(lambda a: a.detach().requires_grad_() if a.is_floating_point() or a.is_complex() else a, s)
        with _Squashes(seen):
            return super().layer(_Recorder(cell, seen), x, inputs, s, layout)  # type: ignore[arg-type]


class _Recorder:
    """A cell that keeps its states in `seen`."""

    def __init__(self, cell: Cell, seen: Layer) -> None:
        self._cell, self._seen = cell, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cell, name)

    def step(self, u: Any, s: Any) -> Any:
        new = self._cell.step(u, s)
        if self._seen.first_bad is None and not all(bool(a.isfinite().all()) for a in tree_leaves(new)):
            self._seen.first_bad = len(self._seen.states)
        self._seen.states.append(new)
        return new


def watch(rnn: RNN, x: Any, hx: Any = None, *, lengths: Any = None, resets: Any = None, **inputs: Any) -> Watched:
    """Runs `rnn` as ``rnn(x, hx, ...)`` would, by the reference loop; what belongs to the call is not changed.

    Raises:
        RnnZooError: as the RNN's own call.
    """
    arranged = rnn._arrange(x, hx, lengths, resets, inputs)
    kernel = _Watching(arranged.work.layers)
    output, _ = kernel.run(arranged.work)
    return Watched(arranged, output, kernel.layers)
