"""A fast network around a slow one."""

from collections import namedtuple
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import Cell, at_least_one
from rnnzoo.cells.registry import create, find, name_of, register
from rnnzoo.errors import RnnZooError


@cache
def _state(*fields: str) -> Any:
    return namedtuple("__".join(["FastSlow", *fields]), fields, module=__name__)


def __getattr__(name: str) -> Any:
    """The types of states, made when they are asked for: by pickle, which knows them by their names."""
    kind, *fields = name.split("__")
    if kind == "FastSlow" and fields:
        return _state(*fields)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@register("fast_slow_rnn")
class FastSlowRNN(Cell):
    """Mujika et al. 2017, Fast-Slow RNN: L fast cells in turn at every step, and a slow one fed by the first.

    f = F_1(x_t, f_{t-1})
    s_t = S(f, s_{t-1})
    f = F_2(s_t, f)
    f = F_k(1, f), k = 3 ... L
    f_t = f

    Each is a cell with weights of its own, called with its input and its state; the fast cells hand one state along,
    of which the last one's output is the output. In the paper those from the third on have no input: they read a
    constant 1, so that their input weights are biases. Every cell starts as it does by itself.

    Args:
        fast: the fast cells, by name or class; of those whose output is made of their state alone.
        slow: the slow cell, by name or class.
        depth: L, at least 2.
        slow_size: features of the slow cell's hidden state; None for as many as the fast ones'.

    Raises:
        RnnZooError: a `depth` below 2, a fast cell whose output reads its input, or one with further inputs.
    """

    State = _state("fast_h", "fast_c", "slow_h", "slow_c")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        fast: str | type[Cell] = "lstm",
        slow: str | type[Cell] = "lstm",
        depth: int = 2,
        slow_size: int | None = None,
        bias: bool = True,
    ):
        super().__init__(input_size, hidden_size, bias=bias)
        self.fast, self.slow, self.depth, self.slow_size = fast, slow, depth, slow_size
        if at_least_one("depth", depth) < 2:
            raise RnnZooError(f"depth of fast_slow_rnn must be at least 2, not {depth}: the slow cell feeds the second")
        for cls in (find(fast), find(slow)):
            if cls.inputs:
                raise RnnZooError(f"fast_slow_rnn has no {cls.inputs[0]!r} to give to {name_of(cls)}")
        if find(fast).readout is not Cell.readout:
            raise RnnZooError(f"fast_slow_rnn takes no {name_of(find(fast))} as fast cell: its output reads its input")
        options = {} if bias else {"bias": False}
        first = create(fast, input_size, hidden_size, **options)
        slow_size = hidden_size if slow_size is None else at_least_one("slow_size", slow_size)
        self.slow_cell = create(slow, first.output_size, slow_size, **options)
        sizes = [self.slow_cell.output_size] + [1] * (depth - 2)
        self.fast_cells = nn.ModuleList([first, *(create(fast, size, hidden_size, **options) for size in sizes)])
        fields = [f"fast_{n}" for n in first.State._fields] + [f"slow_{n}" for n in self.slow_cell.State._fields]
        self.State = _state(*fields)  # type: ignore[misc]  # of each instance

    @property
    def output_size(self) -> int:
        return self._first.output_size

    @property
    def _first(self) -> Cell:
        cell = self.fast_cells[0]
        assert isinstance(cell, Cell)
        return cell

    def reset_parameters(self) -> None:
        for cell in (*self.fast_cells, self.slow_cell):
            cell.reset_parameters()

    def initial_state(self, batch: int, like: Tensor) -> Any:
        return self.State(*self._first.initial_state(batch, like), *self.slow_cell.initial_state(batch, like))

    def project(self, x: Tensor, **inputs: Tensor) -> Any:
        return self._first.project(x)

    def step(self, u: Any, s: Any) -> Any:
        fast, slow = self._fast(s), self.slow_cell.State(*s[len(self._first.State._fields) :])
        _, second, *others = self.fast_cells
        fast = self._first.step(u, fast)
        y, slow = self.slow_cell(self._first.emit(fast), slow)
        y, fast = second(y, fast)
        for cell in others:
            y, fast = cell(torch.ones_like(y[..., :1]), fast)
        return self.State(*fast, *slow)

    def emit(self, s: Any) -> Tensor:
        return self._first.emit(self._fast(s))

    def _fast(self, s: Any) -> Any:
        return self._first.State(*s[: len(self._first.State._fields)])
