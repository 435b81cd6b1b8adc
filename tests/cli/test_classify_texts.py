"""Classifying texts of one's own from the command line: fit, test, predict, start from a language model, bad input."""

import random
import re
import shutil

import pandas as pd
import pytest
import torch
from command_line import CONFIGS, Run, make_text, shell, trained

import rnnzoo

# one worker trains the run of most of them
pytestmark = pytest.mark.xdist_group("classify")

TINY = [
    f"--config={CONFIGS / 'text_classification.yaml'}",
    "--model.embedding_size=8",
    "--model.hidden_size=8",
    "--data.batch_size=8",
    "--data.min_count=1",
    "--trainer.enable_progress_bar=false",
]
KINDS = {"animals": "cat dog cow hen fox", "colours": "red blue green pink grey", "numbers": "one two three four five"}


def reviews(path, count=60, seed=0, columns=("said", "kind"), labels=True):
    """A CSV file of texts whose words tell the label."""
    draw, rows = random.Random(seed), []
    for k in range(count):
        kind = list(KINDS)[k % len(KINDS)]
        text = " ".join([*draw.choices(KINDS[kind].split(), k=4), *draw.choices("and the of so".split(), k=3)])  # noqa: SIM905
        rows.append({"said": text, "kind": kind} if labels else {"said": text})
    pd.DataFrame(rows)[[c for c in columns if labels or c == "said"]].to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Run:
    folder, cache = tmp_path_factory.mktemp("classify"), tmp_path_factory.mktemp("cache")
    data = [f"--data.dataset={reviews(folder / 'reviews.csv')}", "--data.label_column=kind", "--data.baseline=true"]
    options = ["--trainer.max_epochs=12", "--model.learning_rate=0.03", "--model.dropout=0.1"]
    return trained(folder, cache, *TINY, *data, *options)


def test_a_run_says_what_it_reached_beside_the_linear_model_and_draws_who_was_taken_for_whom(run):
    assert run.answer.status == 0, run.answer.err
    lines = run.answer.out.splitlines()
    figures = {}
    for line in lines:
        name, colon, value = line.rpartition(": ")
        if colon and value.replace(".", "").isdigit():
            figures[name] = float(value)
    assert figures["held-out accuracy"] > 0.6
    assert 0 < figures["held-out macro F1"] <= 1
    assert figures["TF-IDF with logistic regression: accuracy"] > 0.6
    assert figures["tuned TF-IDF with logistic regression: macro F1"] > 0.6
    folder = run.checkpoint.parent.parent
    assert {"confusion.png", "curve.png", "config.yaml", "metrics.csv"} <= {path.name for path in folder.iterdir()}
    assert "rnnzoo predict --ckpt_path" in run.answer.out


def test_the_test_command_prints_each_figure_and_draws_the_picture_anew(zoo, run):
    picture = run.checkpoint.parent.parent / "confusion.png"
    picture.unlink()
    answer = zoo("test", "--ckpt_path", run.checkpoint)
    assert answer.status == 0, answer.err
    assert "test_accuracy " in answer.out
    assert "test_macro_f1 " in answer.out
    assert picture.is_file()


