"""What the vendor's operations can do on this processor: asked of them by a tiny call, once for every kind of call."""

import contextlib
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from rnnzoo.kernels.transforms import transforms

_B, _I, _H = 3, 4, 5  # of the tiny call
Sizes = tuple[int, ...] | None
EVEN, UNEVEN = (_B, _B), (_B, _B - 1)  # rows of each step of packed sequences

OPERATIONS: dict[str, tuple[Callable[..., Any], int, int]] = {  # by cuDNN's name: with how many gates and states
    "LSTM": (torch.lstm, 4, 2),
    "GRU": (torch.gru, 3, 1),
    "RNN_TANH": (torch.rnn_tanh, 1, 1),
    "RNN_RELU": (torch.rnn_relu, 1, 1),
}


def why_not(
    mode: str, x: torch.dtype, state: torch.dtype, weights: torch.dtype, sizes: Sizes, bias: bool, train: bool
) -> str | None:
    """The reason why torch's operation cannot run on this CPU under the present autocast and gradient mode, or None.

    `sizes`: None, or of packed sequences EVEN where all are of one length, which torch treats as if they were not
    packed, else UNEVEN. Processors differ: oneDNN has LSTMs of bfloat16 since AVX-512, and of float16 forward alone,
    on few of them.
    """
    narrow = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
    call = mode, x, state, weights, sizes, bias, train
    key = (*call, narrow, torch.is_grad_enabled(), torch._C._get_mkldnn_enabled())
    if key not in _ANSWERS:
        _ANSWERS[key] = _answer(*call)
    return _ANSWERS[key]


why_not._dynamo_marked_constant = True  # type: ignore[attr-defined]  # without importing torch._dynamo

_ANSWERS: dict[Hashable, str | None] = {}


def _answer(
    mode: str, x: torch.dtype, state: torch.dtype, weights: torch.dtype, sizes: Sizes, bias: bool, train: bool
) -> str | None:
    differentiated = torch.is_grad_enabled()
    try:
        with _by_itself(), torch.set_grad_enabled(differentiated):  # leaving inference mode has turned it on
            _try(mode, x, state, weights, sizes, bias, train)
    except RuntimeError as error:
        under = f" under autocast to {torch.get_autocast_dtype('cpu')}" if torch.is_autocast_enabled("cpu") else ""
        return f"torch's {mode} of {x}{under} fails on this processor: {said(error)}"
    return None


def _try(
    mode: str, x: torch.dtype, state: torch.dtype, weights: torch.dtype, sizes: Sizes, bias: bool, train: bool
) -> None:
    operation, gates, states = OPERATIONS[mode]
    backward = torch.is_grad_enabled()
    shapes = [(gates * _H, _I), (gates * _H, _H), *[(gates * _H,)] * (2 * bias)]
    own = [torch.zeros(shape, dtype=weights, requires_grad=backward) for shape in shapes]
    hx = [torch.zeros(1, _B, _H, dtype=state) for _ in range(states)]
    h: Any = hx if states > 1 else hx[0]
    options = (bias, 1, 0.0, train, False)
    if sizes is None:
        y, *_ = operation(torch.zeros(2, _B, _I, dtype=x, requires_grad=backward), h, own, *options, False)
    else:
        rows = torch.zeros(sum(sizes), _I, dtype=x, requires_grad=backward)
        y, *_ = operation(rows, torch.tensor(sizes), h, own, *options)
    if backward:
        y.sum().backward()


@contextlib.contextmanager
def _by_itself() -> Iterator[None]:
    """Nothing of what the caller's call stands in: inference mode, transforms, a trace."""
    with contextlib.ExitStack() as stack:
        if transforms():
            from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

            stack.enter_context(temporarily_clear_interpreter_stack())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(_disable_current_modes())
        stack.enter_context(torch._C.DisableTorchFunction())
        stack.enter_context(torch.autocast("cpu", enabled=torch.is_autocast_enabled("cpu"), cache_enabled=False))
        yield


def said(error: BaseException) -> str:
    """The first sentence of an error."""
    lines = str(error).strip().split("\n")
    return lines[0].split(". ")[0].strip().removesuffix(".") or type(error).__name__
