"""Tokens of a text that is streamed: an order of seed and epoch alone, each once, shared out, a length that is near."""

import random
import tracemalloc
from collections import Counter

import numpy as np
import pytest
import torch

from rnnzoo import RnnZooError
from rnnzoo.data import TokenTextData


def write_shards(folder, shards=5, rows=90, group=30):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(0)
    for k in range(shards):
        texts = [" ".join(f"w{k}x{i}" for _ in range(draw.randint(0, 7))) for i in range(rows)]
        pq.write_table(pa.table({"text": texts}), folder / f"train-{k:05}-of-{shards:05}.parquet", row_group_size=group)
    pq.write_table(pa.table({"text": ["w0x1 w1x2 unheard"] * 40}), folder / "validation-00000-of-00001.parquet")
    return str(folder)


@pytest.fixture
def folder(tmp_path):
    return write_shards(tmp_path / "data")


def data(folder, **options):
    return TokenTextData(folder, **{"streaming": True, "batch_size": 4, "sequence_length": 10, **options})


def batches(module, epoch=0):
    loader = module.train_dataloader()
    loader.set_epoch(epoch)
    return list(loader)


def streams_of(batches):
    """The tokens of each stream, the first one with them."""
    rows = []
    for b in range(len(batches[0].inputs)):
        tokens = [int(batches[0].inputs[b, 0])]
        for batch in batches:
            there = batch.targets[b] != -100
            tokens += batch.targets[b][there].tolist()
            assert batch.inputs[b][there].tolist() == tokens[-int(there.sum()) - 1 : -1] or not there.any()
        rows.append(tokens)
    return rows


def test_every_token_is_in_one_stream_and_lines_stay_whole(folder):
    module = data(folder)
    plain = TokenTextData(folder, batch_size=4, tokenizer="words")
    made = streams_of(batches(module))
    assert module.tokenizer.vocabulary == plain.tokenizer.vocabulary
    assert Counter(k for row in made for k in row) == Counter(plain.tokens("train")["id"].tolist())
    end = module.tokenizer.vocabulary.index("\n")
    words = set()
    for row in made:
        line: set[int] = set()
        for k in row:
            words |= line if k == end else set()
            line = set() if k == end else {*line, k}
            assert len(line) <= 1  # a line is a word again and again
        assert row[-1] == end
    assert len(words) > 300


def test_the_order_depends_on_the_seed_and_the_epoch_alone(folder, monkeypatch):
    module = data(folder)
    first, again, other = batches(module, 0), batches(data(folder), 0), batches(module, 1)
    assert all(torch.equal(a, b) for x, y in zip(first, again, strict=True) for a, b in zip(x, y, strict=True))
    assert streams_of(first) != streams_of(other)
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    assert streams_of(batches(data(folder), 0)) != streams_of(first)


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_and_workers_have_together_the_batches_of_one(folder, process, workers):
    whole, halves = batches(data(folder)), []
    for rank in (0, 1):
        module = data(folder, num_workers=workers)
        module.trainer = process(2, rank)
        module.trainer.max_steps = 10
        loader = module.train_dataloader()
        module.trainer.current_epoch = 0
        halves.append(list(loader))
    for one, *two in zip(whole, *halves, strict=True):
        for name, field, parts in zip(one._fields, one, zip(*two, strict=True), strict=True):
            assert torch.equal(field, torch.cat(parts)), name


def test_evaluation_reads_all_in_order_and_says_what_is_spelled(folder):
    module = data(folder, validation_split="validation", test_split="validation", batch_size=1)
    loaded = list(module.val_dataloader())
    characters = sum(int(batch.characters.sum()) for batch in loaded)
    assert characters == 40 * len("w0x1 w1x2 unheard\n") - len("w0x1")
    assert sum(int((batch.spelled == len("unheard") + 1).sum()) for batch in loaded) == 40
    assert len(streams_of(loaded)[0]) == 40 * 4


def test_the_length_of_an_epoch_is_near_what_it_turns_out_to_be(folder):
    loader = data(folder).train_dataloader()
    assert abs(len(loader) / len(list(loader)) - 1) < 0.2


def test_what_cannot_be_streamed_is_said(folder):
    with pytest.raises(RnnZooError, match="streaming=true has no use for dataset='kjv'"):
        TokenTextData(streaming=True).train_dataloader()
    with pytest.raises(RnnZooError, match="baseline=true needs all rows at once"):
        data(folder, baseline=True).train_dataloader()
    module = data(folder)
    module.setup("predict")
    with pytest.raises(RnnZooError, match="streaming=true has no places in the text, which predict says"):
        module.predict_dataloader()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_text(tmp_path):
    peaks = []
    for rows in (500, 5_000):
        module = data(write_shards(tmp_path / str(rows), rows=rows, group=100), tokenizer="bytes")
        loader = module.train_dataloader()
        tracemalloc.start()
        count = sum(1 for _ in loader)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert count > 1_000
    assert peaks[1] < 1.5 * peaks[0]
    assert np.isfinite(peaks).all()
