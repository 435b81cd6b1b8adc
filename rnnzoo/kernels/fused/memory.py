"""Memory that is used again, step after step of training.

What the C library takes for large tensors it gives back to the system, and the next step pays for every page of it
anew: a fifth of a training step of an LSTM at (B, T, I, H) = (64, 128, 512, 512), as `benchmarks/README.md` has it.
Here a block waits for the next request of its size.
"""

import math
import os
import threading

import torch
from torch import Tensor

_LARGE = 1 << 20  # bytes: smaller ones the C library keeps itself
_WAIT = 64  # requests that a block waits through before it is given back


class Blocks:
    """Blocks by size; one is free again as soon as no tensor lies in it."""

    def __init__(self) -> None:
        self._blocks: dict[int, list[tuple[torch.UntypedStorage, int]]] = {}  # with the request of its last use
        self._requests = 0
        self._lock = threading.Lock()

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """As torch.empty(shape), on a CPU."""
        size = math.prod(shape) * dtype.itemsize
        if size < _LARGE:
            return torch.empty(shape, dtype=dtype)
        tensor = torch.empty(0, dtype=dtype)
        with self._lock:
            self._requests += 1
            blocks = self._blocks.setdefault(size, [])
            at = next((k for k, (block, _) in enumerate(blocks) if _free(block)), None)
            block = torch.UntypedStorage(size) if at is None else blocks.pop(at)[0]
            blocks.append((block, self._requests))
            tensor.set_(block, 0, shape)  # type: ignore[call-overload]  # not a view: it may be changed in place
            self._give_back()
        return tensor

    def give_back(self) -> None:
        """Drops every block in which no tensor lies."""
        with self._lock:
            for size, blocks in list(self._blocks.items()):
                self._blocks[size] = [(block, used) for block, used in blocks if not _free(block)]
                if not self._blocks[size]:
                    del self._blocks[size]

    def _give_back(self) -> None:
        """Drops what has waited too long."""
        old = self._requests - _WAIT
        for size, blocks in list(self._blocks.items()):
            if blocks[0][1] <= old:
                self._blocks[size] = [(b, used) for b, used in blocks if used > old]
                if not self._blocks[size]:
                    del self._blocks[size]


def _free(block: torch.UntypedStorage) -> bool:
    return torch._C._storage_Use_Count(block._cdata) == 1


BLOCKS = Blocks()


def _after_fork() -> None:
    """A child starts with none: another thread may have held the lock."""
    vars(BLOCKS).update(vars(Blocks()))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
