"""Sentences in the column formats of CoNLL, read strictly: CoNLL-U, and plain columns as those of CoNLL 2003."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from rnnzoo.data.files import decoded
from rnnzoo.errors import RnnZooError

SUFFIXES = (".conllu", ".conll", ".conllup")
FIELDS = ("id", "tokens", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")  # of CoNLL-U
_PLAIN = {1: ("tokens",), 2: ("tokens", "tags"), 4: ("tokens", "pos_tags", "chunk_tags", "ner_tags")}
_UNSPECIFIED = ("upos", "xpos", "head", "deprel")  # in which _ says that nothing is known; elsewhere it is a value
_ID = re.compile(r"([1-9]\d*)(?:-([1-9]\d*))?|(0|[1-9]\d*)\.([1-9]\d*)")
_PLUS = re.compile(r"#\s*global\.columns\s*=\s*(.+)")
_ABOUT = re.compile(r"#\s*(sent_id|text)\s*=\s?(.*)")
_DOCUMENT = "-DOCSTART"  # some files have it without the last dash
_SPLITS = ("train", "validation", "valid", "val", "dev", "test")


@dataclass
class _Sentence:
    """The words of a sentence by field, and what its comments say of it."""

    line: int = 0
    words: list[list[str]] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)
    lines: int = 0  # that are no comments: ranges and empty nodes among them
    range_ends: int = 0  # the last word of a multiword token


def read_conll(paths: Iterable[Path]) -> pa.Table:
    """A row a sentence, with a list a column: its words' "tokens", and a value of each field for each of them.

    CoNLL-U (universaldependencies.org/format) has ten fields, separated by tabs: "tokens" (FORM), "lemma", "upos",
    "xpos", "feats", "head", "deprel", "deps" and "misc", all text. Words are what has tags there: the range of a
    multiword token (1-2) and an empty node (1.1) are none. A _ is None where it says that nothing is known: in upos,
    xpos, head and deprel. Where comments give them, "sent_id" and "text" are columns too. A comment ``# global.columns
    = ID FORM UPOS`` names other columns (CoNLL-U Plus).

    Anything else is plain: a word a line, with its fields between tabs or, where it has none, white space; sentences
    are between empty lines, or lines that begin with -DOCSTART-. A line with a # before a sentence's first word is a
    comment if it has another number of fields, or an = and "# " before it. The columns are "tokens" and "tags" where
    there are two, CoNLL 2003's "tokens", "pos_tags", "chunk_tags" and "ner_tags" where there are four, else "tokens",
    "column_2", ..., "tags".

    Args:
        paths: of files of one format, which may be compressed.

    Raises:
        RnnZooError: a line that does not fit, with its number; no sentences; or files whose columns differ.
    """
    tables: list[pa.Table] = []
    first: tuple[Path, list[str]] | None = None
    for path in paths:
        names, sentences = _read(path)
        if first is not None and first[1] != names:
            raise RnnZooError(
                f"dataset={str(path)!r} has the columns {', '.join(names)}, but {first[0].name}"
                f" {', '.join(first[1])}: the files of a part must be alike"
            )
        first = first or (path, names)
        tables.append(_table(names, sentences))
    return pa.concat_tables(tables, promote_options="default")  # comments that some files have are None for others


def _table(names: Sequence[str], sentences: list[_Sentence]) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for name in ("sent_id", "text"):
        if any(name in sentence.about for sentence in sentences):
            columns[name] = pa.array([sentence.about.get(name) for sentence in sentences], pa.string())
    ends = pa.array(accumulate((len(sentence.words) for sentence in sentences), initial=0), pa.int32())
    fields = zip(*chain.from_iterable(sentence.words for sentence in sentences), strict=True)
    for name, values in zip(names, fields, strict=True):
        if name != "id":
            texts = pa.array(values, pa.string())
            if name in _UNSPECIFIED:
                texts = pc.replace_with_mask(texts, pc.equal(texts, "_"), pa.scalar(None, pa.string()))
            columns[name] = pa.ListArray.from_arrays(ends, texts)
    return pa.table(columns)


def conll_files(folder: Path) -> dict[str, list[Path]]:
    """The files of a folder by their split, which their names have as a word: tr_imst-ud-train.conllu, dev.conll.

    Raises:
        RnnZooError: some names have one, and some have not.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and is_conll(path):
            words = re.split(r"[^a-z]+", path.name.lower())
            found.setdefault(next((word for word in words if word in _SPLITS), ""), []).append(path)
    if "" in found and len(found) > 1:
        raise RnnZooError(
            f"dataset={str(folder)!r} has {found[''][0].name} beside files whose names say train, dev or test: say so"
            " in its name, or take it out"
        )
    return {split or "train": paths for split, paths in found.items()}


def is_conll(path: Path) -> bool:
    """Whether a file is one of these by its name; it may be compressed."""
    return any(suffix.lower() in SUFFIXES for suffix in path.suffixes[-2:])


