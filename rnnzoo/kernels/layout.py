"""How a batch of sequences lies in memory: dense (T, B, ...), or packed (N, ...) with N the sum of the lengths."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnnzoo.cells.contract import steps
from rnnzoo.kernels.transforms import transforms


class Dense:
    """Sequences of equal length, (T, B, ...)."""

    batch_sizes: list[int] | None = None

    def __init__(self, x: Tensor):
        self.time, self.batch = x.shape[:2]

    @classmethod
    def of(cls, time: int, batch: int) -> "Dense":
        """The layout of so many steps and sequences."""
        return cls(torch.empty(time, batch, 0))

    def steps(self, u: Any) -> list[Any]:
        """The time steps of a pytree, T of (B, ...)."""
        return steps(u)

    def reverse(self, x: Tensor) -> Tensor:
        """Every sequence from its end to its start."""
        return x.flip(0)

    def spread(self, a: Tensor) -> Tensor:
        """One row a sequence, (B, ...), at each of its steps."""
        return a.expand(self.time, *a.shape)

    def ahead(self, a: Tensor) -> Tensor:
        """At each step what lies at the next; zeros at the last."""
        return _ahead(a)

    def whole(self, a: Tensor) -> Tensor:
        """The rows as (T, B, ...)."""
        return a


class Packed:
    """Sequences of any length, longest first, as torch packs them: the rows alive at step 0, then at step 1, ..."""

    def __init__(self, packed: PackedSequence):
        self.packed = packed
        self.batch_sizes: list[int] = packed.batch_sizes.tolist()
        self.time, self.batch = len(self.batch_sizes), self.batch_sizes[0]

    def steps(self, u: Any) -> list[Any]:
        """The time steps of a pytree, T of (rows alive, ...)."""
        return steps(u, self.batch_sizes)

    def reverse(self, x: Tensor) -> Tensor:
        """Every sequence from its end to its start, each within its own length."""
        return x.index_select(0, self._mirrored)

    def spread(self, a: Tensor) -> Tensor:
        """One row a sequence, (B, ...), at each of its steps."""
        return a[self.places[1]]

    def ahead(self, a: Tensor) -> Tensor:
        """At each step of a sequence what lies at its next; zeros at its last."""
        return _ahead(self.whole(a))[self.places]

    def whole(self, a: Tensor) -> Tensor:
        """The rows as (T, B, ...), zeros behind a sequence's end."""
        return a.new_zeros(self.time, self.batch, *a.shape[1:]).index_put(self.places, a)

    @cached_property
    def _mirrored(self) -> Tensor:
        """For the row of (t, b), the row of (length_b - 1 - t, b); it is its own inverse."""
        sizes = self.packed.batch_sizes
        starts = sizes.cumsum(0) - sizes
        t, b = (a.cpu() for a in self.places)
        lengths = (sizes[None, :] > torch.arange(self.batch)[:, None]).sum(1)
        return (starts[lengths[b] - 1 - t] + b).to(self.packed.data.device)

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """Of every row, (N,), its step and its sequence."""
        t, b = places(self.packed.batch_sizes)
        return t.to(self.packed.data.device), b.to(self.packed.data.device)


def places(sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Of every row of packed data, (N,), its step and its sequence; `sizes`: the rows of each step."""
    t = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    return t, torch.arange(len(t)) - (sizes.cumsum(0) - sizes)[t]


def pack(x: Tensor, lengths: Tensor) -> PackedSequence:
    """Sequences (T, B, ...) of `lengths` (B,), packed."""
    if not transforms():
        return pack_padded_sequence(x, lengths, enforce_sorted=False)
    # torch.func knows nothing of torch's own packing, and of rows that are picked all it needs
    order = sorted(range(len(lengths)), key=lambda b: -int(lengths[b]))
    rows = [(t, b) for t in range(int(lengths.max())) for b in order if t < int(lengths[b])]
    t, b = (torch.tensor(index, device=x.device) for index in zip(*rows, strict=True))
    sizes = torch.bincount(t).cpu()
    return PackedSequence(x[t, b], sizes, torch.tensor(order, device=x.device))


def pad(packed: PackedSequence, time: int) -> Tensor:
    """Packed sequences as (time, B, ...), zeros behind the end of each."""
    if not transforms():
        return pad_packed_sequence(packed, total_length=time)[0]
    t, b = (a.to(packed.data.device) for a in places(packed.batch_sizes))
    if packed.sorted_indices is not None:
        b = packed.sorted_indices[b]
    B = int(packed.batch_sizes[0])
    whole = packed.data.new_zeros(time, B, *packed.data.shape[1:])
    return whole.index_put((t, b), packed.data)


def _ahead(a: Tensor) -> Tensor:
    return torch.cat([a[1:], torch.zeros_like(a[:1])])


Layout = Dense | Packed
