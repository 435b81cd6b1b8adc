from types import SimpleNamespace

import numpy as np
import pytest
from lightning.pytorch import Trainer

from rnnzoo.data.buckets import Bucketed, ByLength, Draw
from rnnzoo.errors import RnnZooError


def lengths_of(count, seed=0):
    return np.random.default_rng(seed).geometric(0.04, count).astype(np.int32)


def draws(lengths, batch_size, tokens, epoch=0, seed=5, world_size=1, rank=0):
    trainer = SimpleNamespace(
        world_size=world_size,
        global_rank=rank,
        current_epoch=epoch,
        _accelerator_connector=SimpleNamespace(use_distributed_sampler=False),
    )
    sampler = Bucketed(lengths, batch_size, tokens, seed, trainer)
    made = list(sampler)
    assert len(made) == len(sampler)
    return [draw.places for draw in made]


@pytest.mark.parametrize("tokens", [None, 300])
@pytest.mark.parametrize("count", [33, 1000, 150_000])
def test_every_example_comes_once_in_an_epoch_within_the_limits(count, tokens):
    lengths = lengths_of(count)
    batches = draws(lengths, 32, tokens)
    assert sorted(place for batch in batches for place in batch) == list(range(count))
    assert max(map(len, batches)) <= 32
    if tokens is not None:
        assert all(len(batch) == 1 or len(batch) * lengths[batch].max() <= tokens for batch in batches)


def test_batches_hold_like_lengths_and_are_mixed_anew_in_each_epoch():
    lengths = lengths_of(5000)
    first, again, second = draws(lengths, 32, None), draws(lengths, 32, None), draws(lengths, 32, None, epoch=1)
    assert first == again != second
    assert len(first) == len(second)
    assert {frozenset(batch) for batch in first}.isdisjoint({frozenset(batch) for batch in second})
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in first)
    assert lengths.sum() / padded > 0.85
    random = np.random.default_rng(0).permutation(5000).reshape(-1, 40)
    assert lengths.sum() / sum(40 * int(lengths[row].max()) for row in random) < 0.4
    means = [lengths[batch].mean() for batch in first]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3  # not from short to long


@pytest.mark.parametrize("tokens", [None, 200])
@pytest.mark.parametrize("world_size", [2, 4])
def test_the_batches_of_all_processes_are_together_those_of_one(world_size, tokens):
    lengths = lengths_of(1001)
    whole = draws(lengths, 16, tokens)
    shares = [draws(lengths, 16, tokens, world_size=world_size, rank=rank) for rank in range(world_size)]
    assert {len(share) for share in shares} == {len(whole)}
    for batch, *parts in zip(whole, *shares, strict=True):
        assert sorted(batch) == sorted(place for part in parts for place in part)


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize(("count", "tokens"), [(3, None), (97, None), (97, 60), (100, 40), (7, 1)])
def test_evaluation_sees_every_example_once_in_equally_many_batches_of_every_process(count, tokens, world_size):
    lengths = lengths_of(count)
    shares = []
    for rank in range(world_size):
        batches = ByLength(Echo(), lengths, 8, tokens, world_size, rank)
        shares.append([batches[k].places for k in range(len(batches))])
    assert sorted(place for share in shares for batch in share for place in batch) == list(range(count))
    assert len({len(share) for share in shares}) == 1
    assert all(batch for share in shares for batch in share)


class Echo:
    def __getitem__(self, draw: Draw) -> Draw:
        return draw


def test_a_batch_that_cannot_be_shared_out_is_an_error():
    with pytest.raises(RnnZooError, match="batch_size=5 is for all 2 processes"):
        draws(lengths_of(20), 5, None, world_size=2)


def test_the_epoch_of_a_resumed_trainer_goes_before_the_sampler_s_own():
    sampler = Bucketed(lengths_of(100), 8, None, 1, Trainer(logger=False, enable_checkpointing=False))
    sampler.set_epoch(7)
    assert next(iter(sampler)).epoch == 0
