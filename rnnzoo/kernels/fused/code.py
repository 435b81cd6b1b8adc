"""A traced graph as Python source, which other processes can run without tracing anew."""

import types
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

_KNOWN = ("torch", "device", "inf", "nan", "NoneType", "fx_pytree", "pytree")  # what fx may name in source


class Code(nn.Module):
    """The function that a graph without nested inputs is: its source, and the tensors that it reads beside them.

    Args:
        source: of a function `forward(self, ...)`, as fx writes it.
        tensors: attributes of self.
        names: what the source names besides torch and what is built in.
    """

    def __init__(self, source: str, tensors: Mapping[str, Tensor], names: Mapping[str, Any]):
        super().__init__()
        self.source, self._names = source, dict(names)
        for name, a in tensors.items():
            self.register_buffer(name, a)
        self._function = self._compiled(torch.device("cpu"))

    @staticmethod
    def of(graph: fx.Graph, owner: nn.Module) -> "Code":
        """The code of `graph`, which was traced on a CPU and whose attributes `owner` has."""
        written = graph.python_code("self")
        attributes = {str(n.target): getattr(owner, str(n.target)) for n in graph.nodes if n.op == "get_attr"}
        others = {k: v for k, v in written.globals.items() if k not in _KNOWN}
        return Code(written.src, attributes, others)

    def forward(self, *given: Any) -> Any:
        return self._function(self, *given)

    def on(self, device: torch.device) -> "Code":
        """The same for tensors on another device."""
        moved = Code(self.source, {n: a.to(device) for n, a in self.named_buffers()}, self._names)
        moved._function = moved._compiled(device)
        return moved

    def _compiled(self, device: torch.device) -> Callable[..., Any]:
        """The source's function, in which tensors are made on `device`."""
        own = {"torch": torch, "inf": float("inf"), "nan": float("nan"), "NoneType": types.NoneType}
        names: dict[str, Any] = own | self._names | {"device": lambda **_: device}
        exec(compile(self.source, "<rnnzoo: a cell's graph>", "exec"), names)
        return names["forward"]

    def __reduce__(self) -> tuple[Any, ...]:
        return Code, (self.source, dict(self.named_buffers()), self._names)
