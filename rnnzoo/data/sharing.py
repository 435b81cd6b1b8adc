"""How processes share out a batch, and the examples of an epoch."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from rnnzoo.data.position import next_position, own_generator
from rnnzoo.errors import RnnZooError

BLANK = -1  # the place of no example
_AT_ONCE = 1 << 16  # places

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


class Fetched(Protocol):
    """Examples that are made a batch at a time, where torch's loader asks for one; a batch has `unanswered()`."""

    def __len__(self) -> int: ...

    def __getitem__(self, k: int) -> Any: ...

    def __getitems__(self, places: Sequence[int]) -> Any: ...


class Batches(Dataset[Any]):
    """Every example once, in order, in ready batches: those of one of several processes.

    Each process has as many batches as every other, for a process with one more would wait for ever at the first
    sum over all of them; so the batches of an uneven share are one example smaller or larger.

    Args:
        examples: of all processes, at least one for each.
        batch_size: of one process.
        world_size, rank: how many processes, and which.
    """

    def __init__(self, examples: Fetched, batch_size: int, world_size: int = 1, rank: int = 0) -> None:
        self.examples = examples
        shares = np.array_split(np.arange(len(examples)), world_size)
        count = min(-(-len(shares[0]) // batch_size), len(shares[-1]))
        self._places = np.array_split(shares[rank], count)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, k: int) -> Any:
        return self.examples.__getitems__(self._places[k].tolist())


class Shuffled(Sampler[int]):
    """The places of one process, in an order that depends on the seed and the epoch only.

    The k-th batches of all processes are together the k-th batch that one process would see, the last one too. Where
    that has fewer examples than there are processes, some get `BLANK`: each must have as many batches as every other.

    Args:
        count: of examples, of all processes.
        batch_size: over all processes, a multiple of their number.
        seed: of the order.
        trainer: which knows of the processes, and of the epoch after a resume; None for a loop of one's own, which
            calls `set_epoch`.
    """

    def __init__(self, count: int, batch_size: int, seed: int, trainer: "Trainer | None" = None) -> None:
        self.count, self.batch_size, self.seed, self.trainer = count, batch_size, seed, trainer
        self.world_size, self.rank = processes(trainer)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch comes next; a trainer's own count of epochs goes before it."""
        self.epoch = epoch

    def __len__(self) -> int:
        own = len(range(self.rank, self.count, self.world_size))
        return own + (self.rank >= self.count % self.batch_size > 0)

    def __iter__(self) -> Iterator[int]:
        epoch, skip = next_position(self.trainer, self.epoch)
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(self.seed + epoch))
        own = order[self.rank :: self.world_size]
        for some in own[skip * (self.batch_size // self.world_size) :].split(_AT_ONCE):
            yield from some.tolist()  # a list of all would be five times as large as they are
        if len(own) < len(self):
            yield BLANK


class _WithBlanks(Dataset[Any]):
    """Examples, and for `BLANK` a batch of one without an answer, which counts for nothing."""

    def __init__(self, examples: Fetched) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, k: int) -> Any:
        return self.examples[k]

    def __getitems__(self, places: Sequence[int]) -> Any:
        if places[0] == BLANK:
            return self.examples.__getitems__([0]).unanswered()
        return self.examples.__getitems__(places)


class BegunWhenRead(DataLoader[Any]):
    """A loader whose workers begin when the first batch is asked for: by then the epoch of a resumed run is known."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch annotates a class of its own
        self.generator = own_generator()
        yield from super().__iter__()


def shuffled(examples: Fetched, batch_size: int, trainer: "Trainer | None", num_workers: int) -> DataLoader[Any]:
    """In an order that depends on the seed and the epoch only; of several processes each takes every so-manieth.

    Args:
        examples: of all processes.
        batch_size: over all processes.
        trainer: which knows of the processes.
        num_workers: processes that load data.

    Raises:
        RnnZooError: as `processes` and `share`.
    """
    own = share(batch_size, processes(trainer)[0])
    seed = int(os.environ.get("PL_GLOBAL_SEED", 0))  # what Lightning's own samplers take
    return BegunWhenRead(
        _WithBlanks(examples),
        batch_size=own,
        sampler=Shuffled(len(examples), batch_size, seed, trainer),
        collate_fn=as_it_is,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )


def in_order(
    examples: Fetched, batch_size: int, trainer: "Trainer | None", num_workers: int, what: str
) -> DataLoader[Any]:
    """Each example once, over all processes.

    Args:
        examples, batch_size, trainer, num_workers: as of `shuffled`.
        what: they are, for the message about too few.

    Raises:
        RnnZooError: as `processes` and `share`, or there are more processes than examples.
    """
    world_size, rank = processes(trainer)
    own = share(batch_size, world_size)
    if len(examples) < world_size:
        raise RnnZooError(f"{world_size} processes are more than the {len(examples)} {what}: use fewer")
    batches = Batches(examples, own, world_size, rank)
    return ready(batches, num_workers)


def ready(batches: Dataset[Any], num_workers: int) -> DataLoader[Any]:
    """Batches that are made already, in their order."""
    workers = {"num_workers": num_workers, "persistent_workers": num_workers > 0}
    return DataLoader(batches, batch_size=None, generator=own_generator(), **workers)  # type: ignore[arg-type]


def as_it_is(batch: Any) -> Any:
    return batch


def processes(trainer: "Trainer | None") -> tuple[int, int]:
    """How many processes train, and which of them this is.

    Raises:
        RnnZooError: Lightning would put a sampler of its own in the place of ours.
    """
    if trainer is None:
        return 1, 0
    if trainer.world_size > 1 and trainer._accelerator_connector.use_distributed_sampler:
        raise RnnZooError(
            f"use_distributed_sampler=True on {trainer.world_size} processes would shuffle the streams and repeat "
            "windows; the data module shares them out itself: give the trainer use_distributed_sampler=False"
        )
    return trainer.world_size, trainer.global_rank


def share(batch_size: int, world_size: int) -> int:
    """How much of a batch one process gets.

    Raises:
        RnnZooError: `batch_size` cannot be shared out evenly.
    """
    if batch_size % world_size:
        below, above = batch_size // world_size * world_size, -(-batch_size // world_size) * world_size
        would = f"{below} or {above}" if below else str(above)
        raise RnnZooError(
            f"batch_size={batch_size} is for all {world_size} processes and must be a multiple of it: {would} would do"
        )
    return batch_size // world_size
