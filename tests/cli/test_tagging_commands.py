"""Tagging from the command line: files of a user's own, predictions, a simple method beside, and what is refused."""

import random

import datasets
import pyarrow.parquet as pq
import pytest
import torch
from command_line import CONFIGS, Run, shell, trained
from pyarrow import csv

import rnnzoo

# one worker trains the run of most of them
pytestmark = pytest.mark.xdist_group("tagging")

TINY = [
    f"--config={CONFIGS / 'tagging.yaml'}",
    "--model.hidden_size=12",
    "--model.embedding_size=10",
    "--model.character_size=6",
    "--model.character_hidden_size=6",
    "--model.learning_rate=2e-2",
    "--data.batch_size=8",
    "--trainer.max_epochs=3",
    "--trainer.enable_progress_bar=false",
]
NAMES, TOWNS, DID = ["Ada", "Bob", "Cem", "Dal"], ["Paris", "Izmir"], ["saw", "met", "left"]


def sentences(count: int, seed: int = 0) -> list[list[tuple[str, str]]]:
    """Words with tags in BIO that depend on the word and the one before it."""
    draw, made = random.Random(seed), []
    for _ in range(count):
        words = [(draw.choice(NAMES), "B-PER")]
        words += [("Kaya", "I-PER")] if draw.random() < 0.5 else []
        words += [(draw.choice(DID), "O"), (draw.choice(TOWNS), "B-LOC")]
        words += [("Kaya", "B-LOC")] if draw.random() < 0.5 else []
        made.append([*words, (".", "O")])
    return made


def conll(rows) -> str:
    return "".join("".join(f"{word} {tag}\n" for word, tag in row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("tagged") / "names.conll"
    path.write_text(conll(sentences(123)))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, file) -> Run:
    folders = tmp_path_factory.mktemp("tagger"), tmp_path_factory.mktemp("cache")
    return trained(*folders, *TINY, f"--data.dataset={file}", "--data.baseline=true")


def test_a_run_says_its_accuracy_its_spans_and_those_of_simple_methods(run):
    assert run.answer.status == 0, run.answer
    figures = dict(line.rsplit(": ", 1) for line in run.answer.out.splitlines() if ": 0." in line or ": 1." in line)
    assert float(figures["held-out accuracy"]) > 0.9
    assert {"held-out span F1", "held-out span precision", "held-out span recall"} <= set(figures)
    frequent = float(figures["most frequent tag of each word: accuracy"])
    assert frequent < float(figures["CRF with hand-made features (sklearn-crfsuite): accuracy"])
    assert "CRF with hand-made features (sklearn-crfsuite): span F1" in figures
    assert "rnnzoo predict --ckpt_path" in run.answer.out


def test_the_test_command_prints_the_figures_of_the_run(run, zoo, file):
    held_out = next(line for line in run.answer.out.splitlines() if line.startswith("held-out span F1"))
    answer = zoo("test", f"--ckpt_path={run.checkpoint}")
    value = held_out.split(": ")[1]
    assert f"test_span_f1 {value}" in answer.out


def test_predictions_have_a_row_for_every_word_of_any_file(run, zoo, tmp_path):
    texts = ["Ada Kaya met Izmir Kaya .", "Zed saw Paris ."]
    (tmp_path / "new.txt").write_text("\n".join(texts) + "\n")
    (tmp_path / "new.csv").write_text("\n".join(["text,who", f"{texts[0]},x", f"{texts[1]},y"]) + "\n")
    (tmp_path / "new.conllu").write_text(
        "\n\n".join("\n".join("\t".join([str(k), w, *"________"]) for k, w in enumerate(t.split(), 1)) for t in texts)
    )
    for name in ("new.txt", "new.csv", "new.conllu"):
        given = [f"--data.dataset={name}", *(["--data.text_column=text"] if name == "new.csv" else [])]
        zoo("predict", f"--ckpt_path={run.checkpoint}", *given, "--predictions.path=made.csv")
        table = csv.read_csv("made.csv").to_pydict()
        assert list(table) == ["sentence", "token", "tag"]
        assert table["token"] == " ".join(texts).split()
        assert table["sentence"] == [0] * 6 + [1] * 4
        frame = rnnzoo.load(run.checkpoint).predict(texts)
        assert table["tag"] == frame.tag.tolist()
    assert table["tag"][:2] == ["B-PER", "I-PER"]
    given = ["--data.dataset=new.csv", "--data.text_column=text", "--predictions.columns=[who]"]
    assert zoo("predict", f"--ckpt_path={run.checkpoint}", *given, "--predictions.path=made.csv").status == 0
    assert csv.read_csv("made.csv").to_pydict()["who"] == ["x"] * 6 + ["y"] * 4


def test_a_saved_data_set_with_class_labels_is_tagged_without_a_crf(zoo, tmp_path):
    labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    ones = datasets.Sequence(datasets.ClassLabel(names=labels))
    kinds = datasets.Features({"tokens": datasets.Sequence(datasets.Value("string")), "ner_tags": ones})
    parts = {}
    for k, split in enumerate(("train", "validation", "test")):
        rows = sentences(50, seed=k)
        words, tags = [[w for w, _ in row] for row in rows], [[labels.index(t) for _, t in row] for row in rows]
        parts[split] = datasets.Dataset.from_dict({"tokens": words, "ner_tags": tags}, features=kinds)
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "set"))
    answer = zoo("fit", *TINY, "--data.dataset=set", "--model.crf=false", "--model.cell=gru")
    assert answer.status == 0, answer
    answer = zoo("predict", f"--ckpt_path={answer.checkpoint}", "--predictions.path=made.parquet")
    assert answer.status == 0, answer
    assert set(pq.read_table("made.parquet")["tag"].to_pylist()) <= set(labels)


