"""Sequences of like lengths in a batch, so that little of it is padding."""

import os
from collections.abc import Iterator
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from rnnzoo.data.position import next_position
from rnnzoo.data.sharing import BegunWhenRead, as_it_is, processes, ready, share
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

_POOL = 1 << 16  # rows that are sorted by length together
_BLOCK = 64  # rows that lie side by side in the data set and in a pool: a file is read in larger pieces
_FEWEST, _BATCHES = 2, 8  # batches of a bucket; one alone would be the same in every epoch
_NEAR = 0.75  # of the longest sequence of a bucket; shorter ones go to the next, but for those of the fewest batches


class Draw(NamedTuple):
    """The examples of a batch: their `places`, or none for a batch that counts for nothing, and the `epoch`."""

    places: list[int]
    epoch: int


class Bucketed(Sampler[Draw]):
    """Batches of sequences of like lengths, in an order that depends on the seed and the epoch only.

    The sequences of a pool are sorted by length, with ties in an order of the epoch's own, and cut into buckets of
    two to eight batches. The batches of a bucket are drawn from it anew in each epoch, and those of a pool come mixed.
    A batch has at most `batch_size` sequences, and at most `tokens` with its padding; every epoch has equally many. The
    memory it takes is four bytes a sequence, and that of one pool.

    The k-th batches of all processes are together the k-th batch that one process would see.

    Args:
        lengths: of all sequences, (N,), in tokens.
        batch_size: over all processes, a multiple of their number.
        tokens: of a batch at most, over all processes, with padding; None for no such limit.
        seed: of the order.
        trainer: which knows of the processes, and of the epoch after a resume; None for a loop of one's own, which
            calls `set_epoch`.
    """

    def __init__(
        self, lengths: np.ndarray, batch_size: int, tokens: int | None, seed: int, trainer: "Trainer | None" = None
    ) -> None:
        self.lengths, self.batch_size, self.tokens = lengths.astype(np.int32, copy=False), batch_size, tokens
        self.seed, self.trainer, self.epoch = seed, trainer, 0
        self.world_size, self.rank = processes(trainer)
        share(batch_size, self.world_size)
        blocks = -(-len(lengths) // _BLOCK)
        self._pools = max(1, round(len(lengths) / _POOL))
        # the same for every epoch, so that every epoch has equally many batches
        self._dealt = np.random.default_rng(seed).permutation(blocks) if self._pools > 1 else np.arange(blocks)
        self._count: int | None = None

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch comes next; a trainer's own count of epochs goes before it."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self._count is None:
            self._count = sum(
                -(-(stop - start) // size)
                for pool in range(self._pools)
                for start, stop, size in self._buckets(np.sort(self.lengths[self._members(pool)]))
            )
        return self._count

    def __iter__(self) -> Iterator[Draw]:
        epoch, skip = next_position(self.trainer, self.epoch)
        order = np.random.default_rng([self.seed, epoch])
        pools = (self._batches(self._members(pool), order) for pool in order.permutation(self._pools))
        for batch in islice(chain.from_iterable(pools), skip, None):
            yield Draw(batch[self.rank :: self.world_size].tolist(), epoch)

    def _members(self, pool: int) -> np.ndarray:
        """The rows of a pool."""
        blocks = self._dealt[pool :: self._pools]
        rows = (blocks[:, None] * _BLOCK + np.arange(_BLOCK)).ravel()
        return rows[rows < len(self.lengths)]

    def _batches(self, rows: np.ndarray, order: np.random.Generator) -> list[np.ndarray]:
        rows = order.permutation(rows)
        lengths = self.lengths[rows]
        by_length = np.argsort(lengths, kind="stable")
        rows, lengths = rows[by_length], lengths[by_length]
        batches = []
        for start, stop, size in self._buckets(lengths):
            bucket = order.permutation(rows[start:stop])
            batches += [bucket[k : k + size] for k in range(0, len(bucket), size)]
        return [batches[k] for k in order.permutation(len(batches))]

    def _buckets(self, lengths: np.ndarray) -> Iterator[tuple[int, int, int]]:
        """Where each bucket of sorted lengths begins and ends, and the size of its batches; the longest come first."""
        stop = len(lengths)
        while stop > 0:
            longest = int(lengths[stop - 1])
            size = within(self.batch_size, self.tokens, longest)
            near = stop - int(np.searchsorted(lengths[:stop], _NEAR * longest))
            start = max(0, stop - size * min(max(near // size, _FEWEST), _BATCHES))
            yield start, stop, size
            stop = start


def within(batch_size: int, tokens: int | None, longest: int) -> int:
    """How many sequences a batch has whose longest is `longest`: one at least."""
    return batch_size if tokens is None else max(1, min(batch_size, tokens // max(longest, 1)))


class ByLength(Dataset[Any]):
    """Every example once, in ready batches of like lengths, the longest first: those of one of several processes.

    Each process has as many batches as every other.

    Args:
        examples: of all processes, at least one for each; item `Draw` is a batch.
        lengths: of them, (N,), in tokens.
        batch_size, tokens: of one process, as of `Bucketed`.
        world_size, rank: how many processes, and which.
    """

    def __init__(
        self, examples: Any, lengths: np.ndarray, batch_size: int, tokens: int | None, world_size: int, rank: int
    ) -> None:
        self.examples = examples
        order = np.argsort(-lengths, kind="stable")
        sizes, first = [], order[::world_size]  # no process has more than the first
        done = 0
        while done < len(first):
            sizes.append(within(batch_size, tokens, int(lengths[first[done]])))
            done += sizes[-1]
        own = order[rank::world_size]
        if len(sizes) > 1 and len(first) - sum(sizes[:-1]) == 1 and len(order) % world_size:
            sizes[-2:] = [sizes[-2] + 1]  # some process has no example for a last batch of one
        bounds = np.minimum(np.cumsum([0, *sizes]), len(own))
        self._places = [own[a:b].tolist() for a, b in pairwise(bounds)]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, k: int) -> Any:
        return self.examples[Draw(self._places[k], 0)]


class _Drawn(Dataset[Any]):
    """Examples by `Draw`; for one of no places a batch that counts for nothing."""

    def __init__(self, examples: Any) -> None:
        self.examples = examples

    def __getitem__(self, draw: Draw) -> Any:
        if not draw.places:
            return self.examples[draw._replace(places=[0])].unanswered()
        return self.examples[draw]

    __getitems__ = __getitem__


def bucketed(
    examples: Any,
    lengths: np.ndarray,
    batch_size: int,
    tokens: int | None,
    trainer: "Trainer | None",
    num_workers: int,
) -> DataLoader[Any]:
    """Training batches by `Bucketed`.

    Args:
        examples: whose item `Draw` is a batch, which has ``unanswered()``.
        lengths, batch_size, tokens, trainer: as of `Bucketed`.
        num_workers: processes that load data.

    Raises:
        RnnZooError: as `processes` and `share`.
    """
    seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
    sampler: Any = Bucketed(lengths, batch_size, tokens, seed, trainer)
    return BegunWhenRead(
        _Drawn(examples),
        batch_sampler=sampler,
        collate_fn=as_it_is,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )


def by_length(
    examples: Any,
    lengths: np.ndarray,
    batch_size: int,
    tokens: int | None,
    trainer: "Trainer | None",
    num_workers: int,
    what: str,
) -> DataLoader[Any]:
    """Each example once, over all processes, by `ByLength`; arguments as of `bucketed`.

    Raises:
        RnnZooError: as `processes` and `share`, or there are more processes than examples, which are called `what`.
    """
    world_size, rank = processes(trainer)
    own = share(batch_size, world_size)
    if len(lengths) < world_size:
        raise RnnZooError(f"{world_size} processes are more than the {len(lengths)} {what}: use fewer")
    batches = ByLength(examples, lengths, own, tokens and -(-tokens // world_size), world_size, rank)
    return ready(batches, num_workers)
