"""Every task on several processes: at each step the gradients of one process on the same batch, and its figures."""

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command_line import CONFIGS, TINY_FORECASTER, TINY_LM, TINY_MEMORY, make_series, make_text
from processes import ended, save_gradients, start, start_ranks
from test_classify_series import MINE, series
from test_classify_series import TINY as TINY_CLASSIFIER_OF_SERIES
from test_classify_texts import TINY as TINY_CLASSIFIER
from test_classify_texts import reviews
from test_pairs_commands import TINY as TINY_TRANSLATOR
from test_pairs_commands import write_pairs
from test_tagging_commands import TINY as TINY_TAGGER
from test_tagging_commands import conll, sentences

import rnnzoo

SMALL_WORDS = ["--model.embedding_size=8", "--model.hidden_size=8", "--data.batch_size=4", "--data.sequence_length=16"]


def text(folder: Path, words: int = 400) -> str:
    (folder / "a.txt").write_text(make_text(words, seed=0))
    return f"--data.dataset={folder / 'a.txt'}"


def characters(folder: Path) -> list[str]:
    """Carried state; streams of unlike lengths."""
    return [*TINY_LM, text(folder), "--data.split=[0.8,0.1,0.1]"]


def words(folder: Path) -> list[str]:
    """An adaptive softmax, whose clusters the processes meet unlike often."""
    return [
        f"--config={CONFIGS / 'word_lm.yaml'}",
        *SMALL_WORDS,
        "--model.embedding_size=16",
        "--model.hidden_size=16",
        text(folder),
        "--model.adaptive_softmax=[5,17]",
    ]


def stream(folder: Path) -> list[str]:
    lines = [line for line in make_text(700, seed=0).split("\n") if line]
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    given = [f"--data.dataset={folder / 'a.jsonl'}", "--data.text_column=text", "--data.streaming=true"]
    many = ["--model.adaptive_softmax=null", "--trainer.max_steps=12", "--model.schedule=constant"]
    return [f"--config={CONFIGS / 'word_lm.yaml'}", *SMALL_WORDS, *given, *many]


def texts(folder: Path) -> list[str]:
    """Sequences of unlike lengths, in buckets."""
    file = reviews(folder / "r.csv", 61)
    return [*TINY_CLASSIFIER, f"--data.dataset={file}", "--data.label_column=kind"]


