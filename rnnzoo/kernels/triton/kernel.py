"""The kernel ``triton``: which cells it can run on which device, and their programs, shared by all that are alike."""

import math
from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from rnnzoo.cells.contract import Cell
from rnnzoo.cells.gru import GRU
from rnnzoo.cells.lstm import LSTM
from rnnzoo.cells.registry import kind, name_of
from rnnzoo.kernels.base import Work
from rnnzoo.kernels.differentiation import why_no_transform
from rnnzoo.kernels.fused import kernel as fused
from rnnzoo.kernels.fused import prepared
from rnnzoo.kernels.fused.ops import PROGRAMS
from rnnzoo.kernels.fused.program import Program
from rnnzoo.kernels.fused.steps import steps_of
from rnnzoo.kernels.layout import Packed
from rnnzoo.kernels.linear_scan import LinearScan
from rnnzoo.kernels.native import Native
from rnnzoo.kernels.reference import Reference
from rnnzoo.kernels.triton import available
from rnnzoo.kernels.triton.program import GpuProgram

_PIECES = 64  # of a body: they are printed one by one here


class Triton(fused.Fused):
    """Triton derived from a cell's ``step``, by the plan that ``fused`` prints as C: per step its products and one
    row-wise kernel or more, forward and backward, replayed as CUDA graphs.

    Under autocast what is multiplied is rounded to its dtype; sums, states and results stay in float32.
    """

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
        if fused.under_autocast(x):
            with torch.autocast(x.device.type, enabled=False):
                return self.why_not(fused.unnarrowed(work))
        if dtype not in (torch.float32, torch.float64):
            return f"it computes in float32 and float64, not in {dtype}"
        if reason := why_no_transform(work):
            return reason
        if not work.layout.batch:
            return "it has nothing to launch for an empty batch"
        for k, cell in enumerate(work.cells):
            first = k < len(work.layers[0])
            own = x.dtype if first else cell.like(x).dtype
            found = self._prepared(cell, own, x.dim() - 1, work.given(k), fused.rows_of(work.layout))
            if isinstance(found, str):
                return f"{name_of(kind(cell))}: {found}"
            work.programs[id(cell)] = found
            pieces = PROGRAMS[found.key].plan.pieces
            if pieces > _PIECES:
                return f"{name_of(kind(cell))}: its step takes matrices to {pieces} pieces, and the most is {_PIECES}"
        return available.why_not_device(x.device)

    def likely_why_not(self, work: Work) -> str | None:
        return self.why_not(work)

    def cost(self, work: Work) -> float:
        if work.x.device.type == "cpu":
            return math.inf  # the interpreter is for tests
        # cuDNN has kernels that stay on the GPU for a whole sequence, and a scan runs all steps at once
        better = [kernel.cost(work) for kernel in (Native(), LinearScan()) if kernel.why_not(work) is None]
        if not better:
            return 0.5 * Reference().cost(work)
        return 0.99 * min(better) if _quicker_than_cudnn(work) else 1.01 * max(better)

    def cannot_after_all(self, error: Exception) -> bool:
        return type(error).__module__.partition(".")[0] == "triton"  # its compiler's, or too little shared memory

    def _prepared(
        self, cell: Cell, dtype: torch.dtype, dims: int, inputs: Mapping[str, Tensor], rows: int | None
    ) -> prepared.Prepared | str:
        return prepared.known(cell, dtype, dims, prepared.told(inputs, dims), rows)

    def _narrows(self, work: Work) -> bool:
        return fused.narrowable(work)

    def _loops(
        self,
        program: Program,
        u: Tensor,
        s: Sequence[Tensor],
        values: Sequence[Tensor],
        sizes: Tensor | None,
        narrow: torch.dtype | None,
    ) -> Sequence[Tensor]:
        return _program(program, narrow).scan(u, s, values, steps_of(len(u), len(s[0]), sizes))


def _quicker_than_cudnn(work: Work) -> bool:
    """As measured on H100 and H200 (benchmarks/results/nvidia-h200/): forward and backward 1.3 to 3.4 times as quick.

    Not where cuDNN has kernels that keep the weights on the chip (small states, and LSTMs in fewer bits), nor for
    sequences of different lengths, which were not measured since they are CUDA graphs.
    """
    cells = work.cells
    if isinstance(work.layout, Packed) or cells[0].hidden_size <= 128:
        return False
    narrow = fused.under_autocast(work.x) or work.x.dtype != torch.float32
    return kind(cells[0]) is GRU or (kind(cells[0]) is LSTM and not narrow)


_programs: WeakKeyDictionary[Program, dict[torch.dtype | None, GpuProgram]] = WeakKeyDictionary()


def _program(traced: Program, narrow: torch.dtype | None) -> GpuProgram:
    with prepared.lock:
        found = _programs.setdefault(traced, {})
        if narrow not in found:
            found[narrow] = GpuProgram(traced, narrow)
        return found[narrow]
