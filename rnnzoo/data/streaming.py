"""Batches of rows that are streamed: their order is a pure function of seed and epoch, their memory does not grow."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from rnnzoo.data.position import next_position, own_generator
from rnnzoo.data.row_streams import RowStream
from rnnzoo.data.sharing import as_it_is, processes, share
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

Make = Callable[[Any, np.ndarray, np.ndarray, int], Any]

_WINDOW = 1 << 14  # rows that are mixed with each other
_OPEN = 4  # files that are read by turns
_BUCKET = 8  # batches of like lengths


class StreamedBatches(IterableDataset[Any]):
    """Batches of a stream: those of one of several processes, and of one of its workers.

    In training the files are permuted, and so are the row groups of each; a few files are read by turns, and the rows
    of a window are permuted among each other. Rows of like sizes come together, as in `Bucketed`. Otherwise all rows
    come in order. Every process and worker reads all rows, and makes batches of its own share alone: the k-th batches
    of all processes are together the k-th batch of one process, whatever their number and that of workers. A process
    for whose share the last batch has no row gets one that counts for nothing. `epoch` and `skip`, to be set, say which
    order it is, and how many batches of it are left out.

    Args:
        stream: the rows.
        columns: that are read.
        make: of an Arrow table of rows, a number of each (in order from 0 where they are not mixed), their places as
            `RowStream.blocks` gives them, and the epoch, a batch with ``unanswered()``.
        batch_size: over all processes, a multiple of their number.
        seed: of the order; None for the order of the data set.
        size: of the rows of a table, (N,), for batches of like sizes; None for any.
        world_size, rank: how many processes, and which.
    """

    def __init__(
        self,
        stream: RowStream,
        columns: Sequence[str],
        make: Make,
        batch_size: int,
        seed: int | None,
        size: Callable[[Any], np.ndarray] | None = None,
        world_size: int = 1,
        rank: int = 0,
    ) -> None:
        self.stream, self.columns, self.make, self.size = stream, list(columns), make, size
        self.batch_size, self.seed, self.world_size, self.rank = batch_size, seed, world_size, rank
        share(batch_size, world_size)
        self.epoch, self.skip = 0, 0

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        for k, (window, places, first, rows) in enumerate(self._drawn(), -self.skip):
            if k >= 0 and k % workers == worker:
                own = rows[self.rank :: self.world_size]
                answered, own = len(own) > 0, own if len(own) else rows[:1]
                numbers = places[own] if self.seed is not None else first + own
                batch = self.make(window.take(own), numbers, places[own], self.epoch)
                yield batch if answered else batch.unanswered()

    def _drawn(self) -> Iterator[tuple[Any, np.ndarray, int, np.ndarray]]:
        """For each batch, of all processes, its window, the places and the first number there, and its rows in it."""
        first = 0
        for number, (window, places) in enumerate(self._windows()):
            if self.seed is None:
                batches = iter(np.split(np.arange(len(places)), range(self.batch_size, len(places), self.batch_size)))
            else:
                batches = self._mixed(window, np.random.default_rng([self.seed, self.epoch, 1, number]))
            for rows in batches:
                yield window, places, first, rows
            first += len(places)

    def _mixed(self, table: Any, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """The rows of a window in batches. All are full but one, which is the last of the epoch's last window."""
        rows, size = rng.permutation(len(table)), self.batch_size
        full, rest = np.split(rows, [len(rows) // size * size])
        if self.size is not None:
            sizes = self.size(table)
            full, bucket = full[np.argsort(sizes[full], kind="stable")], _BUCKET * size
            buckets = [rng.permutation(full[k : k + bucket]) for k in range(0, len(full), bucket)]
            full = np.concatenate([full[:0], *buckets])
        for k in rng.permutation(len(full) // size):
            yield full[k * size : (k + 1) * size]
        if len(rest):
            yield rest

    def _windows(self) -> Iterator[tuple[Any, np.ndarray]]:
        """The rows some at a time, so many that batches come out even, but for those at the end."""
        import pyarrow as pa

        most = -(-_WINDOW // self.batch_size) * self.batch_size
        tables: list[Any] = []
        places: list[np.ndarray] = []
        have = 0
        for table, numbers in blocks_of(self.stream, self.columns, self.seed, self.epoch):
            while len(table):
                piece = table.slice(0, most - have)
                tables.append(piece)
                places.append(numbers[: len(piece)])
                have += len(piece)
                table, numbers = table.slice(len(piece)), numbers[len(piece) :]
                if have == most:
                    yield pa.concat_tables(tables).combine_chunks(), np.concatenate(places)
                    tables, places, have = [], [], 0
        if have:
            yield pa.concat_tables(tables).combine_chunks(), np.concatenate(places)


def blocks_of(
    stream: RowStream, columns: Sequence[str], seed: int | None, epoch: int
) -> Iterator[tuple[Any, np.ndarray]]:
    """The rows of a stream, some at a time, as `RowStream.blocks` gives them.

    Args:
        stream: the rows.
        columns: that are read.
        seed: of the order of files, and of the row groups in each; None for the order of the data set.
        epoch: the order is another one in each.
    """
    files = range(len(stream.files))
    if seed is None:
        for file in files:
            yield from stream.blocks(file, columns)
        return
    waiting = deque(np.random.default_rng([seed, epoch, 0]).permutation(len(files)).tolist())
    reading: deque[Iterator[tuple[Any, np.ndarray]]] = deque()
    while waiting or reading:
        while waiting and len(reading) < _OPEN:
            file = waiting.popleft()
            reading.append(stream.blocks(file, columns, np.random.default_rng([seed, epoch, 2, file])))
        one = reading.popleft()
        if (block := next(one, None)) is not None:
            yield block
            reading.append(one)


class StreamLoader:
    """The batches of an epoch, over and over; `len` of it is their number, where the number of rows is known.

    Not a `DataLoader` of torch, but what makes one each epoch: its workers begin when the first batch is asked for,
    with the epoch that the trainer is in.

    Args:
        batches: of this process.
        count: rows of all processes; None where it is not known.
        trainer: which knows of the epoch after a resume; None for a loop of one's own, which calls `set_epoch`.
        num_workers: processes that load data.
    """

    def __init__(
        self, batches: StreamedBatches, count: int | None, trainer: "Trainer | None", num_workers: int
    ) -> None:
        self.batches, self.count, self.trainer, self.num_workers = batches, count, trainer, num_workers
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch comes next; a trainer's own count of epochs goes before it."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.count is None:
            raise TypeError("how many rows the stream has is not known")
        return -(-self.count // self.batches.batch_size)

    def __iter__(self) -> Iterator[Any]:
        batches = self.batches
        if batches.seed is None:  # not for training
            batches.epoch, batches.skip = getattr(self.trainer, "current_epoch", self.epoch), 0
        else:
            batches.epoch, batches.skip = next_position(self.trainer, self.epoch)
        options: dict[str, Any] = {"collate_fn": as_it_is, "generator": own_generator()}
        yield from DataLoader(batches, batch_size=None, num_workers=self.num_workers, **options)


def streamed(
    stream: RowStream,
    columns: Sequence[str],
    make: Make,
    batch_size: int,
    trainer: "Trainer | None",
    num_workers: int,
    *,
    training: bool,
    size: Callable[[Any], np.ndarray] | None = None,
) -> StreamLoader:
    """The loader of a stream, mixed in training, else in order.

    Args:
        stream, columns, make, batch_size, size: as of `StreamedBatches`.
        trainer: which knows of the processes, and of the epoch.
        num_workers: processes that load data.
        training: whether rows are mixed.

    Raises:
        RnnZooError: as `processes` and `share`; or a trainer that needs to know how long an epoch is, and doesn't.
    """
    world_size, rank = processes(trainer)
    count = stream.count
    if training and count is None and trainer is not None and needs_length(trainer):
        raise RnnZooError(
            f"streaming=true: how many rows dataset={stream.name!r} has for training is not known before all are read,"
            " so that no epoch has a length: say how long to train by --trainer.max_steps"
        )
    seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if training else None
    batches = StreamedBatches(stream, columns, make, batch_size, seed, size if training else None, world_size, rank)
    return StreamLoader(batches, count, trainer, num_workers)


def needs_length(trainer: "Trainer") -> bool:
    return trainer.max_steps == -1 and not isinstance(trainer.limit_train_batches, int)