def test_a_checkpoint_outside_a_run_draws_no_picture(zoo, run, tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    copy = shutil.copy(run.checkpoint, tmp_path / "a" / "b" / "mine.ckpt")
    assert zoo("test", "--ckpt_path", copy).status == 0
    assert not [*tmp_path.rglob("*.png")]


@pytest.mark.parametrize("labels", [True, False])
def test_new_texts_get_a_label_and_its_probability_each_in_their_order(zoo, run, tmp_path, labels):
    new = reviews(tmp_path / "new.csv", 25, seed=1, columns=("kind", "said"), labels=labels)
    given = ["--data.dataset", new, "--predictions.path", tmp_path / "said.csv", "--predictions.columns", "[said]"]
    answer = zoo("predict", "--ckpt_path", run.checkpoint, *given)
    assert answer.status == 0, answer.err
    table = pd.read_csv(tmp_path / "said.csv")
    assert [*table] == ["example", "label", "probability", "said"]
    assert table["said"].tolist() == pd.read_csv(new)["said"].tolist()
    expected = rnnzoo.load(run.checkpoint).predict(table["said"])
    assert table["label"].tolist() == expected["label"].tolist()
    torch.testing.assert_close(*(torch.tensor(t["probability"]).double() for t in (table, expected)), rtol=1e-4, atol=0)
    right = [list(KINDS)[k % 3] for k in range(25)]
    assert sum(a == b for a, b in zip(table["label"], right, strict=True)) > 12


def test_predictions_become_parquet(zoo, run, tmp_path):
    answer = zoo("predict", "--ckpt_path", run.checkpoint, "--predictions.path", tmp_path / "said.parquet")
    assert answer.status == 0, answer.err
    assert len(pd.read_parquet(tmp_path / "said.parquet")) == 6  # of the test part


def test_evaluation_on_other_data_knows_the_labels_of_the_training(zoo, run, tmp_path):
    other = reviews(tmp_path / "other.csv", 30, seed=2, columns=("kind", "said"))
    answer = zoo("test", "--ckpt_path", run.checkpoint, "--data.dataset", other)
    assert answer.status == 0, answer.err
    table = pd.read_csv(other)  # all of it, since none was trained on
    said = rnnzoo.load(run.checkpoint).predict(table["said"])["label"]
    figure = re.search(r"test_accuracy +([\d.]+)", answer.out)
    assert float(figure[1]) == pytest.approx((said == table["kind"]).mean(), abs=1e-3)
    config = tmp_path / "tags.yaml"  # whose data are not the checkpoint's
    config.write_text(
        "model: {class_path: rnnzoo.tasks.TextClassifier}\ndata: {class_path: rnnzoo.data.TaggedTextData}\n"
    )
    assert zoo("test", "--config", config, "--ckpt_path", run.checkpoint, "--data.dataset", other).out.endswith(
        answer.out
    )
    table = pd.read_csv(other)
    table.loc[:, "kind"] = "shapes"
    table.to_csv(other, index=False)
    said = zoo("test", "--ckpt_path", run.checkpoint, "--data.dataset", other).complaint
    assert "has the label 'shapes', which is not among the 3 of training: animals, colours, numbers" in said
    table.drop(columns="kind").to_csv(other, index=False)
    assert (
        "the test part has no labels" in zoo("test", "--ckpt_path", run.checkpoint, "--data.dataset", other).complaint
    )


@pytest.mark.parametrize("command", ["test", "validate"])
def test_the_data_of_a_run_by_another_path_are_not_held_out_whole(zoo, run, tmp_path, command):
    link = tmp_path / "linked.csv"
    link.symlink_to(run.folder / "reviews.csv")
    figures = [zoo(command, "--ckpt_path", run.checkpoint, *more).out for more in ((), ("--data.dataset", link))]
    assert figures[0] == figures[1]


def test_a_run_goes_on_with_its_data_and_labels(zoo, run, tmp_path):
    answer = zoo("fit", "--ckpt_path", run.checkpoint.with_name("last.ckpt"), "--trainer.max_epochs", 13)
    assert answer.status == 0, answer.err
    assert "held-out accuracy" in answer.out


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ("said,kind\n" + "good,a\nbad,b\n" * 9 + ",a\n", [], "row 18 (the first is row 0) has an empty text"),
        ("said,kind\n" + "good,a\nbad,b\n" * 9 + "so,\n", [], "row 18 (the first is row 0) has no label"),
        ("said,kind\n" + "good,a\n" * 20, [], "training needs two classes or more, but the only one is 'a'"),
        ("said,kind\n" + "1,a\n2,b\n" * 9, [], "text_column='said' must hold text, but its type is int64"),
        ("said,kind\n" + "good,a\nbad,b\n" * 9, ["--data.label_column=sort"], "label_column='sort' is not among"),
        ("said\n" + "good\nbad\n" * 9, ["--data.label_column=null"], "no column holds labels: the columns are said"),
        ("said,kind\ngood,a\n", [], "too few, split leaves none for"),
        ("said,kind\n" + "good,a\nbad,b\n" * 9, ["--model.pooling=most"], "pooling 'most' is unknown"),
        ("said,kind\n" + "good,a\nbad,b\n" * 9, ["--model.class_weights=[1]"], "class_weights must be 2 numbers"),
        ("said,kind\n" + "good,a\nbad,b\n" * 9, ["--model.embeddings=no.vec"], "no such"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_run(zoo, tmp_path, content, options, says):
    (tmp_path / "bad.csv").write_text(content)
    given = [f"--data.dataset={tmp_path / 'bad.csv'}", "--data.text_column=said", "--data.label_column=kind", *options]
    assert says in zoo("fit", *TINY, *given).complaint
    assert not (tmp_path / "runs").exists()


def test_an_embedding_file_is_taken_and_a_ragged_one_is_named_with_its_line(zoo, tmp_path):
    data = [f"--data.dataset={reviews(tmp_path / 'reviews.csv', 40)}", "--data.label_column=kind"]
    (tmp_path / "good.vec").write_text("".join(f"{word} {'0.5 ' * 8}\n" for word in "cat dog cow".split()))  # noqa: SIM905
    options = [*TINY, *data, "--trainer.max_epochs=1"]
    answer = zoo("fit", *options, f"--model.embeddings={tmp_path / 'good.vec'}")
    assert answer.status == 0, answer.err
    assert "good.vec has 3 of the" in answer.out
    (tmp_path / "good.vec").rename(tmp_path / "gone.vec")  # a checkpoint alone is enough
    assert zoo("fit", "--ckpt_path", answer.checkpoint.with_name("last.ckpt"), "--trainer.max_epochs=2").status == 0
    (tmp_path / "bad.vec").write_text("cat 1 2\ndog 1\n")
    said = zoo("fit", *options, f"--model.embeddings={tmp_path / 'bad.vec'}").complaint
    assert "bad.vec': line 2 has 1 numbers behind its word, but 2 are due" in said
    said = zoo("fit", *options, "--model.embedding_size=9", f"--model.embeddings={tmp_path / 'gone.vec'}").complaint
    assert "give --model.embedding_size 8" in said


def test_a_classifier_starts_from_a_language_model_and_is_unfrozen_layer_by_layer(zoo, lm_run, tmp_path):
    texts = make_text(900, seed=3).splitlines()
    rows = [{"text": text, "label": "dog" if "dog" in text else "none"} for text in texts]
    pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
    given = [f"--config={CONFIGS / 'finetune.yaml'}", f"--data.dataset={tmp_path / 'rows.csv'}"]
    given += ["--data.batch_size=8", "--trainer.enable_progress_bar=false", "--model.dropout=0.1"]
    start = [f"--model.pretrained={lm_run.checkpoint}"]
    answer = zoo("fit", *given, *start, "--trainer.max_epochs=1")
    assert answer.status == 0, answer.err
    assert "1 x 16 units" in answer.out
    assert "model.head" in answer.out  # starts anew, and nothing else does
    before, after = (torch.load(p, weights_only=True) for p in (lm_run.checkpoint, answer.checkpoint))
    for name, weight in before["state_dict"].items():
        if "head" not in name:  # in the first epoch the head alone moved
            kept = after["state_dict"][name]
            assert torch.equal(kept[: len(weight)], weight), name
    assert rnnzoo.load(answer.checkpoint).predict("a dog sat")["label"][0] in ("dog", "none")
    whole = zoo("fit", *given, *start, "--trainer.max_epochs=2")
    assert whole.status == 0, whole.err
    two = torch.load(whole.checkpoint.with_name("last.ckpt"), weights_only=True)["state_dict"]
    name = "model.rnn.layers.0.0.weight_hh"
    assert not torch.equal(two[name], before["state_dict"][name])
    embedding = before["state_dict"]["model.embedding.weight"]
    assert torch.equal(two["model.embedding.weight"][: len(embedding)], embedding)
    last = whole.checkpoint.with_name("last.ckpt")
    assert zoo("fit", "--ckpt_path", last, "--trainer.max_epochs=3").status == 0


def test_sizes_that_contradict_a_language_model_are_one_line(zoo, lm_run, tmp_path):
    data = [f"--data.dataset={reviews(tmp_path / 'reviews.csv', 40)}", "--data.label_column=kind"]
    config = [f"--config={CONFIGS / 'finetune.yaml'}", f"--model.pretrained={lm_run.checkpoint}"]
    said = zoo("fit", *config, *data, "--model.embedding_size=9").complaint
    assert "embedding_size is 9 but the checkpoint has 8" in said


def test_an_older_name_is_one_line_that_names_the_new_and_nothing_else_is_said_of_each_step(tmp_path):
    given = [*TINY, f"--data.dataset={reviews(tmp_path / 'reviews.csv', 40)}", "--data.label_column=kind"]
    answer = shell("fit", *given, "--model.rnn_args.connect=highway", "--trainer.max_steps=1", cwd=tmp_path)
    assert answer.status == 0, answer.err
    (line,) = (line for line in answer.err.splitlines() if "rnn_args" in line)
    assert line.startswith("rnnzoo: warning: rnn_args is an older name: ")
    assert line.endswith("--model.connect")
    assert "Tokenizing" not in answer.err  # a bar of `datasets`, which is told so before it is loaded


@pytest.mark.slow
def test_two_processes_train_and_say_what_one_does(tmp_path):
    data = [f"--data.dataset={reviews(tmp_path / 'reviews.csv', 80)}", "--data.label_column=kind"]
    options = ["--trainer.max_epochs=3", "--model.dropout=0", "--trainer.accelerator=cpu", "--model.kernel=reference"]
    options += ["--model.unfreeze_every=1", "--model.num_layers=2"]
    tables = []
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        folder.mkdir()
        answer = shell("fit", *TINY, *data, *options, f"--trainer.devices={devices}", cwd=folder)
        assert answer.status == 0, answer.err
        state = torch.load(folder / answer.checkpoint.with_name("last.ckpt"), weights_only=True)["state_dict"]
        tables.append((state, [line for line in answer.out.splitlines() if line.startswith("held-out")]))
    (one, said), (two, also) = tables
    assert said == also
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-4, atol=1e-6, msg=name)
