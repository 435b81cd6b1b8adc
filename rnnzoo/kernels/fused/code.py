"""A traced graph as Python source, which other processes can run without tracing anew."""

import operator
import re
import types
from collections.abc import Callable, Mapping
from functools import cache
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
    def of(graph: fx.Graph, owner: nn.Module, batch: int | None = None) -> "Code":
        """The code of `graph`, which was traced on a CPU and whose attributes `owner` has. Where it was traced for
        `batch` rows, the code takes their number first, and serves any."""
        if batch is not None:
            graph = _of_any_batch(graph, batch)
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


def _of_any_batch(graph: fx.Graph, batch: int) -> fx.Graph:
    """`graph` with the number of rows as its first input, in place of `batch` wherever an operation takes a size."""
    found = fx.Graph()
    rows = found.placeholder("rows")
    made: dict[fx.Node, fx.Node] = {}

    def size(n: Any) -> Any:
        if isinstance(n, bool) or not isinstance(n, int) or n == 0 or n % batch:
            return n
        return rows if n == batch else found.call_function(operator.mul, (rows, n // batch))

    for node in graph.nodes:
        names = _sizes_of(node.target) if node.op == "call_function" else frozenset()
        if not names:
            made[node] = found.node_copy(node, made.__getitem__)
            continue
        declared = [a.name for a in node.target._schema.arguments]
        args = [_mapped(size, a) if n in names else a for n, a in zip(declared, node.args, strict=False)]
        kwargs = {n: _mapped(size, a) if n in names else a for n, a in node.kwargs.items()}
        put = fx.node.map_arg((tuple(args), kwargs), lambda n: made.get(n, n))
        made[node] = found.call_function(node.target, *put)
    return found


def _mapped(function: Callable[[Any], Any], a: Any) -> Any:
    return [function(n) for n in a] if isinstance(a, list | tuple) else function(a)


@cache
def _sizes_of(target: Any) -> frozenset[str]:
    """The arguments of an operation that are sizes."""
    schema = getattr(target, "_schema", None)
    return frozenset(re.findall(r"SymInt(?:\[\d*\])?\??\s+(\w+)", str(schema)))
