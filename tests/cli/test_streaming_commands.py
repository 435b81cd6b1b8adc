"""Data that are streamed, from the command line: in one process and in two, and again from a checkpoint."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from command_line import CONFIGS, shell
from pyarrow import csv

TWO = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]
TINY = [
    f"--config={CONFIGS / 'tagging.yaml'}",
    "--data.streaming=true",
    "--data.batch_size=8",
    "--data.min_count=1",
    "--model.hidden_size=8",
    "--model.embedding_size=8",
    "--model.dropout=0",
    "--model.word_dropout=0",
    "--model.optimizer=SGD",
    "--model.schedule=constant",
    "--trainer.max_epochs=2",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
]


@pytest.fixture
def sentences(tmp_path):
    """Words whose tag is their first letter, in two shards; one is left over for the last batch."""
    draw = random.Random(0)
    words = [f"{letter}{k}" for letter in "abc" for k in range(5)]
    (tmp_path / "data").mkdir()
    for name, count in (("train-00000-of-00002", 24), ("train-00001-of-00002", 17), ("validation", 9), ("test", 11)):
        tokens = [draw.choices(words, k=draw.randint(2, 7)) for _ in range(count)]
        table = pa.table({"tokens": tokens, "tags": [[word[0] for word in one] for one in tokens]})
        pq.write_table(table, tmp_path / "data" / f"{name}.parquet", row_group_size=6)
    return [f"--data.dataset={tmp_path / 'data'}"]


@pytest.mark.slow
def test_two_processes_end_with_the_weights_and_losses_of_one(tmp_path, sentences):
    one, two = (shell("fit", *TINY, *sentences, *how, cwd=tmp_path) for how in ([], TWO))
    assert (one.status, two.status) == (0, 0), (one, two)
    runs = [(tmp_path / answer.checkpoint).parent.parent for answer in (one, two)]
    whole, shared = (torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in runs)
    assert max((whole[name] - shared[name]).abs().max().item() for name in whole) < 5e-5
    losses = [csv.read_csv(run / "metrics.csv")["train_loss"].drop_null().to_pylist() for run in runs]
    assert len(losses[0]) == len(losses[1]) == 2 * 6
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    held_out = [[line for line in answer.out.splitlines() if line.startswith("held-out")] for answer in (one, two)]
    assert held_out[0] == held_out[1] != []


@pytest.mark.slow
def test_a_run_that_is_taken_up_again_goes_on_as_if_it_had_not_stopped(tmp_path, sentences):
    whole = shell("fit", *TINY, *sentences, cwd=tmp_path)
    half = shell("fit", *TINY, *sentences, "--trainer.max_epochs=1", cwd=tmp_path)
    last = (tmp_path / half.checkpoint).with_name("last.ckpt")
    rest = shell("fit", f"--ckpt_path={last}", "--trainer.max_epochs=2", cwd=tmp_path)
    assert rest.status == 0, rest
    weights = [
        torch.load((tmp_path / answer.checkpoint).with_name("last.ckpt"), weights_only=True)["state_dict"]
        for answer in (whole, rest)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