def _read(path: Path) -> tuple[list[str], list[_Sentence]]:
    """The names of a file's columns, and its sentences, of a word at least."""
    lines = list(_lines(path))
    head = next((k for k, line in enumerate(lines) if line.strip() and line[0] != "#" and line[:9] != _DOCUMENT), None)
    if head is None:
        raise RnnZooError(f"dataset={str(path)!r} has no sentences in its {len(lines):,} lines")
    plus = next((found for line in lines[:head] if (found := _PLUS.match(line))), None)
    universal = plus is not None or ".conllu" in [suffix.lower() for suffix in path.suffixes]
    universal = universal or (lines[head].count("\t") == 9 and _ID.fullmatch(lines[head].split("\t")[0]) is not None)
    between = "\t" if universal or "\t" in lines[head] else None
    names = _named(plus[1].split(), path) if plus else list(FIELDS)
    names = names if universal else _plain(len(lines[head].split(between)))
    sentences, now = [], _Sentence()
    for number, line in enumerate(lines, 1):
        boundary = not line.strip() or (not universal and line.startswith(_DOCUMENT))
        if boundary:
            if now.lines:
                sentences.append(_ended(now, path))
                now = _Sentence()
        elif line[0] == "#" and _is_comment(line, now.lines, universal, len(names), between):
            if now.lines:
                raise _broken(path, number, "is a comment within a sentence", line)
            if found := _ABOUT.match(line):
                now.about[found[1]] = found[2]
        else:
            fields = line.split(between)
            if len(fields) != len(names):
                how = "tabs" if between else "white space"
                raise _broken(path, number, f"has {len(fields)} fields, not {len(names)} with {how} between", line)
            if (empty := next((k for k, value in enumerate(fields) if not value.strip()), None)) is not None:
                raise _broken(path, number, f"has nothing in its field {empty + 1}: unknown values are _", line)
            now.line, now.lines = now.line or number, now.lines + 1
            if universal:
                _add_universal(now, names, fields, path, number)
            else:
                now.words.append(fields)
    return names, [*sentences, _ended(now, path)] if now.lines else sentences


def _is_comment(line: str, begun: int, universal: bool, width: int, between: str | None) -> bool:
    """Whether a line that begins with # is one; in plain columns it may be a word, as # and hash tags are."""
    if universal or begun:
        return universal
    return len(line.split(between)) != width or (line.startswith("# ") and "=" in line)


def _add_universal(now: _Sentence, names: Sequence[str], fields: list[str], path: Path, number: int) -> None:
    """Adds a line of CoNLL-U to its sentence: a word, or a range or an empty node, which are none."""
    done = len(now.words)
    if "id" in names:
        given = fields[names.index("id")]
        found = _ID.fullmatch(given)
        if found is None:
            raise _broken(path, number, f"has the ID {given!r}: it must be a number, a range 1-2 or an empty node 1.1")
        if found[3] is not None:  # an empty node
            if int(found[3]) != done:
                raise _broken(path, number, f"has the empty node {given} behind word {done}, not {found[3]}")
            return
        if int(found[1]) != done + 1:
            raise _broken(path, number, f"has the ID {given} where {done + 1} comes next")
        if found[2] is not None:
            if int(found[2]) < int(found[1]) or done < now.range_ends:
                raise _broken(path, number, f"has the range {given}, which is empty or begins within another")
            now.range_ends = int(found[2])
            return
    if "head" in names:
        head = fields[names.index("head")]
        if head != "_" and not head.isdecimal():
            raise _broken(path, number, f"has the HEAD {head!r}: it must be the ID of a word, 0 or _")
    now.words.append(fields)


def _ended(sentence: _Sentence, path: Path) -> _Sentence:
    """A sentence whose last line was read."""
    if sentence.range_ends > len(sentence.words):
        why = f"begins a sentence of {len(sentence.words)} words with a range to {sentence.range_ends}"
        raise _broken(path, sentence.line, why)
    if not sentence.words:
        raise _broken(path, sentence.line, "begins a sentence without a word")
    return sentence


def _named(columns: list[str], path: Path) -> list[str]:
    """Names of ours for the columns that a file of CoNLL-U Plus names."""
    names = ["tokens" if name.upper() == "FORM" else name.lower().replace(":", "_") for name in columns]
    if "tokens" not in names or len(set(names)) != len(names):
        raise RnnZooError(
            f"dataset={str(path)!r} names the columns {', '.join(columns)}: FORM must be among them, and each once"
        )
    return names


def _plain(count: int) -> list[str]:
    return list(_PLAIN.get(count, ("tokens", *(f"column_{k}" for k in range(2, count)), "tags")))


def _broken(path: Path, number: int, why: str, line: str = "") -> RnnZooError:
    shown = f": {line[:60] + '...' * (len(line) > 60)!r}" if line else ""
    return RnnZooError(f"dataset={str(path)!r} cannot be read: line {number:,} {why}{shown}")


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file without what ends them; its first without a byte order mark."""
    rest = ""
    first = True
    for piece in decoded(path):
        if first:
            piece, first = piece.removeprefix("\ufeff"), False
        *whole, rest = (rest + piece).split("\n")
        yield from (line.removesuffix("\r") for line in whole)
    if rest:
        yield rest.removesuffix("\r")
