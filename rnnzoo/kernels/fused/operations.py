"""What the nodes of a graph do: their names, and the tensors that they make of one number."""

from torch import fx

_MADE: dict[str, float | None] = {"full": None, "full_like": None, "new_full": None, "scalar_tensor": None}
_MADE |= dict.fromkeys(("empty_permuted", "empty_like", "new_empty"), 0.0)  # whose numbers nothing reads
_MADE |= {"zeros": 0.0, "zeros_like": 0.0, "new_zeros": 0.0, "ones": 1.0, "ones_like": 1.0, "new_ones": 1.0}
_AT = {"scalar_tensor": 0, "new_full": 2}  # which argument is the number; 1 elsewhere


def operation(node: fx.Node) -> str:
    """The name of what a node calls, whichever overload it is."""
    target = node.target
    return str(getattr(target, "_opname", getattr(target, "__name__", target)))


def filled(node: fx.Node) -> float | complex | None:
    """The number that a node fills a tensor with; None for what does not."""
    name = operation(node)
    value = _MADE.get(name)
    if value is not None or name not in _MADE:
        return value
    given = node.args[_AT.get(name, 1)]
    if isinstance(given, complex):
        return given
    return float(given) if isinstance(given, bool | int | float) else None
