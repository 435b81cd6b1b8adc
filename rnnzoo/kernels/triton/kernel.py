"""The kernel ``triton``: which cells it can run on which device, and their programs, shared by all that are alike."""

import math
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from rnnzoo.cells.contract import Cell
from rnnzoo.cells.registry import name_of
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels.base import Work
from rnnzoo.kernels.fused import kernel as fused
from rnnzoo.kernels.fused.program import Program
from rnnzoo.kernels.fused.steps import steps_of
from rnnzoo.kernels.fused.trace import Shapes
from rnnzoo.kernels.layout import Layout, Packed
from rnnzoo.kernels.linear_scan import LinearScan
from rnnzoo.kernels.native import Native
from rnnzoo.kernels.reference import Reference
from rnnzoo.kernels.triton import available
from rnnzoo.kernels.triton.program import GpuProgram


class Triton(fused.Fused):
    """Triton derived from a cell's ``step``, by the plan that ``fused`` prints as C: per step its products and one
    row-wise kernel or more, forward and backward, replayed as CUDA graphs where sequences are of equal length."""

    name = "triton"

    def why_not(self, work: Work) -> str | None:
        x = work.x
        dtype = work.cells[0].like(x).dtype
        if not available.installed():
            return "triton is not installed; pip install triton"
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return "torch.compile and export cannot see into it"
        if x.device.type != "cuda" and not (x.device.type == "cpu" and available.interpreted()):
            return f"it runs on a CUDA device, and x lies on {x.device}"
        if torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self.why_not(_wide(work))
        if dtype not in (torch.float32, torch.float64):
            return f"it computes in float32 and float64, not in {dtype}"
        if torch._C._functorch.peek_interpreter_stack() is not None:
            return "it runs in no transform of torch.func"
        for k, cell in enumerate(work.cells):
            reason = fused._why_not_cell(cell, work, first=k < len(work.layers[0]))
            if reason:
                return f"{name_of(type(cell))}: {reason}"
        return available.why_not_device(x.device)

    def cost(self, work: Work) -> float:
        if work.x.device.type == "cpu":
            return math.inf  # the interpreter is for tests
        # cuDNN stays on the GPU for a whole sequence, and a scan runs all steps at once
        better = [kernel.cost(work) for kernel in (Native(), LinearScan()) if kernel.why_not(work) is None]
        return 1.01 * max(better) if better else 0.5 * Reference().cost(work)

    def run(self, work: Work) -> tuple[Tensor, Any]:
        if not torch.is_autocast_enabled(work.x.device.type):
            return super(fused.Fused, self).run(work)
        with torch.autocast(work.x.device.type, enabled=False):  # float32 is never worse than what it stands for
            return super(fused.Fused, self).run(_wide(work))

    def _scan(self, cell: Cell, u: Any, s: Any, layout: Layout, shapes: Shapes | str) -> tuple[Tensor, Any]:
        found = shapes if isinstance(shapes, str) else fused._program(cell, shapes)
        if isinstance(found, str):
            raise RnnZooError(f"kernel 'triton' cannot run {name_of(type(cell))}: {found}; set kernel='reference'")
        steps = steps_of(layout)
        leaves = [a.reshape(steps.total, -1) for a in tree_flatten(u)[0]]
        rows = leaves[0] if len(leaves) == 1 else torch.cat(leaves, -1)
        h, last = _program(found).scan(cell, rows, tuple(s), steps)
        if not isinstance(layout, Packed):
            h = h.view(layout.time, layout.batch, *h.shape[1:])
        return h, type(s)(*last)


def _wide(work: Work) -> Work:
    """`work` as it would be without autocast: x, inputs and states in the dtype of the weights."""
    dtype = work.cells[0].like(work.x).dtype

    def wide(a: Any) -> Any:
        return a.to(dtype) if isinstance(a, Tensor) and a.is_floating_point() else a

    inputs = {n: wide(a) for n, a in work.inputs.items()}
    return replace(work, x=wide(work.x), hx=tree_map(wide, work.hx), inputs=inputs)


_programs: WeakKeyDictionary[Program, GpuProgram] = WeakKeyDictionary()


def _program(traced: Program) -> GpuProgram:
    with fused._lock:
        found = _programs.get(traced)
        if found is None:
            found = _programs[traced] = GpuProgram(traced)
        return found
