"""What a kernel is: something that runs a stack of cells over time, and can say why not and at what cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnzoo import states
from rnnzoo.cells.contract import Cell
from rnnzoo.kernels.layout import Layout
from rnnzoo.transforms.dilated import over_time


@dataclass
class Work:
    """One call of a stack: the cells, the data, and how it lies.

    `x` is (T, B, I), or (N, I) where `layout` is packed; `hx` is in torch's shapes, its rows in the layout's order.
    `dropout` acts between layers; where it is `locked`, on the same units at all steps of a sequence.
    `inputs` are what cells take besides x, laid out as x; `own`, where it is not empty, is that for each cell apart.
    `connections` make of a layer's input and output what the next one gets; none means the output. `programs`, by the
    id of a cell, are what a kernel found out about cells when it was asked, so that it need not look at them again.
    """

    layers: Sequence[Sequence[Cell]]
    x: Tensor
    layout: Layout
    hx: Any = None
    dropout: float = 0.0
    inputs: dict[str, Tensor] = field(default_factory=dict)
    own: Sequence[dict[str, Tensor]] = ()
    connections: Sequence[Callable[[Tensor, Tensor], Tensor]] = ()
    programs: dict[int, Any] = field(default_factory=dict)
    locked: bool = False

    def given(self, k: int) -> dict[str, Tensor]:
        """What the k-th of `cells` takes besides x."""
        return self.own[k] if self.own else self.inputs

    @property
    def cells(self) -> list[Cell]:
        """Every cell, layer by layer and direction by direction."""
        return [cell for directions in self.layers for cell in directions]


class Kernel:
    """Runs a stack of cells over time. One instance serves every stack; it keeps nothing between calls."""

    name: ClassVar[str]

    def why_not(self, work: Work) -> str | None:
        """The reason why this kernel cannot run `work`, as a sentence without a subject, or None."""
        return None

    def likely_why_not(self, work: Work) -> str | None:
        """The same at once, for a table of many cells: what takes long to find out is as the cell declares it."""
        return self.why_not(work)

    def cost(self, work: Work) -> float:
        """An estimate of forward and backward in milliseconds; only the order among kernels matters."""
        raise NotImplementedError(f"kernel {self.name} gives no cost")

    def remark(self, work: Work) -> str:
        """What ``explain`` adds to the cost of a `work` that this kernel can run."""
        return ""

    def cannot_after_all(self, error: Exception) -> bool:
        """Whether ``run`` raised `error` because this kernel cannot run the work, which another one may."""
        return False

    def run(self, work: Work) -> tuple[Tensor, Any]:
        """Outputs, laid out as x, and the final state in torch's shapes."""
        raise NotImplementedError(f"kernel {self.name} does not run")


class LayerKernel(Kernel):
    """A kernel that knows one cell over time: the stack, its directions and its dropout are done here, once."""

    def scan(self, cell: Cell, u: Any, s: Any, layout: Layout) -> tuple[Tensor, Any]:
        """What the steps emit and the final state, from the projected input and the initial state."""
        raise NotImplementedError(f"kernel {self.name} does not scan")

    def layer(self, cell: Cell, x: Tensor, inputs: Mapping[str, Tensor], s: Any, layout: Layout) -> tuple[Tensor, Any]:
        """Outputs and the final state of one cell over time, in one direction."""
        u = cell.project(x, **inputs)
        h, s = self.scan(cell, u, s, layout)
        return cell.readout(h, u, x), s

    def run(self, work: Work) -> tuple[Tensor, Any]:
        return run_stack(work, lambda cell, x, inputs, s: over_time(self.layer, cell, x, inputs, s, work.layout))


def run_stack(
    work: Work, layer: Callable[[Cell, Tensor, dict[str, Tensor], Any], tuple[Tensor, Any]]
) -> tuple[Tensor, Any]:
    """Outputs and the final state of a stack, from what runs one cell over time, in one direction."""
    x, layout = work.x, work.layout
    starts = states.initial(work.layers, layout.batch, x) if work.hx is None else states.split(work.layers, work.hx)
    finals: list[Any] = []
    for k, directions in enumerate(work.layers):
        z = _dropped(x, work) if k and work.dropout else x
        ys = []
        for d, cell in enumerate(directions):
            given = {"x": z, **work.given(len(finals))}
            if d:
                given = {n: layout.reverse(a) for n, a in given.items()}
            y, s = layer(cell, given.pop("x"), given, starts[len(finals)])
            ys.append(layout.reverse(y) if d else y)
            finals.append(s)
        y = ys[0] if len(ys) == 1 else torch.cat(ys, -1)
        x = work.connections[k](x, y) if work.connections else y
    return x, states.join(work.layers, finals)


def _dropped(x: Tensor, work: Work) -> Tensor:
    if not work.locked:
        return F.dropout(x, work.dropout)
    return x * work.layout.spread(F.dropout(x.new_ones(work.layout.batch, x.shape[-1]), work.dropout))


def milliseconds(work: Work, rate: float) -> float:
    """The time that products take at `rate` GFLOP/s: 2 operations a weight and row forward, twice that back.

    The kernels' rates and times a step are those of one thread of a processor with AVX-512, by ``rnnzoo bench``.
    """
    rows = work.x.shape[0] if work.x.dim() == 2 else work.layout.time * work.layout.batch
    return 6 * weights(work) * rows / rate * 1e-6


def weights(work: Work) -> int:
    """About how many numbers the matrices of its cells have."""
    return sum(cell.hidden_size * (cell.input_size + cell.hidden_size) * max(cell.gates, 1) for cell in work.cells)
