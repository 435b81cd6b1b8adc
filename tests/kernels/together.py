"""Groups of tests whose cells are compiled in one run of the compiler, before the first of them."""

import pytest
import torch

from rnnzoo.kernels.fused.ops import PROGRAMS
from rnnzoo.kernels.fused.program import compile_programs


def in_groups(named, group, size=8):
    """Parameters by name, `size` of them at a time in a group, which one worker of pytest-xdist runs."""
    for k, (name, value) in enumerate(named.items()):
        values = value if isinstance(value, tuple) else (value,)
        yield pytest.param(*values, id=name, marks=pytest.mark.xdist_group(f"{group} {k // size}"))


def compile_group(request, work_of):
    """Compiles what those tests need that are to run in the group of `request`: `work_of(item)`, (rnn, x, inputs)."""
    group = request.node.get_closest_marker("xdist_group")
    if group is None or group.args in _DONE:
        return
    _DONE.add(group.args)
    before = set(PROGRAMS)
    with torch.random.fork_rng():
        for item in request.session.items:
            if item.get_closest_marker("xdist_group") == group:
                rnn, x, inputs = work_of(item)
                rnn.kernel = "reference"
                rnn.explain(x, **inputs)  # which traces it
    compile_programs(PROGRAMS[key] for key in set(PROGRAMS) - before)


_DONE = set()
