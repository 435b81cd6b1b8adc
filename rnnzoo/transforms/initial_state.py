"""A learned initial state."""

from typing import Any

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import Cell
from rnnzoo.transforms.around import Around


class LearnedInitialState(Around):
    """The state before the first step is a parameter a field, ``initial_h``, the same for every sequence.

    It starts from the cell's own initial state, so that nothing changes before it learns. Whole numbers and fields of
    one number a sequence, such as clocks, are not learned. It is used where no `hx` is given, and at resets.

    Args:
        cell: the cell.
    """

    stays_linear = True

    def __init__(self, cell: Cell):
        super().__init__(cell)
        given = "the check runs from a state that it gives, and what is learned is read where none is given"
        self.limits = {**cell.limits, "no parameter is dead": given}  # type: ignore[misc]
        for field, a in self._starts():
            self.register_parameter(f"initial_{field}", nn.Parameter(torch.empty_like(a)))

    def reset_own(self) -> None:
        with torch.no_grad():
            for field, a in self._starts():
                getattr(self, f"initial_{field}").copy_(a)

    def initial_state(self, batch: int, like: Tensor) -> Any:
        s = self.cell.initial_state(batch, like)
        own = {field: getattr(self, f"initial_{field}", None) for field in s._fields}
        learned = {f: p.to(getattr(s, f).dtype).expand_as(getattr(s, f)) for f, p in own.items() if p is not None}
        return s._replace(**learned)

    def step(self, u: Any, s: Any) -> Any:
        return self.cell.step(u, s)

    def _starts(self) -> list[tuple[str, Tensor]]:
        """The fields that are learned, and what they start from, without a batch axis."""
        s = self.cell.initial_state(1, self.cell.like(torch.empty(0)))
        fields = ((f, a) for f, a in zip(s._fields, s, strict=True) if a.dim() > 1)
        return [(f, a[0].detach()) for f, a in fields if a.is_floating_point() or a.is_complex()]
