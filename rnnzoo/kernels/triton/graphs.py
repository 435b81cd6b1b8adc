"""CUDA graphs of whole loops: one replay in place of two launches or more a step."""

import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnnzoo.kernels.fused.steps import Steps

_MOST = 12  # graphs of a program, each of which holds a loop's buffers
_REST = 4 * _MOST  # calls without it after which a graph makes room for another
_SEEN = 64  # sizes that are remembered as seen
_NODES = 50_000  # launches in a graph, above which it takes more memory and time to make than it is worth

Buffers = dict[str, Tensor]


@dataclass(frozen=True)
class Captured:
    """A graph, the buffers it starts from, what they are called after it, and its constants."""

    graph: torch.cuda.CUDAGraph
    first: Buffers
    last: Buffers
    constants: list[Tensor]


class Graphs:
    """The graphs of a program, by loop, sizes, device and stream; a graph is made when they come a second time, so
    that by then everything is compiled, and sizes that come once cost nothing."""

    def __init__(self) -> None:
        self._made: OrderedDict[Any, Captured | None] = OrderedDict()
        self._seen: OrderedDict[Any, None] = OrderedDict()
        self._calls, self._used = 0, dict[Any, int]()

    def can(self, steps: Steps, device: torch.device, parts: int) -> bool:
        """Whether a loop can be a graph: how many packed rows a step has would be part of it."""
        return device.type == "cuda" and not steps.packed and steps.time * parts <= _NODES and not capturing(device)

    def replayed(
        self,
        key: Any,
        allocate: Callable[[Mapping[str, Tensor]], Buffers],
        load: Callable[[Mapping[str, Tensor]], list[tuple[Tensor, Tensor]]],
        launch: Callable[[Buffers, Sequence[Tensor]], Buffers],
        constants: Sequence[Tensor],
        kept: Sequence[str],
    ) -> Buffers | None:
        """Copies of the buffers in `kept` after a replay, or None where there is no graph (yet). `load` gives what is
        copied, and before it to where, when a replay starts."""
        self._calls += 1
        if key not in self._made:
            if key not in self._seen:
                _remember(self._seen, key, None, _SEEN)
                return None
            if len(self._made) == _MOST and self._calls - self._used[next(iter(self._made))] < _REST:
                return None  # more sizes are in use than there may be graphs: to make them anew would take longer
            _remember(self._made, key, _capture(allocate, launch, constants), _MOST)
            self._used = {k: self._used.get(k, 0) for k in self._made}
        self._made.move_to_end(key)
        self._used[key] = self._calls
        found = self._made[key]
        if found is None:
            return None
        _copy([*load(found.first), *zip(found.constants, constants, strict=True)])
        found.graph.replay()
        there = {b: found.last[b] for b in kept if b in found.last}
        copies = {b: torch.empty_like(a) for b, a in there.items()}
        _copy(list(zip(copies.values(), there.values(), strict=True)))
        return copies


def _copy(pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    """All at once, to the first of each pair: a launch costs more than most of them."""
    if pairs:
        to, given = zip(*pairs, strict=True)
        torch._foreach_copy_(to, given)


def capturing(device: torch.device) -> bool:
    """Whether somebody is making a graph: launches go to it, and nothing may be copied from the CPU."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def stream(device: torch.device) -> int:
    """The stream that the caller's work on `device` goes to."""
    return torch.cuda.current_stream(device).cuda_stream


def _capture(
    allocate: Callable[[Mapping[str, Tensor]], Buffers],
    launch: Callable[[Buffers, Sequence[Tensor]], Buffers],
    constants: Sequence[Tensor],
) -> Captured | None:
    with torch.inference_mode(False), torch.no_grad():
        first = allocate({})
        own = [torch.empty_like(a) for a in constants]
        last: Buffers = {}
        launch(first, own)  # compiles what is compiled for memory that lies as this does: a capture must not
        try:
            graph = _recorded(lambda: last.update(launch(first, own)))
        except RuntimeError as error:
            warnings.warn(f"kernel 'triton' runs without CUDA graphs, and slower: {error}", stacklevel=2)
            return None
    return Captured(graph, first, last, own)


def _recorded(run: Callable[[], object]) -> torch.cuda.CUDAGraph:
    """What `run` launches, as a graph."""
    graph = torch.cuda.CUDAGraph()
    # other threads may go on to allocate: a loader that pins memory does
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        run()
    return graph


def _remember(table: OrderedDict[Any, Any], key: Any, value: Any, most: int) -> None:
    table[key] = value
    while len(table) > most:
        table.popitem(last=False)
