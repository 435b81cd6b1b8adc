"""The loader of a part as streams: each process gets its share of them."""

from collections.abc import Callable
from typing import Any

from torch.utils.data import DataLoader, Dataset

from rnnzoo.data.position import InOrder
from rnnzoo.data.sharing import BegunWhenRead, processes, share
from rnnzoo.errors import RnnZooError


def stream_loader(
    data: Any, part: str, count: int, unit: str, make: Callable[[range], Dataset[Any]]
) -> DataLoader[Any]:
    """The batches of a part, whose streams are shared out over the processes of the data module's trainer.

    Args:
        data: the data module, with a dataset, batch_size, sequence_length, num_workers and a trainer.
        part: "train", "validation", "test" or "all".
        count: how long the part is.
        unit: of what: "characters".
        make: the batches of some of the streams.

    Raises:
        RnnZooError: the part is too short for its streams, or they cannot be shared out evenly.
    """
    world_size, rank = processes(data.trainer)
    own = share(data.batch_size, world_size)
    _check_size(data, part, count, unit)
    streams = make(range(rank * own, (rank + 1) * own))
    sampler = InOrder(len(streams), data.trainer) if part == "train" else None  # type: ignore[arg-type]  # has a length
    return BegunWhenRead(
        streams,
        batch_size=None,
        sampler=sampler,
        num_workers=data.num_workers,
        persistent_workers=data.num_workers > 0,
    )


def _check_size(data: Any, part: str, count: int, unit: str) -> None:
    # a shorter batch does no harm in evaluation; in training, it is not what was asked for
    least = data.sequence_length if part == "train" else 1
    if count > data.batch_size * least:
        return
    if would := max(count - 1, 0) // least:
        cure = f"batch_size={would} would do"
    elif count > 1:
        cure = f"sequence_length={count - 1} with batch_size=1 would do"
    else:
        cure = "give more text or another split"
    raise RnnZooError(
        f"the {part} split of {data.dataset!r} has {count:,} {unit}, too few for batch_size={data.batch_size} "
        f"streams of sequence_length={data.sequence_length}: {cure}"
    )
