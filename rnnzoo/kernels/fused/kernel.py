"""The kernel ``fused``: which work it can run, at what cost, and how it runs it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from rnnzoo.cells.contract import Cell
from rnnzoo.cells.registry import kind, name_of
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels.base import LayerKernel, Work, milliseconds, run_stack, weights
from rnnzoo.kernels.differentiation import why_no_transform
from rnnzoo.kernels.fused import prepared
from rnnzoo.kernels.fused.build import BuildError, compiler
from rnnzoo.kernels.fused.complex_numbers import joined, parts
from rnnzoo.kernels.fused.ops import PROGRAMS, scan
from rnnzoo.kernels.fused.prepared import Prepared
from rnnzoo.kernels.fused.products import in_tiles, why_no_compiler
from rnnzoo.kernels.fused.program import Program
from rnnzoo.kernels.layout import Layout, Packed
from rnnzoo.transforms.dilated import over_time

RATE, TILES, STEP = 180.0, 400.0, 0.003  # GFLOP/s, those in tiles of bfloat16, and ms of one step of one cell
LAID_OUT = 1e-6  # ms to lay out one number of a matrix, forward and backward
START = 1.0  # ms of a call: less, but a trace and a compiler's run are to be made up for


_NONE: Mapping[int, Prepared] = {}


class Fused(LayerKernel):
    """C derived from a cell's ``step``, forward and backward, for any cell of row-wise arithmetic, reductions over
    the row and products with parameters. Compiled at the first run; lengths and batches never compile again.

    Under autocast to bfloat16 what is multiplied is rounded to it where the processor has tiles for that (AMX); sums,
    states and results stay in float32, and elsewhere all is.
    """

    name = "fused"

    def why_not(self, work: Work) -> str | None:
        dtype = work.cells[0].like(work.x).dtype
        if work.x.device.type != "cpu":
            return f"it runs on a CPU, and x lies on {work.x.device}"
        if under_autocast(work.x):
            if torch.get_autocast_dtype("cpu") == torch.float16:
                return "under autocast it stands in for bfloat16, not for float16"
            with torch.autocast("cpu", enabled=False):
                return self.why_not(unnarrowed(work))
        if dtype not in (torch.float32, torch.float64):
            return f"it computes in float32 and float64, not in {dtype}"
        if torch.jit.is_tracing():
            return "torch.jit.trace cannot see into it"
        if reason := why_no_transform(work):
            return reason
        if not torch.compiler.is_compiling() and prepared.forked and torch.get_num_threads() > 1:
            return "this process was forked, and its threads were not; torch.set_num_threads(1) would do"
        dims = work.x.dim() - 1
        for k, cell in enumerate(work.cells):
            first = k < len(work.layers[0])
            own = work.x.dtype if first else cell.like(work.x).dtype
            found = self._prepared(cell, own, dims, work.given(k), rows_of(work.layout))
            if isinstance(found, str):
                if torch.compiler.is_compiling() or found == why_no_compiler():
                    return found
                return f"{name_of(kind(cell))}: {found}"
            if not torch.compiler.is_compiling():
                work.programs[id(cell)] = found
        return None

    def likely_why_not(self, work: Work) -> str | None:
        if any(not type(cell).__module__.startswith("rnnzoo.") for cell in work.cells):
            return self.why_not(work)
        try:
            compiler()
        except BuildError as error:
            return str(error)
        return next((cell.not_fused for cell in work.cells if cell.not_fused), None)

    def cost(self, work: Work) -> float:
        rate = TILES if self._narrows(work) else RATE
        loops = (START + STEP * work.layout.time) * len(work.cells)
        return milliseconds(work, rate) + loops + LAID_OUT * weights(work)

    def remark(self, work: Work) -> str:
        kept = []
        for k, cell in enumerate(work.cells):
            dtype = work.x.dtype if k < len(work.layers[0]) and not under_autocast(work.x) else cell.like(work.x).dtype
            found = self._prepared(cell, dtype, work.x.dim() - 1, work.given(k), rows_of(work.layout))
            if not isinstance(found, str):
                kept.append(PROGRAMS[found.key].plan.floats_saved / cell.hidden_size)
        said = [f"keeps {sum(kept) / len(kept):.3g} numbers a step and unit for the backward"] if kept else []
        if self._narrows(work):
            said.append(f"multiplies in {str(torch.get_autocast_dtype(work.x.device.type)).removeprefix('torch.')}")
        return "; ".join(said)

    def cannot_after_all(self, error: Exception) -> bool:
        return isinstance(error, BuildError)

    def run(self, work: Work) -> tuple[Tensor, Any]:
        layer = partial(self.layer, programs=work.programs)
        if not under_autocast(work.x):
            return run_stack(work, lambda cell, x, inputs, s: over_time(layer, cell, x, inputs, s, work.layout))
        device = work.x.device.type
        layer = partial(layer, narrow=torch.get_autocast_dtype(device) if self._narrows(work) else None)
        with torch.autocast(device, enabled=False):
            return run_stack(
                unnarrowed(work), lambda cell, x, inputs, s: over_time(layer, cell, x, inputs, s, work.layout)
            )

    def _narrows(self, work: Work) -> bool:
        """Whether what is multiplied is rounded, as autocast asks for."""
        return work.x.device.type == "cpu" and narrowable(work) and _tiles()

    def layer(
        self,
        cell: Cell,
        x: Tensor,
        inputs: Mapping[str, Tensor],
        s: Any,
        layout: Layout,
        narrow: torch.dtype | None = None,
        programs: Mapping[int, Prepared] = _NONE,
    ) -> tuple[Tensor, Any]:
        found: Prepared | str | None = programs.get(id(cell))
        if found is None:
            found = self._prepared(cell, x.dtype, 1 if isinstance(layout, Packed) else 2, inputs, rows_of(layout))
        if not isinstance(found, str) and found.whole:
            return self._scan(cell, found, [x, *inputs.values()], s, layout, narrow)
        u = cell.project(x, **inputs)
        if not isinstance(found, str) and torch.compiler.is_compiling():  # which cannot look into how u is checked
            h, s = self._scan(cell, found, tree_flatten(u)[0], s, layout, narrow)
        else:
            h, s = self.scan(cell, u, s, layout, narrow)
        return cell.readout(h, u, x), s

    def scan(self, cell: Cell, u: Any, s: Any, layout: Layout, narrow: torch.dtype | None = None) -> tuple[Tensor, Any]:
        lead = 1 if isinstance(layout, Packed) else 2
        shapes = prepared.shapes_of(cell, u, s, lead)
        found = shapes if isinstance(shapes, str) else prepared.program_for(cell, shapes, rows_of(layout))
        if isinstance(found, str):
            raise RnnZooError(f"kernel {self.name!r} cannot run {name_of(kind(cell))}: {found}; set kernel='reference'")
        return self._scan(cell, Prepared(found.key, False), tree_flatten(u)[0], s, layout, narrow)

    def _scan(
        self,
        cell: Cell,
        found: Prepared,
        given: Sequence[Tensor],
        s: Any,
        layout: Layout,
        narrow: torch.dtype | None,
    ) -> tuple[Tensor, Any]:
        """`given`: the leaves of u, or where ``project`` is part of the program, x and what the cell takes besides."""
        program = PROGRAMS[found.key]
        packed = isinstance(layout, Packed)
        lead = 1 if packed else 2
        leaves = [a.reshape(-1, math.prod(a.shape[lead:])) for a in parts(given)]
        rows = leaves[0] if len(leaves) == 1 else torch.cat(leaves, -1)
        values = [_tensor(cell, n) for n in program.names]
        sizes = layout.packed.batch_sizes if isinstance(layout, Packed) else None
        h, *last = self._loops(program, rows, parts(s), values, sizes, narrow)
        ahead = h.shape[:1] if packed else (layout.time, layout.batch)
        h = h.view(*ahead, *program.plan.emitted_shape)
        y = torch.complex(*h.chunk(2, -1)) if program.emits_pairs else h
        return y, type(s)(*joined(last, program.complex_fields))

    def _prepared(
        self, cell: Cell, dtype: torch.dtype, dims: int, inputs: Mapping[str, Tensor], rows: int | None
    ) -> Prepared | str:
        return prepared.prepared(cell, dtype, dims, inputs, rows)

    def _loops(
        self,
        program: Program,
        u: Tensor,
        s: Sequence[Tensor],
        values: Sequence[Tensor],
        sizes: Tensor | None,
        narrow: torch.dtype | None,
    ) -> Sequence[Tensor]:
        """What is emitted (N, n) and the final states; `values`: of parameters and buffers."""
        return scan(program, u, s, program.early(*values), sizes, narrow is not None)


def rows_of(layout: Layout) -> int | None:
    """The rows of every step, None where they are not the same."""
    return None if isinstance(layout, Packed) else layout.batch


def under_autocast(x: Tensor) -> bool:
    return x.device.type != "meta" and torch.is_autocast_enabled(x.device.type)  # which knows no device "meta"


def narrowable(work: Work) -> bool:
    """Whether autocast asks for narrow products: of float64 it never does."""
    return under_autocast(work.x) and work.cells[0].like(work.x).dtype == torch.float32


def _tiles() -> bool:
    return in_tiles()


# in_tiles reads files and compiles, which torch.compile cannot look into; marked without importing torch._dynamo
_tiles._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch's mark, which no function declares


def _tensor(module: nn.Module, name: str) -> Tensor:
    """A parameter or a buffer by its name, as named_parameters gives it."""
    *path, last = name.split(".")
    for part in path:
        module = getattr(module, part)
    found: Tensor = getattr(module, last)
    return found


def unnarrowed(work: Work) -> Work:
    """`work` as it would be without autocast: x, inputs and states as wide as the weights."""
    dtype = work.cells[0].like(work.x).dtype

    def wide(a: Any) -> Any:
        return a.to(dtype) if isinstance(a, Tensor) and a.is_floating_point() else a

    def all_wide(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: wide(a) for n, a in inputs.items()}

    own = [all_wide(inputs) for inputs in work.own]
    return replace(work, x=wide(work.x), hx=tree_map(wide, work.hx), inputs=all_wide(work.inputs), own=own)