def test_a_run_goes_on_with_new_tags_from_the_weights_of_another(run, zoo, tmp_path):
    other = [[(word, tag.replace("LOC", "TOWN")) for word, tag in row] for row in sentences(60, seed=7)]
    (tmp_path / "other.conll").write_text(conll(other))
    answer = zoo("fit", *TINY, "--data.dataset=other.conll", f"--model.pretrained={run.checkpoint}")
    assert answer.status == 0, answer


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("a X\nb\n", [], "line 2 has 1 fields, not 2"),
        ("a X\n\n" * 12, [], "training needs two different tags or more, but the only one is 'X'"),
        ("a X\n\n" * 12, ["--data.tag_column=upos"], "tag_column='upos' is not among the columns; there are tags"),
        ("a\n\n" * 12, [], "no column holds tags"),
        ("", [], "is an empty file"),
    ],
)
def test_a_file_that_cannot_be_meant_is_one_line(zoo, tmp_path, text, options, says):
    (tmp_path / "bad.conll").write_text(text)
    assert says in zoo("fit", *TINY, "--data.dataset=bad.conll", *options).complaint
    assert not (tmp_path / "runs").exists()


def test_settings_of_a_tagger_that_cannot_be_are_one_line(zoo, run, file):
    given = [*TINY, f"--data.dataset={file}"]
    assert "character_size must be" in zoo("fit", *given, "--model.character_size=-1").complaint
    assert "crf is False but" in zoo("fit", f"--ckpt_path={run.checkpoint}", "--model.crf=false").complaint
    assert "has no setting 'tokenizer'" in zoo("fit", *given, "--data.tokenizer=bpe").complaint


@pytest.mark.slow
@pytest.mark.parametrize("crf", ["true", "false"])
def test_two_processes_end_with_the_weights_and_figures_of_one(tmp_path, file, crf):
    two = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]
    given = [*TINY, f"--data.dataset={file}", f"--model.crf={crf}", "--model.dropout=0", "--model.word_dropout=0"]
    given += ["--model.schedule=constant", "--model.optimizer=SGD", "--trainer.max_epochs=1", "--data.batch_size=6"]
    one, shared = (shell("fit", *given, *how, cwd=tmp_path) for how in ([], two))
    assert (one.status, shared.status) == (0, 0), shared
    found = []
    for answer in (one, shared):
        folder = (tmp_path / answer.checkpoint).parent
        lines = [line for line in answer.out.splitlines() if line.startswith("held-out")]
        found.append((torch.load(folder / "last.ckpt", weights_only=True)["state_dict"], lines))
    assert found[0][1] == found[1][1]
    assert len(found[0][1]) == 4
    assert max((found[0][0][name] - found[1][0][name]).abs().max().item() for name in found[0][0]) < 1e-5
