"""Two graphs of one: what is made of parameters and buffers alone, once a sequence, and what runs at every step."""

from typing import Any

import torch
from torch import Tensor, fx

from rnnzoo.kernels.fused.complex_numbers import is_complex, parts
from rnnzoo.kernels.fused.expressions import ROWWISE
from rnnzoo.kernels.fused.operations import operation
from rnnzoo.kernels.fused.places import HELD
from rnnzoo.kernels.fused.unsupported import Unsupported

aten = torch.ops.aten

_PROMOTING = ROWWISE | {"add", "sub", "mul", "div", "pow"}


def hoist(
    module: fx.GraphModule, count: int, batch: int, dtype: torch.dtype
) -> tuple[fx.GraphModule, fx.GraphModule, list[Tensor]]:
    """Two graphs: what depends on the first `count` inputs alone, and the rest, which takes the former's results; and
    what these were. A complex one is handed over as its two parts, and whole numbers and truth values as numbers of
    `dtype`."""
    nodes = list(module.graph.nodes)
    alone = set([n for n in nodes if n.op == "placeholder"][:count])
    free: set[fx.Node] = set()  # made of nothing: numbers, and whatever has a batch axis; they stand in both graphs
    for n in nodes:
        if n.op == "get_attr" and str(n.target).startswith(HELD):
            continue
        if n.op == "get_attr":
            if any(user.target not in _LIFTED for user in n.users):
                raise Unsupported("its step reads a tensor that is neither a parameter nor a buffer")
            alone.add(n)
        elif n.op == "call_function" and all(a in alone | free for a in n.all_input_nodes):
            shapes = [a.shape for a in _tensors(n.meta.get("val"))]
            if not any(batch in shape for shape in shapes):
                (alone if n.all_input_nodes or any(shapes) else free).add(n)
            elif not n.all_input_nodes:
                free.add(n)
    border = [n for n in nodes if n in alone and any(user not in alone for user in n.users)]
    early, late = fx.Graph(), fx.Graph()
    given = {n: [late.placeholder(f"c_{n.name}_{k}") for k in range(1 + is_complex(n))] for n in border}
    made = {n: late.call_function(aten.complex.default, tuple(c)) if is_complex(n) else c[0] for n, c in given.items()}
    numbers = [n for n in border if n.meta["val"].dtype == torch.bool or _counts(n, alone, dtype)]
    for n in border:
        made[n].meta["val"] = n.meta["val"].to(dtype) if n in numbers else n.meta["val"]
        if n.meta["val"].dtype == torch.bool:
            made[n] = late.call_function(aten.ne.Scalar, (made[n], 0))
            made[n].meta["val"] = n.meta["val"]
    first: dict[fx.Node, fx.Node] = {}
    for n in nodes:
        if n in alone or n in free:
            first[n] = early.node_copy(n, first.__getitem__)
        if n not in alone:
            made[n] = late.node_copy(n, made.__getitem__)
    for n in numbers:
        first[n] = early.call_function(aten._to_copy.default, (first[n],), {"dtype": dtype})
    split = torch.real, torch.imag
    results = [[early.call_function(f, (first[n],)) for f in split] if is_complex(n) else [first[n]] for n in border]
    early.output(tuple(part for group in results for part in group))
    late.eliminate_dead_code()
    return (
        fx.GraphModule(module, early),
        fx.GraphModule(module, late),
        parts(n.meta["val"].to(dtype) if n in numbers else n.meta["val"] for n in border),
    )


def _counts(node: fx.Node, alone: set[fx.Node], dtype: torch.dtype) -> bool:
    """Whether every step uses whole numbers as it would use the same numbers of `dtype`."""
    if node.meta["val"].dtype not in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        return False
    return all(
        operation(user) in _PROMOTING
        and isinstance(user.meta.get("val"), Tensor)
        and user.meta["val"].dtype in (dtype, torch.bool)
        for user in node.users
        if user not in alone
    )


_LIFTED = (aten.lift_fresh_copy.default, aten.lift_fresh.default)


def _tensors(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [a for a in value or () if isinstance(a, Tensor)]