def several_labels(folder: Path) -> list[str]:
    draw = random.Random(0)
    known = {"animal": ["cat", "dog", "cow"], "colour": ["red", "blue"], "number": ["one", "two"]}
    rows = []
    for _ in range(61):
        labels = draw.sample(list(known), draw.randint(1, 3))
        rows.append({"said": " ".join(draw.choice(known[label]) for label in labels for _ in range(2)), "kind": labels})
    (folder / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [*TINY_CLASSIFIER, f"--data.dataset={folder / 'r.jsonl'}", "--data.label_column=kind"]


def tagger(folder: Path) -> list[str]:
    """Words through their characters, and a CRF."""
    (folder / "a.conll").write_text(conll(sentences(61)))
    return [*TINY_TAGGER, f"--data.dataset={folder / 'a.conll'}", "--model.crf=true", "--model.word_dropout=0"]


def pairs(folder: Path) -> list[str]:
    """Attention over sources of unlike lengths."""
    file = write_pairs(folder / "pairs.tsv", count=77)
    return [*TINY_TRANSLATOR, f"--data.dataset={file}", "--data.source_column=en", "--data.target_column=de"]


def memory(folder: Path) -> list[str]:
    return [*TINY_MEMORY, "--data.examples=[41,13,9]", "--data.batch_size=8", "--trainer.max_steps=-1"]


def classes_of_series(folder: Path) -> list[str]:
    file = series(folder / "s.csv", 31)
    return [*TINY_CLASSIFIER_OF_SERIES, f"--data.dataset={file}", *MINE, "--model.noise=0", "--data.batch_size=8"]


def forecaster(folder: Path) -> list[str]:
    (folder / "s.csv").write_text(make_series(280, seed=0))
    return [*TINY_FORECASTER, f"--data.dataset={folder / 's.csv'}", "--data.column=load"]


TASKS: list[Callable[[Path], list[str]]] = [
    *(characters, words, stream, texts, several_labels, tagger, pairs, memory, classes_of_series, forecaster),
]
# dropout and noise draw other numbers on other processes; in float64 a sum in another order is no difference
COMMON = ["--trainer.precision=64-true", "--model.dropout=0", "--trainer.max_epochs=1", "--trainer.log_every_n_steps=1"]


def figures(folder: Path) -> dict[str, list[float]]:
    """The metrics of the only run in a folder, but for what belongs to one process."""
    (file,) = folder.glob("runs/*/version_0/metrics.csv")
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    names = [name for name in rows[0] if name.startswith(("train_", "val_", "test_"))]
    return {name: [float(row[name]) for row in rows if row[name]] for name in names}


def compare(tmp_path: Path, make: Callable[[Path], list[str]], count: int, *settings: str) -> None:
    one, many, log = tmp_path / "one", tmp_path / "many", tmp_path / "log"
    for folder in (one, many):
        folder.mkdir()
    args = ["fit", *make(tmp_path), *COMMON, *settings, "--trainer.enable_progress_bar=false"]
    process = start(args, one, log, hook=(save_gradients, str(tmp_path / "one.pt")))
    ranks = start_ranks(count, args, many, log, hook=(save_gradients, str(tmp_path / "many.pt")))
    assert ended(process, *ranks) == [0] * (1 + count), log.read_text()[-3000:]
    wanted, got = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("one", "many"))
    assert len(wanted) == len(got) > 2
    for step, (a, b) in enumerate(zip(wanted, got, strict=True)):
        assert a.keys() == b.keys()
        largest = max(gradient.abs().max() for gradient in a.values())
        for name, gradient in a.items():
            off = (gradient - b[name]).abs().max()
            assert off <= 1e-6 * largest, f"step {step}, {name}: off by {off} of {largest}"
    wanted, got = figures(one), figures(many)
    assert wanted.keys() == got.keys()
    for name, values in wanted.items():
        assert got[name] == pytest.approx(values, rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("make", [characters, tagger, forecaster])
def test_gradients_and_figures_of_two_processes_are_those_of_one(tmp_path, make):
    compare(tmp_path, make, 2)


@pytest.mark.slow  # each starts as many processes
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("make", TASKS)
def test_gradients_and_figures_of_every_task_are_those_of_one_process(tmp_path, make, count):
    compare(tmp_path, make, count)


@pytest.mark.slow
@pytest.mark.parametrize("make", [characters, texts])
def test_gradients_that_are_accumulated_are_those_of_one_process(tmp_path, make):
    compare(tmp_path, make, 2, "--trainer.accumulate_grad_batches=2")


@pytest.mark.slow
@pytest.mark.parametrize("make", [characters, tagger, pairs])
def test_parameters_that_are_shared_out_become_those_of_whole_ones_and_go_on(tmp_path, make):
    """FSDP2: of two processes each keeps half of the model."""
    whole, shared, log = tmp_path / "whole", tmp_path / "shared", tmp_path / "log"
    for folder in (whole, shared):
        folder.mkdir()
    common = [*COMMON, "--trainer.precision=32-true", "--model.schedule=constant", "--trainer.gradient_clip_val=0.1"]
    args = ["fit", *make(tmp_path), *common, "--trainer.enable_progress_bar=false"]
    strategy = (
        "--trainer.strategy=lightning.pytorch.strategies.ModelParallelStrategy",
        "--trainer.strategy.save_distributed_checkpoint=false",
    )
    straight = start_ranks(2, [*args, "--trainer.max_epochs=2"], whole, log)
    first = start_ranks(2, args, shared, log, strategy=strategy)
    assert ended(*straight, *first) == [0] * 4, log.read_text()[-3000:]
    again = start_ranks(2, [*args, "--resume", "--trainer.max_epochs=2"], shared, log, strategy=strategy)
    assert ended(*again) == [0, 0], log.read_text()[-3000:]
    paths = [next(folder.glob("runs/*/version_0/checkpoints/last.ckpt")) for folder in (whole, shared)]
    wanted, got = (torch.load(path, weights_only=True) for path in paths)
    assert wanted["global_step"] == got["global_step"] > 4
    for name, value in wanted["state_dict"].items():
        torch.testing.assert_close(got["state_dict"][name], value, rtol=1e-4, atol=1e-5)
    assert figures(shared).keys() == figures(whole).keys()
    rnnzoo.load(paths[1])
