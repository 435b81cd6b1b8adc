"""Data sets on the HuggingFace hub, by the real client, from a hub of its kind on localhost."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hub_stub import Hub, write_repository

from rnnzoo.data.tokenizers import train

# one worker asks for all of them
pytestmark = pytest.mark.xdist_group("hub")

ASK = """
import json, sys, time
from rnnzoo.data.sources import load_splits
from rnnzoo.data.row_streams import make_stream_parts, open_streams
from rnnzoo.data.tokenizers import read_tokenizer

def streamed(name):
    parts = make_stream_parts(open_streams(name, None, "kjv", None), (0.6, 0.3, 0.1), 0, None, {}, name)
    return {part: [own.count, [t for k in range(len(own.files)) for table, _ in own.blocks(k)
                               for t in table["text"].to_pylist()]] for part, own in parts.items()}

answers = []
for name, subset in json.loads(sys.argv[1]):
    begun = time.monotonic()
    try:
        if subset == "stream":
            answers.append([streamed(name), time.monotonic() - begun])
            continue
        if subset == "tokenizer":
            answers.append([read_tokenizer(name).vocabulary, time.monotonic() - begun])
            continue
        splits, _ = load_splits(name, subset, bundled="kjv")
        answer = {split: {"rows": rows[:], "names": getattr(rows.features.get("label"), "names", None)}
                  for split, rows in splits.items()}
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    answers.append([answer, time.monotonic() - begun])
print("answers", json.dumps(answers))
"""
LABELLED = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
ASKED = [
    ["someone/reviews", "short"],
    ["someone/reviews:long", None],
    ["someone/reviews", None],
    ["someone/reviews", "shrt"],
    ["someone/one", None],
    ["one", None],
    ["someone/table", None],
    ["someone/described", None],
    ["someone/lines", None],
    ["someone/missing", None],
    ["someone/private", None],
    ["someone/gated", None],
    ["not a name", None],
    ["someone/broken", None],
    ["someone/reviews:short", "stream"],
    ["someone/one", "stream"],
    ["someone/words", "tokenizer"],
    ["someone/nowhere", "tokenizer"],
    ["someone/weights", "tokenizer"],
]


def labelled(count: int, first: int = 0) -> Dataset:
    return Dataset.from_dict(
        {"text": [f"text {k}" for k in range(first, first + count)], "label": [k % 2 for k in range(count)]},
        features=LABELLED,
    )


def ask(hub: Hub, cache: Path, asked: list[list[str | None]]) -> dict[tuple[str | None, ...], Any]:
    env = {**os.environ, **hub.environment(cache), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(asked)],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("answers "))
    return dict(zip(map(tuple, asked), json.loads(line.removeprefix("answers ")), strict=True))


def write_all(root: Path) -> None:
    own = root / "datasets" / "someone"
    write_repository(
        own / "reviews",
        {"short": {"train": labelled(11), "test": labelled(5, 50)}, "long": {"train": labelled(7, 100)}},
    )
    write_repository(own / "one", {"default": {"train": labelled(9)}}, shards=3, counts=False)
    for name in ("table", "described", "lines", "private", "gated", "broken"):
        (own / name).mkdir()
    (own / "table" / "train.csv").write_text('text;label\n"a; b";1\nNA;0\n')
    (own / "table" / "test.csv").write_text("text;label\nc;1\n")
    (own / "described" / "train.csv").write_text("text,label\n007,good\n1.0,bad\n")
    (own / "described" / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n  - name: label\n    dtype:\n"
        "      class_label:\n        names:\n          '0': bad\n          '1': good\n---\n"
    )
    (own / "lines" / "train.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    (own / "private" / "train.jsonl").write_text('{"text": "a"}\n')
    (own / "gated" / "train.jsonl").write_text('{"text": "a"}\n')
    (own / "broken" / "train.csv").write_text("text,label\na,1\nb\n")
    for name in ("words", "weights"):
        (root / "models" / "someone" / name).mkdir(parents=True)
        (root / "models" / "someone" / name / "config.json").write_text("{}")
    tokenizer = train("words", ["a saved one of its own"])
    tokenizer.backend.save(str(root / "models" / "someone" / "words" / "tokenizer.json"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hub, Path]]:
    root, cache = tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("cache")
    write_all(root)
    with Hub(root, ("someone/private",), ("someone/gated",), {"one": "someone/one"}) as hub:
        yield hub, cache


@pytest.fixture(scope="module")
def answers(served: tuple[Hub, Path]) -> dict[tuple[str | None, ...], Any]:
    return {asked: answer for asked, (answer, _) in ask(*served, ASKED).items()}


@pytest.fixture(scope="module")
def unreachable(
    served: tuple[Hub, Path], answers: dict[tuple[str | None, ...], Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str | None, ...], Any]:
    """Asked again with the same caches where the hub is gone."""
    gone = Hub(tmp_path_factory.mktemp("gone"))
    gone.stop()
    asked: list[list[str | None]] = [["someone/reviews", "long"], ["someone/table", None], ["someone/other", None]]
    asked += [["someone/words", "tokenizer"], ["someone/weights", "tokenizer"]]
    return ask(gone, served[1], asked)


def test_a_configuration_is_loaded_with_all_its_splits_shards_and_names_of_labels(answers: dict[Any, Any]) -> None:
    short, long = answers["someone/reviews", "short"], answers["someone/reviews:long", None]
    assert short["train"]["rows"] == labelled(11)[:]
    assert short["test"]["rows"] == labelled(5, 50)[:]
    assert short["train"]["names"] == ["bad", "good"]
    assert list(long) == ["train"]
    assert long["train"]["rows"] == labelled(7, 100)[:]


def test_configurations_are_listed_where_none_is_named_or_none_of_the_name(answers: dict[Any, Any]) -> None:
    assert answers["someone/reviews", None] == (
        "RnnZooError: dataset='someone/reviews' has the configurations short, long: give one, as subset='short' or "
        "dataset='someone/reviews:short'"
    )
    assert answers["someone/reviews", "shrt"] == (
        "RnnZooError: subset='shrt' is no configuration of dataset='someone/reviews'; did you mean 'short'? it has "
        "short, long"
    )


def test_a_data_set_is_found_by_the_name_that_it_had_without_an_owner(answers: dict[Any, Any]) -> None:
    assert answers["one", None] == answers["someone/one", None]
    assert answers["one", None]["train"]["rows"] == labelled(9)[:]


@pytest.mark.parametrize(("name", "whole"), [("someone/reviews:short", 11), ("someone/one", 9)])
def test_a_data_set_is_streamed_and_says_how_many_rows_each_part_has(
    name: str, whole: int, answers: dict[Any, Any]
) -> None:
    parts = answers[name, "stream"]
    assert all(count == len(texts) for count, texts in parts.values())
    drawn = [text for part in ("train", "validation") for text in parts[part][1]]
    if whole == 11:
        assert parts["test"] == [5, labelled(5, 50)["text"][:]]
    else:
        drawn += parts["test"][1]
    assert sorted(drawn) == sorted(labelled(whole)["text"][:])


def test_csv_files_are_read_as_strictly_as_local_ones(answers: dict[Any, Any]) -> None:
    table = answers["someone/table", None]
    assert table["train"]["rows"] == {"text": ["a; b", "NA"], "label": [1, 0]}
    assert table["test"]["rows"] == {"text": ["c"], "label": [1]}
    assert "does not fit its header: line 3 has 1 fields and the header 2" in answers["someone/broken", None]


def test_what_the_readme_says_of_columns_holds_for_csv_files(answers: dict[Any, Any]) -> None:
    rows = answers["someone/described", None]["train"]
    assert rows["rows"] == {"text": ["007", "1.0"], "label": [1, 0]}
    assert rows["names"] == ["bad", "good"]


def test_json_lines_without_a_readme_are_loaded(answers: dict[Any, Any]) -> None:
    assert answers["someone/lines", None]["train"]["rows"] == {"text": ["a", "b"]}


@pytest.mark.parametrize("name", ["someone/missing", "someone/private", "not a name"])
def test_a_data_set_that_is_missing_or_private_is_one_line(name: str, answers: dict[Any, Any]) -> None:
    assert answers[name, None] == (
        f"RnnZooError: dataset={name!r} is no file or folder here; the HuggingFace hub has no data set of that name, "
        "or one that you may not read (`hf auth login`, HF_TOKEN): give a path, a name on the hub, or 'kjv'"
    )


def test_a_data_set_that_asks_for_an_agreement_says_where(answers: dict[Any, Any], served: tuple[Hub, Path]) -> None:
    assert (
        f"agreed to its terms: do so at {served[0].endpoint}/datasets/someone/gated" in answers["someone/gated", None]
    )
    assert "\n" not in answers["someone/gated", None]


def test_large_files_come_from_another_host_once(answers: dict[Any, Any], served: tuple[Hub, Path]) -> None:
    blobs = [asked for asked in served[0].requests if asked.startswith("GET /blobs/") and "bytes=" not in asked]
    assert len(blobs) == len(set(blobs)) == 2 * 3 + 3  # a stream asks for ranges of them


def test_without_a_network_a_name_is_one_line_within_seconds(unreachable: dict[Any, Any]) -> None:
    answer, seconds = unreachable["someone/other", None]
    assert answer.startswith(
        "RnnZooError: dataset='someone/other' is no file or folder here; the HuggingFace hub (http://127.0.0.1:"
    )
    assert "cannot be reached: " in answer
    assert answer.endswith("nothing of that name was loaded before: give a path, a name on the hub, or 'kjv'")
    assert "\n" not in answer
    assert seconds < 5


def test_without_a_network_what_was_loaded_before_is_read(unreachable: dict[Any, Any], answers: dict[Any, Any]) -> None:
    assert unreachable["someone/reviews", "long"][0] == answers["someone/reviews:long", None]
    assert unreachable["someone/table", None][0] == answers["someone/table", None]


def test_a_tokenizer_is_read_by_its_name_without_a_network_too(
    answers: dict[Any, Any], unreachable: dict[Any, Any]
) -> None:
    wanted = train("words", ["a saved one of its own"]).vocabulary
    assert answers["someone/words", "tokenizer"] == unreachable["someone/words", "tokenizer"][0] == wanted


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "nowhere",
            "tokenizer 'someone/nowhere' is no file or folder here; the HuggingFace hub has no model of that name",
        ),
        (
            "weights",
            "tokenizer 'someone/weights' is no file or folder here; on the HuggingFace hub it has no tokenizer.j",
        ),
    ],
)
def test_a_tokenizer_that_is_not_there_is_one_line(name: str, says: str, answers: dict[Any, Any]) -> None:
    answer = answers[f"someone/{name}", "tokenizer"]
    assert answer.startswith(f"RnnZooError: {says}")
    assert "\n" not in answer


def test_a_tokenizer_that_cannot_be_asked_for_is_one_line_within_seconds(unreachable: dict[Any, Any]) -> None:
    answer, seconds = unreachable["someone/weights", "tokenizer"]
    assert "cannot be reached: " in answer
    assert "\n" not in answer
    assert seconds < 5


SIZES = ("--model.embedding_size=4", "--model.hidden_size=8")


def fit(served: tuple[Hub, Path], folder: Path, config: str, *given: str, sizes: Sequence[str] = SIZES) -> str:
    """What `rnnzoo fit` prints of a short run on data of the hub."""
    hub, cache = served
    configs = Path(__file__).parents[2] / "configs"
    command = [sys.executable, "-m", "rnnzoo", "fit", f"--config={configs / config}", *given]
    command += [*sizes, "--trainer.max_epochs=1"]
    env = {**os.environ, **hub.environment(cache), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_language_model_is_trained_on_a_data_set_of_the_hub(served: tuple[Hub, Path], tmp_path: Path) -> None:
    rows = Dataset.from_dict({"body": [f"the cat sat on mat number {k % 7} and was glad of it" for k in range(60)]})
    write_repository(served[0].root / "datasets" / "someone" / "cats", {"default": {"train": rows}})
    given = ["--data.dataset=someone/cats", "--data.column=body", "--data.batch_size=4", "--data.sequence_length=20"]
    assert "held-out" in fit(served, tmp_path, "char_lm.yaml", *given)


@pytest.mark.slow
@pytest.mark.parametrize("streaming", ["true", "false"])
def test_a_classifier_is_trained_on_a_data_set_of_the_hub(
    streaming: str, served: tuple[Hub, Path], tmp_path: Path
) -> None:
    splits = {"train": labelled(300), "test": labelled(40)}
    write_repository(served[0].root / "datasets" / "someone" / "opinions", {"plain": splits})
    given = ["--data.dataset=someone/opinions:plain", "--data.batch_size=16", f"--data.streaming={streaming}"]
    assert "held-out accuracy: " in fit(served, tmp_path, "text_classification.yaml", *given)


@pytest.mark.slow
def test_a_language_model_of_words_streams_a_configuration_by_the_name_that_it_had(
    served: tuple[Hub, Path], tmp_path: Path
) -> None:
    rows = Dataset.from_dict({"text": [f"the cat sat on mat number {k % 7} and was glad of it" for k in range(400)]})
    splits = {"train": rows, "validation": rows.select(range(50)), "test": rows.select(range(50))}
    hub = served[0]
    write_repository(hub.root / "datasets" / "someone" / "articles", {"long": splits, "short": {"train": rows}})
    hub.moved = {**hub.moved, "articles": "someone/articles"}
    given = ["--data.dataset=articles", "--data.subset=long", "--data.streaming=true", "--data.baseline=false"]
    given += ["--data.batch_size=4", "--data.sequence_length=10", "--model.adaptive_softmax=null"]
    assert "held-out perplexity: " in fit(served, tmp_path, "word_lm.yaml", *given)


@pytest.mark.slow
def test_a_forecaster_is_trained_on_a_data_set_of_the_hub(served: tuple[Hub, Path], tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=90)
    parts = [
        {"store": [f"s{k}"] * 90, "day": days, "sold": [k + day % 7 + day / 9 for day in range(90)]} for k in range(3)
    ]
    rows = Dataset.from_pandas(pd.concat(map(pd.DataFrame, parts), ignore_index=True))
    splits = {
        "train": rows.filter(lambda row: row["day"] < days[70]),
        "test": rows.filter(lambda row: row["day"] >= days[70]),
    }
    write_repository(served[0].root / "datasets" / "someone" / "sales", {"daily": splits, "none": {"train": rows}})
    given = ["--data.dataset=someone/sales:daily", "--data.id_column=store", "--data.time_column=day"]
    given += ["--data.target_column=sold", "--data.horizon=4", "--data.context=8", "--data.season=7"]
    assert "held-out MASE: " in fit(served, tmp_path, "forecast.yaml", *given, sizes=["--model.hidden_size=8"])
