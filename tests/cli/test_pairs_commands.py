"""Sequence to sequence from the command line: fit, what it prints and draws, predict, and bad input."""

import random

import pytest
from command_line import CONFIGS, shell, trained
from pyarrow import csv

import rnnzoo

# one worker trains the run of most of them
pytestmark = pytest.mark.xdist_group("pairs")

TINY = [
    f"--config={CONFIGS / 'translation.yaml'}",
    "--model.hidden_size=12",
    "--model.decoder_size=12",
    "--model.embedding_size=12",
    "--data.tokenizer=words",
    "--data.vocabulary_size=null",
    "--data.batch_size=16",
    "--model.dropout=0",  # whose masks are drawn by each process for itself
    "--model.learning_rate=3e-2",
    "--trainer.max_epochs=3",
    "--trainer.enable_progress_bar=false",
]
TWO = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]


def write_pairs(path, header=("en", "de"), count=301):
    draw = random.Random(1)
    words = ["cat", "dog", "sun", "sea", "man", "ran"]
    rows = [draw.choices(words, k=draw.randint(2, 5)) for _ in range(count)]
    lines = ["\t".join(header), *(f"{' '.join(row)}\t{' '.join(word[::-1] for word in row)}" for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder, cache = tmp_path_factory.mktemp("pairs"), tmp_path_factory.mktemp("cache")
    write_pairs(folder / "pairs.tsv")
    given = ["--data.dataset=pairs.tsv", "--data.source_column=en", "--data.target_column=de", "--data.baseline=true"]
    return trained(folder, cache, *TINY, *given)


def test_fit_ends_with_the_figures_samples_and_a_picture(run):
    out = run.answer.out
    assert run.answer.status == 0, run.answer
    for line in ("held-out BLEU: ", "held-out chrF: ", "held-out token accuracy: ", "BLEU of copying the source: "):
        assert line in out
    assert out.count("\n  -> ") == 4
    assert (run.checkpoint.parents[1] / "attention.png").read_bytes()[:4] == b"\x89PNG"
    assert f"attention: {run.answer.checkpoint.parents[1] / 'attention.png'}" in out


def test_predict_writes_source_and_prediction_for_new_texts_without_targets(run, tmp_path, zoo):
    (tmp_path / "new.csv").write_text("en\nthe dog ran\nsea\nman sun cat\n")
    answer = zoo(
        "predict",
        "--ckpt_path",
        run.checkpoint,
        "--data.dataset",
        tmp_path / "new.csv",
        "--data.predict_split",
        "all",
        "--predictions.path",
        tmp_path / "out.csv",
    )
    assert answer.status == 0, answer
    table = csv.read_csv(tmp_path / "out.csv")
    assert table.column_names == ["example", "source", "prediction"]
    assert table["source"].to_pylist() == ["the dog ran", "sea", "man sun cat"]
    by_python = rnnzoo.load(run.checkpoint).predict(["the dog ran", "sea", "man sun cat"])
    assert any(by_python["prediction"])
    assert [text or "" for text in table["prediction"].to_pylist()] == by_python["prediction"].tolist()


def test_test_prints_each_figure_and_a_beam_may_change(run, zoo, monkeypatch):
    monkeypatch.chdir(run.folder)
    four, one = (zoo("test", "--ckpt_path", run.checkpoint, "--model.beam", beam) for beam in (4, 1))
    for answer in (four, one):
        assert answer.status == 0, answer
        assert {line.split()[0] for line in answer.out.splitlines() if line.startswith("test_")} == {
            *("test_BLEU", "test_chrF", "test_loss", "test_accuracy"),
        }


# slow, for test_two_processes.py compares runs of two processes with one by the same loaders
@pytest.mark.slow
def test_two_processes_reach_what_one_reaches(run, tmp_path):
    write_pairs(tmp_path / "pairs.tsv")
    given = ["--data.dataset=pairs.tsv", "--data.source_column=en", "--data.target_column=de"]
    two = shell("fit", *TINY, *given, *TWO, cwd=tmp_path)
    assert two.status == 0, two

    def figures(answer):
        lines = [line for line in answer.out.splitlines() if line.startswith("held-out")]
        return {line.split(": ")[0]: float(line.split(": ")[1]) for line in lines}

    one = figures(run.answer)
    assert figures(two) == pytest.approx(one, rel=2e-3)
    assert two.out.count("held-out BLEU") == 1


def test_what_is_wrong_is_one_line(tmp_path, zoo):
    write_pairs(tmp_path / "pairs.tsv")
    write_pairs(tmp_path / "three.tsv", header=("en", "de", "note"))
    (tmp_path / "hole.tsv").write_text("en\tde\na b\tc d\n\tc\n" + "a\tb\n" * 40)
    pairs = ["--data.dataset", tmp_path / "pairs.tsv"]
    for given, message in (
        ([*pairs, "--model.beam", "0"], "beam must be a whole number of at least 1, not 0"),
        ([*pairs, "--data.source_column", "fr"], "source_column='fr' is not among the columns"),
        ([*pairs, "--model.attention", "lunog"], "attention 'lunog' is unknown"),
        ([*pairs, "--data.target_tokenizer", "wrods"], "target_tokenizer 'wrods' is unknown; did you mean 'words'"),
        (["--data.dataset", tmp_path / "three.tsv"], "three.tsv"),
        (["--data.dataset", tmp_path / "hole.tsv"], "row 1 (the first is row 0) has"),
        (["--data.dataset", tmp_path / "none.tsv"], "no such file or folder"),
        ([*pairs, "--model.attention", "dot", "--model.decoder_size", "9"], "attention 'dot' needs a decoder as wide"),
    ):
        answer = zoo("fit", *TINY, *given)
        assert message in answer.complaint
    assert not (tmp_path / "runs").exists()
