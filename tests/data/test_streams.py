import itertools

import numpy as np
import pytest

from rnnzoo.data.streams import IGNORED, Streams


def distinct(length: int) -> tuple[np.ndarray, np.ndarray]:
    """A text that has no character twice, so that a character is a position; ids run the other way."""
    return np.arange(length, dtype=np.uint16), np.arange(length)[::-1] + 1000


CASES = [(2, 1, 1), (17, 4, 3), (17, 16, 3), (100, 8, 5), (97, 12, 8), (1000, 4, 128), (1001, 8, 25), (50, 4, 1)]


@pytest.mark.parametrize(("length", "streams", "steps"), CASES)
def test_every_character_but_the_first_is_a_target_exactly_once(length: int, streams: int, steps: int) -> None:
    ids, table = distinct(length)
    batches = list(Streams(ids, table, streams, steps))
    targets = np.concatenate([b.targets.numpy().ravel() for b in batches])
    assert sorted(targets[targets != IGNORED]) == sorted(table[ids[1:]])
    assert sum(b.inputs.shape[1] for b in batches) == -(-(length - 1) // streams)


@pytest.mark.parametrize(("length", "streams", "steps"), CASES)
def test_the_text_can_be_put_together_from_the_batches(length: int, streams: int, steps: int) -> None:
    ids, table = distinct(length)
    seen = np.full(length, -1)
    for batch in Streams(ids, table, streams, steps):
        for x, y, first in zip(batch.inputs.numpy(), batch.targets.numpy(), batch.positions.tolist(), strict=True):
            inside = y != IGNORED
            places = first + np.arange(len(y))[inside]
            assert (seen[places] == -1).all()
            seen[places] = y[inside]
            assert (x[inside] == table[ids[places - 1]]).all()
            assert (x[~inside] == 0).all()
    assert (seen[1:] == table[ids[1:]]).all()


@pytest.mark.parametrize(("length", "streams", "steps"), CASES)
def test_a_row_goes_on_where_it_ended_in_the_batch_before(length: int, streams: int, steps: int) -> None:
    batches = list(Streams(*distinct(length), streams, steps))
    for before, after in itertools.pairwise(batches):
        inside = after.targets[:, 0] != IGNORED
        assert (after.inputs[inside, 0] == before.targets[inside, -1]).all()
        assert (after.positions == before.positions + steps).all()
        assert before.inputs.shape == (streams, steps)


@pytest.mark.parametrize(("length", "streams", "steps"), CASES)
def test_the_streams_differ_by_one_character_at_most(length: int, streams: int, steps: int) -> None:
    per_stream = sum((b.targets != IGNORED).sum(1) for b in Streams(*distinct(length), streams, steps))
    assert per_stream.max() - per_stream.min() <= 1


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_the_rows_of_all_processes_are_the_batch_of_one(processes: int) -> None:
    text = distinct(103)
    own = 8 // processes
    parts = [Streams(*text, 8, 5, rows=range(r * own, (r + 1) * own)) for r in range(processes)]
    for k, batch in enumerate(Streams(*text, 8, 5)):
        for field, whole in zip(batch._fields, batch, strict=True):
            together = np.concatenate([getattr(part[k], field).numpy() for part in parts])
            assert (together == whole.numpy()).all()
    assert {len(part) for part in parts} == {3}


def test_batches_are_int64_and_end() -> None:
    streams = Streams(*distinct(20), 2, 4)
    assert all(field.dtype.is_signed and field.element_size() == 8 for field in streams[0])
    with pytest.raises(IndexError):
        streams[len(streams)]
