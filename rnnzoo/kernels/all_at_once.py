"""Whether a linear cell's coefficients are the same for all steps at once as for each step on its own."""

import ctypes
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils._python_dispatch import _disable_current_modes

from rnnzoo.cells.contract import Cell, steps
from rnnzoo.kernels.fingerprint import fingerprint
from rnnzoo.kernels.fused.alone import alone
from rnnzoo.kernels.fused.purity import unchanged
from rnnzoo.kernels.fused.trace import Calls, real_values
from rnnzoo.kernels.fused.unsupported import Unsupported

_T, _B, _MOST = 3, 2, 256

_answers: OrderedDict[Any, str | None] = OrderedDict()


def why_not_all_at_once(cell: Cell, dtype: torch.dtype, dims: int, inputs: Mapping[str, Tensor]) -> str | None:
    """The reason why the coefficients of `cell` cannot be computed for all steps at once, or None; remembered.

    `dtype`: of x, which has `dims` axes before its features.
    """
    about = tuple((n, tuple(a.shape[dims:]), a.dtype) for n, a in inputs.items())
    if torch.compiler.is_compiling():
        return _in_a_trace(id(cell), dtype, about)
    return _answer(cell, dtype, about)


def _in_a_trace(ident: int, dtype: torch.dtype, about: Any) -> str | None:
    """The same while torch.compile or torch.export looks on, to which it is a constant; by the cell's id, as only
    constants may be handed over."""
    with _disable_current_modes(), torch._C.DisableTorchFunction():
        return _answer(ctypes.cast(ident, ctypes.py_object).value, dtype, about)


_in_a_trace._dynamo_marked_constant = True  # type: ignore[attr-defined]  # without importing torch._dynamo


def _answer(cell: Cell, dtype: torch.dtype, about: Any) -> str | None:
    mark = fingerprint(cell)
    if isinstance(mark, str):
        return mark
    key = mark.digest, dtype, about
    if key not in _answers:
        answer = alone(lambda: _compared(cell, dtype, about))
        if answer is None and not mark.holds(cell):
            answer = f"its coefficients change {mark.first_change(cell)}, as every step would"
        _answers[key] = answer
        while len(_answers) > _MOST:
            _answers.popitem(last=False)
    return _answers[key]


def _compared(cell: Cell, dtype: torch.dtype, about: Any) -> str | None:
    generator = torch.Generator().manual_seed(1)
    # as wide as the weights, whatever autocast makes of it in the call
    wide = cell.like(torch.empty(0, dtype=dtype)).dtype
    dtype = wide if dtype.is_floating_point else dtype
    x = torch.zeros(_T, _B, cell.input_size, dtype=dtype)
    if x.is_floating_point():  # whole numbers may count something: 0 is always there
        x = torch.randn(x.shape, generator=generator).to(dtype)
    inputs = {n: torch.ones(_T, _B, *shape, dtype=wide if kind.is_floating_point else kind) for n, shape, kind in about}
    values = {f"cell.{n}": a for n, a in real_values(cell).items()}

    def call(method: str, *args: Any, **kwargs: Any) -> Any:
        return functional_call(Calls(cell), values, (method, *args), kwargs)

    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            h = call("initial_state", _B, torch.empty(0, dtype=cell.like(x).dtype)).h
            u = call("project", x, **inputs)
            with unchanged(cell):
                whole = call("coefficients", u)
                each = [call("coefficients", u_t) for u_t in steps(u)]
        except Unsupported as error:
            return str(error).replace("its step changes", "its coefficients change", 1)
        except Exception as error:
            return f"its coefficients fail on all steps at once ({type(error).__name__}: {error})"
        for k in range(2):
            try:
                together = whole[k].expand(_T, *h.shape)
                apart = torch.stack([a[k].expand(h.shape) for a in each])
            except (RuntimeError, AttributeError):
                return None  # shapes that fit nothing: the kernel names them
            near = 1e-2 if together.dtype in (torch.float16, torch.bfloat16) else 1e-4
            if not torch.allclose(together, apart, rtol=near, atol=near, equal_nan=True):
                return "its coefficients of all steps at once are not those of each step: they read the shape of u"
    return None
