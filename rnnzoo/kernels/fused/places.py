"""Places of an axis that a step reads from buffers of whole numbers: a trace holds them, as it holds sizes."""

from typing import Any

import torch
from torch import Tensor, fx

from rnnzoo.kernels.fused.operations import operation

HELD = "places_"  # begins the names of the tensors that a trace holds
_CHOOSING = ("index", "index_select")


class ReadsPlaces(Exception):
    """A step that reads places of an axis from buffers, named here, whose contents are not part of the shapes."""

    def __init__(self, names: frozenset[str]):
        super().__init__(", ".join(sorted(names)))
        self.names = names


def hold_places(module: fx.GraphModule, values: dict[str, Tensor], known: frozenset[str]) -> None:
    """Puts the whole numbers that name places of an axis into a graph, in place of what they are made of.

    Raises:
        ReadsPlaces: they are made of other buffers than those that are `known` to be read so.
    """
    inputs = dict(zip([n for n in module.graph.nodes if n.op == "placeholder"], values, strict=False))
    read: set[str] = set()
    known_sources: dict[fx.Node, set[fx.Node]] = {}
    for n in list(module.graph.nodes):
        users = [u for u in n.users if operation(u) in _CHOOSING and not _sources(u, known_sources) <= inputs.keys()]
        chooses = users and isinstance(n.meta.get("val"), Tensor) and n.meta["val"].dtype in (torch.int64, torch.int32)
        sources = _sources(n, known_sources) if chooses else set()
        if not sources or not sources <= inputs.keys():
            continue
        read |= {inputs[source] for source in sources}
        numbers = _evaluated(n, {source: values[inputs[source]] for source in sources})
        module.register_buffer(f"{HELD}{n.name}", numbers)
        with module.graph.inserting_before(users[0]):
            held = module.graph.get_attr(f"{HELD}{n.name}")
        held.meta["val"] = numbers
        for user in users:
            user.replace_input_with(n, held)
    if read - known:
        raise ReadsPlaces(frozenset(read))


def _sources(node: fx.Node, found: dict[fx.Node, set[fx.Node]]) -> set[fx.Node]:
    """The graph's inputs that a node is made of; `found` remembers them."""
    if node not in found:
        own = {node} if node.op == "placeholder" else set()
        found[node] = own.union(*(_sources(above, found) for above in node.all_input_nodes))
    return found[node]


def _evaluated(node: fx.Node, known: dict[fx.Node, Tensor]) -> Any:
    if node in known:
        return known[node].clone()
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: _evaluated(n, known))
    return node.target(*args, **kwargs)  # type: ignore[operator]  # only calls have inputs, or none
