"""How processes share out a batch."""

from typing import TYPE_CHECKING

from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


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
