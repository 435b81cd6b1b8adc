"""What the cases start from: a small training of each task, with its data in files of each format that is read."""

import io
import json
import random
from dataclasses import dataclass, field
from datetime import date, timedelta

import pyarrow as pa
from pyarrow import csv, parquet

SHORT = (
    "--trainer.max_steps=1",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--model.kernel=reference",
)
QUIET = "--trainer.enable_progress_bar=false"
_WORDS = "the cat sat on a mat and a dog ran far away in heaven above earth".split()  # noqa: SIM905


@dataclass(frozen=True)
class Recipe:
    """A training that takes a fraction of a second.

    Attributes:
        config: the name of one of the configs of this project.
        settings: of the command line; {file} stands for the data file.
        files: contents of the same data by the name of their file, whose ending says the format.
    """

    config: str
    settings: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)

    def command(self, file: str | None) -> list[str]:
        """`rnnzoo fit` with the data in a file."""
        given = () if file is None else (f"--data.dataset={file}",)
        return ["fit", f"--config=CONFIGS/{self.config}.yaml", *self.settings, *SHORT, QUIET, *given]


def _sentences(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(_WORDS, k=draw.randint(3, 8))) for _ in range(count)]


def _tables(rows: list[dict[str, object]], separators: str = ",\t") -> dict[str, bytes]:
    """The same rows as CSV, TSV, JSON lines and Parquet."""
    table = pa.Table.from_pylist(rows)
    files = {}
    for separator, ending in zip(separators, ("csv", "tsv"), strict=False):
        out = io.BytesIO()
        options = csv.WriteOptions(delimiter=separator, quoting_style="needed")
        csv.write_csv(table, out, options)
        files[f"data.{ending}"] = out.getvalue()
    files["data.jsonl"] = "".join(json.dumps(row) + "\n" for row in rows).encode()
    out = io.BytesIO()
    parquet.write_table(table, out)
    return files | {"data.parquet": out.getvalue()}


def _labelled() -> list[dict[str, object]]:
    return [{"text": text, "label": ("good", "bad")[k % 2]} for k, text in enumerate(_sentences(60))]


def _pairs() -> list[dict[str, object]]:
    return [{"en": text, "de": text[::-1]} for text in _sentences(60)]


def _tagged() -> dict[str, bytes]:
    made, universal = [], []
    for k, text in enumerate(_sentences(60)):
        words = text.split()
        made += [*(f"{word} {'B-X' if word in ('cat', 'dog') else 'O'}" for word in words), ""]
        universal += [f"# sent_id = {k}"]
        tags = [("NOUN", "VERB")[len(word) % 2] for word in words]
        row = "{0}\t{1}\t{1}\t{2}\t_\t_\t0\troot\t_\t_"
        universal += [row.format(n, w, t) for n, (w, t) in enumerate(zip(words, tags, strict=True), 1)]
        universal += [""]
    return {"data.conll": ("\n".join(made) + "\n").encode(), "data.conllu": ("\n".join(universal) + "\n").encode()}


def _series(names: tuple[str, ...], length: int) -> list[dict[str, object]]:
    draw, rows = random.Random(1), []
    for name in names:
        for t in range(length):
            day = str(date(2020, 1, 1) + timedelta(t))
            rows.append({"id": name, "day": day, "load": 100 + 10 * (t % 7) + draw.random(), "price": draw.random()})
    return rows


def _labelled_series() -> list[dict[str, object]]:
    draw, rows = random.Random(2), []
    for k in range(30):
        for t in range(4 + k % 3):
            value = 50 + (1 if k % 2 else -1) * t + draw.random()
            rows.append({"id": f"s{k}", "t": t, "v": value, "kind": ("down", "up")[k % 2]})
    return rows


_TEXT = ("\n".join(_sentences(120)) + "\n").encode()
_TINY = ("--model.hidden_size=4", "--data.batch_size=4")
_SERIES = (*_TINY, "--model.level=7", "--model.lags=[]", "--data.horizon=7", "--data.season=7", "--data.context=14")
_COLUMNS = ("--data.target_column=load", "--data.time_column=day")
RECIPES = {
    "characters": Recipe("char_lm", (*_TINY, "--data.sequence_length=8"), {"data.txt": _TEXT}),
    "words": Recipe(
        "word_lm",
        (*_TINY, "--data.sequence_length=8", "--model.embedding_size=4", "--model.adaptive_softmax=null"),
        {"data.txt": _TEXT, **_tables([{"text": text} for text in _sentences(60)])},
    ),
    "subwords": Recipe(
        "bpe_lm",
        (
            *_TINY,
            "--data.sequence_length=8",
            "--model.embedding_size=4",
            "--data.vocabulary_size=300",
            "--model.adaptive_softmax=null",
        ),
        {"data.txt": _TEXT},
    ),
    "labels": Recipe("text_classification", (*_TINY, "--model.embedding_size=4"), _tables(_labelled())),
    "tags": Recipe("tagging", (*_TINY, "--model.embedding_size=4"), _tagged()),
    "pairs": Recipe(
        "translation",
        (*_TINY, "--model.decoder_size=4", "--model.embedding_size=4", "--data.tokenizer=words"),
        _tables(_pairs()),
    ),
    "series": Recipe(
        "forecast",
        (*_SERIES, *_COLUMNS),
        {name: content for name, content in _tables(_series(("a",), 120)).items() if name != "data.jsonl"},
    ),
    "panel": Recipe(
        "forecast_covariates",
        (*_SERIES, *_COLUMNS, "--data.id_column=id", "--data.known=[price]", "--data.calendar=[]"),
        _tables(_series(("a", "b", "c"), 90)),
    ),
    "labelled_series": Recipe(
        "series_classification",
        (*_TINY, "--data.id_column=id", "--data.time_column=t", "--data.label_column=kind"),
        _tables(_labelled_series()),
    ),
    "memory": Recipe(
        "long_memory", ("--model.hidden_size=4", "--data.length=4", "--data.examples=[16,8,8]", "--data.batch_size=4")
    ),
}
