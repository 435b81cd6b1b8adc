"""Tokens of a text that is read as it is needed, in streams that run side by side; memory does not grow with it."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from rnnzoo.data.row_streams import RowStream
from rnnzoo.data.sharing import processes, share
from rnnzoo.data.streaming import StreamLoader, blocks_of, needs_length
from rnnzoo.data.streams import TokenBatch, token_batch
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

_ROWS = 64  # that are dealt to a stream at a time


class StreamedTokens(IterableDataset[TokenBatch]):
    """Batches of tokens of a stream of rows, which are dealt, some at a time, to the stream that runs short of tokens.

    In training the files are permuted, and so are the row groups of each; a few files are read by turns. Otherwise all
    rows come in order. Row b of a batch goes on where row b of the one before it ended, and each token but a stream's
    first is a target exactly once. Every process and worker reads and tokenizes all rows, and makes batches of its own
    share alone: together they are the batches of one process.

    Args:
        stream, columns, seed, world_size, rank: as of `rnnzoo.data.streaming.StreamedBatches`.
        encode: of an Arrow table of rows the tokens, records of `rnnzoo.data.encoded_tokens`.
        batch_size: streams of all processes.
        sequence_length: steps of a batch, but of the last ones.
    """

    def __init__(
        self,
        stream: RowStream,
        columns: Sequence[str],
        encode: Callable[[Any], np.ndarray],
        batch_size: int,
        sequence_length: int,
        seed: int | None,
        world_size: int = 1,
        rank: int = 0,
    ) -> None:
        self.stream, self.columns, self.encode = stream, list(columns), encode
        self.batch_size, self.sequence_length, self.seed = batch_size, sequence_length, seed
        self.world_size, self.rank, self.epoch, self.skip = world_size, rank, 0, 0
        share(batch_size, world_size)

    def __iter__(self) -> Iterator[TokenBatch]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        own = share(self.batch_size, self.world_size)
        mine = range(self.rank * own, (self.rank + 1) * own)
        pieces, done = self._pieces(), 0
        held: list[np.ndarray] = [np.empty(0, np.int8)] * self.batch_size
        while True:
            for b in range(self.batch_size):
                while len(held[b]) <= self.sequence_length and (more := next(pieces, None)) is not None:
                    held[b] = np.concatenate([held[b], more]) if len(held[b]) else more
            steps = min(self.sequence_length, max(len(tokens) for tokens in held) - 1)
            if steps < 1:
                return
            number = done // self.sequence_length - self.skip
            if number >= 0 and number % workers == worker:
                yield _batch([held[b] for b in mine], steps, done)
            held = [tokens[min(steps, max(len(tokens) - 1, 0)) :] for tokens in held]
            done += steps

    def _pieces(self) -> Iterator[np.ndarray]:
        for table, _ in blocks_of(self.stream, self.columns, self.seed, self.epoch):
            for k in range(0, len(table), _ROWS):
                if len(tokens := self.encode(table.slice(k, _ROWS))):
                    yield tokens


def _batch(held: list[np.ndarray], steps: int, done: int) -> TokenBatch:
    kind = next((tokens.dtype for tokens in held if len(tokens)), None)
    rows = np.zeros((len(held), steps + 1), kind or [(name, "u1") for name in ("id", "characters", "spelled")])
    lengths = np.array([min(len(tokens), steps + 1) for tokens in held])
    for row, tokens, length in zip(rows, held, lengths, strict=True):
        row[:length] = tokens[:length]
    ended = np.arange(steps) >= lengths[:, None] - 1
    positions = np.full(len(held), done + 1)
    return token_batch(rows[:, :-1], rows[:, 1:], positions, ended if ended.any() else None)


class TokenLoader(StreamLoader):
    """The batches of an epoch; `len` of it is about their number, where the number of rows is known.

    An epoch ends there at the latest. Args as of `StreamLoader`, and `steps`: batches, or None.
    """

    def __init__(self, batches: StreamedTokens, steps: int | None, trainer: "Trainer | None", num_workers: int) -> None:
        super().__init__(batches, None, trainer, num_workers)  # type: ignore[arg-type]  # what has an epoch will do
        self.steps = steps

    def __len__(self) -> int:
        return super().__len__() if self.steps is None else self.steps


def streamed_tokens(
    stream: RowStream,
    columns: Sequence[str],
    encode: Callable[[Any], np.ndarray],
    batch_size: int,
    sequence_length: int,
    trainer: "Trainer | None",
    num_workers: int,
    *,
    training: bool,
) -> TokenLoader:
    """The loader of a stream.

    Args:
        stream, columns, encode, batch_size, sequence_length: as of `StreamedTokens`.
        trainer: which knows of the processes, and of the epoch.
        num_workers: processes that load data.
        training: whether files and row groups are permuted.

    Raises:
        RnnZooError: as `processes` and `share`; or a trainer that needs to know how long an epoch is, and doesn't.
    """
    world_size, rank = processes(trainer)
    count, steps = stream.count if training else None, None
    if count is not None:
        head = encode(stream.head.with_format("arrow")[:])
        steps = max(1, round(count * len(head) / len(stream.head) / (batch_size * sequence_length)))
    elif training and trainer is not None and needs_length(trainer):
        raise RnnZooError(
            f"streaming=true: how many rows dataset={stream.name!r} has is not known, for no README says it, so that no"
            " epoch has a length: say how long to train by --trainer.max_steps"
        )
    seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if training else None
    batches = StreamedTokens(stream, columns, encode, batch_size, sequence_length, seed, world_size, rank)
    return TokenLoader(batches, steps, trainer, num_workers)
