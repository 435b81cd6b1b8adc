"""How processes share out a batch, and the examples of an epoch."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


class Fetched(Protocol):
    """Examples that are made a batch at a time, where torch's loader asks for one."""

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
    world_size, rank = processes(trainer)
    seed = int(os.environ.get("PL_GLOBAL_SEED", 0))  # what Lightning's own samplers take
    return DataLoader(
        examples,  # type: ignore[arg-type]  # torch asks for a Dataset and needs these methods alone
        batch_size=share(batch_size, world_size),
        sampler=DistributedSampler(examples, world_size, rank, shuffle=True, seed=seed),  # type: ignore[arg-type]
        collate_fn=_as_it_is,
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
    return DataLoader(batches, batch_size=None, num_workers=num_workers, persistent_workers=num_workers > 0)


def _as_it_is(batch: Any) -> Any:
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
