"""What a kernel is: something that runs a stack of cells over time, and can say why not and at what cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnzoo import states
from rnnzoo.cells.contract import Cell
from rnnzoo.kernels.layout import Layout


@dataclass
class Work:
    """One call of a stack: the cells, the data, and how it lies.

    `x` is (T, B, I), or (N, I) where `layout` is packed; `hx` is in torch's shapes, its rows in the layout's order.
    """

    layers: Sequence[Sequence[Cell]]
    x: Tensor
    layout: Layout
    hx: Any = None
    dropout: float = 0.0
    inputs: dict[str, Tensor] = field(default_factory=dict)

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
        x, layout = work.x, work.layout
        hx = work.hx
        starts = states.initial(work.layers, layout.batch, x) if hx is None else states.split(work.layers, hx)
        finals: list[Any] = []
        for k, directions in enumerate(work.layers):
            if k and work.dropout:
                x = F.dropout(x, work.dropout)
            ys = []
            for d, cell in enumerate(directions):
                z, inputs = x, work.inputs
                if d:
                    z, inputs = layout.reverse(x), {n: layout.reverse(a) for n, a in inputs.items()}
                y, s = self.layer(cell, z, inputs, starts[len(finals)], layout)
                ys.append(layout.reverse(y) if d else y)
                finals.append(s)
            x = ys[0] if len(ys) == 1 else torch.cat(ys, -1)
        return x, states.join(work.layers, finals)


def milliseconds(work: Work, rate: float) -> float:
    """The time that products take at `rate` GFLOP/s: 2 operations a weight and row forward, twice that back.

    The kernels' rates and times a step are those of one thread of a processor with AVX-512, by ``rnnzoo bench``.
    """
    weights = sum(cell.hidden_size * (cell.input_size + cell.hidden_size) * max(cell.gates, 1) for cell in work.cells)
    rows = work.x.shape[0] if work.x.dim() == 2 else work.layout.time * work.layout.batch
    return 6 * weights * rows / rate * 1e-6
