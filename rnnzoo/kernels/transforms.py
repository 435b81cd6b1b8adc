"""The transforms of torch.func that a call stands in."""

import torch


def transforms() -> tuple[str, ...]:
    """The transforms of torch.func around this call, the outermost first: "Vmap", "Grad", "Jvp", "Functionalize".

    What torch.compile is tracing it is asked for once, and torch sees to it that it holds when it runs.
    """
    stack = torch._C._functorch.get_interpreter_stack()
    return tuple(level.key().name for level in stack) if stack else ()


transforms._dynamo_marked_constant = True  # type: ignore[attr-defined]  # without importing torch._dynamo
