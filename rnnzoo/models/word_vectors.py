"""Vectors of words that others have trained, as the start of an embedding."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnzoo.data.files import open_unpacked
from rnnzoo.errors import RnnZooError

_TABLES = (  # of embeddings in the models of transformers, by the end of their names
    "word_embeddings.weight",
    "embed_tokens.weight",
    "wte.weight",
    "tok_embeddings.weight",
    "backbone.embeddings.weight",
    "shared.weight",
    "word_embedding.weight",
    "embeddings.weight",
    "embedding.weight",
)
_MODELS = ("model.safetensors", "pytorch_model.bin")


class WordVectors(NamedTuple):
    """The rows of some tokens, (V, D) float32, and which of them were found, (V,) of bool; the others are zero."""

    rows: Tensor
    found: Tensor


def read_word_vectors(path: str, tokens: Sequence[str]) -> WordVectors:
    """The vectors of `tokens`, as they are written, or else in lower case.

    Args:
        path: a file of word2vec or of fastText in text (a first line with the number of words and of their numbers), or
            of GloVe (none such), compressed or not; or a model of transformers, a folder or a name on the hub, whose
            embedding table is taken, with the mean of the pieces that its tokenizer makes of a token.
        tokens: of the vocabulary.

    Raises:
        RnnZooError: there is nothing of this name, it cannot be read, a line of it has another number of numbers or
            something else than numbers, or it has none of the tokens.
    """
    file = Path(path).expanduser()
    vectors = _of_lines(file, tokens) if file.is_file() else _of_model(path, tokens)
    if not vectors.found.any():
        raise RnnZooError(f"embeddings {path!r} has none of the {len(tokens):,} tokens of the vocabulary")
    return vectors


def start_embedding(weight: Tensor, vectors: WordVectors, path: str) -> str:
    """Puts vectors into an embedding's `weight` (V, D); tokens that have none start like those that have.

    Returns:
        One line that says how many were found.

    Raises:
        RnnZooError: they have another number of numbers.
    """
    rows, found = vectors
    if rows.shape[1] != weight.shape[1]:
        raise RnnZooError(
            f"embeddings {path!r} has {rows.shape[1]} numbers a word, but embedding_size is {weight.shape[1]}:"
            f" give --model.embedding_size {rows.shape[1]}"
        )
    known = rows[found]
    std, mean = torch.std_mean(known, 0, correction=0)
    with torch.no_grad():
        weight.copy_(mean + std * torch.randn_like(rows))
        weight[found] = known.to(weight)
    share = found.float().mean().item()
    return f"embeddings: {path} has {int(found.sum()):,} of the {len(found):,} tokens ({share:.1%})"


# ---- lines of text


def _of_lines(file: Path, tokens: Sequence[str]) -> WordVectors:
    places: dict[str, list[int]] = {}
    for k, token in enumerate(tokens):
        for word in dict.fromkeys((token, token.lower())):
            places.setdefault(word, []).append(k)
    rows, found, exact = None, np.zeros(len(tokens), bool), np.zeros(len(tokens), bool)
    for word, numbers in _lines(file, places):
        if rows is None:
            rows = np.zeros((len(tokens), len(numbers)), np.float32)
        for k in places[word]:
            if not exact[k]:  # what is written alike wins over what is in lower case, and the first line over others
                exact[k] = tokens[k] == word
                if exact[k] or not found[k]:
                    rows[k], found[k] = numbers, True
    return WordVectors(torch.from_numpy(np.zeros((len(tokens), 1)) if rows is None else rows), torch.from_numpy(found))


def _lines(file: Path, wanted: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """The words that are wanted, with their numbers; every line is looked at."""
    size, count, number = 0, None, 0
    with open_unpacked(file) as opened:
        for number, raw in enumerate(opened, 1):
            try:
                line = raw.decode("utf-8").rstrip(" \r\n")
            except UnicodeDecodeError:
                line = raw.decode("latin-1").rstrip(" \r\n")  # word2vec cuts words in the middle of a character
            if number == 1:
                first = line.split(" ")
                if len(first) == 2 and all(part.isdigit() for part in first):
                    count, size = int(first[0]), int(first[1])
                    continue
                size = len(first) - 1
                if size < 1:
                    raise RnnZooError(f"embeddings {str(file)!r} is no file of word vectors: line 1 is {line[:40]!r}")
            word, *numbers = line.rsplit(" ", size)  # a word may have blanks in it
            if len(numbers) != size or _is_number(word.partition(" ")[2].partition(" ")[0]):
                has = max(line.count(" "), 0)
                raise RnnZooError(
                    f"embeddings {str(file)!r}: line {number:,} has {has} numbers behind its word, but {size} are due"
                )
            if word not in wanted:
                continue
            try:
                vector = np.array(numbers, np.float32)
            except ValueError:
                vector = np.array([np.nan])
            if not np.isfinite(vector).all():
                raise RnnZooError(f"embeddings {str(file)!r}: line {number:,} has something else than numbers")
            yield word, vector
    if not number:
        raise RnnZooError(f"embeddings {str(file)!r} is an empty file")
    if count is not None and number - 1 != count:
        raise RnnZooError(
            f"embeddings {str(file)!r} says in line 1 that it has {count:,} words, but {number - 1:,} lines follow:"
            " is it truncated?"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ---- models of transformers


def _of_model(name: str, tokens: Sequence[str]) -> WordVectors:
    from rnnzoo.data.tokenizers import SPECIAL, read_tokenizer

    folder = Path(name).expanduser()
    if not folder.is_dir() and (name.startswith((".", "/", "~")) or name.count("/") > 1 or folder.suffix == ".txt"):
        raise RnnZooError(f"embeddings {name!r}: no such file or folder")
    tokenizer = read_tokenizer(name, "embeddings")
    table = _table(folder, name).float()
    place = {token: k for k, token in enumerate(tokenizer.vocabulary) if k < len(table)}
    rows, found = torch.zeros(len(tokens), table.shape[1]), torch.zeros(len(tokens), dtype=torch.bool)
    for k, token in enumerate(tokens):
        if token in place:
            ids = [place[token]]
        else:  # as it would be in the middle of a text
            ids = [] if token in SPECIAL else tokenizer.encode([f" {token}"])[0]
            if not ids or tokenizer.unknown in ids or max(ids) >= len(table):
                continue
        rows[k], found[k] = table[ids].mean(0), True
    return WordVectors(rows, found)


def _table(folder: Path, name: str) -> Tensor:
    """The embedding table of a model, (V, D), read without making the model."""
    weights = next((folder / file for file in _MODELS if (folder / file).is_file()), None)
    if weights is None and (index := folder / "model.safetensors.index.json").is_file():
        of = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        weights = folder / of[_name_of_table(of, name)]
    if weights is None:
        weights = _from_hub(folder, name)
    try:
        if weights.suffix == ".bin":
            state = torch.load(weights, map_location="cpu", weights_only=True)
            return state[_name_of_table(state, name)]
        from safetensors import safe_open

        with safe_open(weights, "pt") as opened:
            return opened.get_tensor(_name_of_table(opened.keys(), name))
    except RnnZooError:
        raise
    except ImportError as error:
        raise RnnZooError(f"embeddings {name!r} are in safetensors: pip install safetensors") from error
    except Exception as error:  # each format has its own kinds for a file that is truncated
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise RnnZooError(f"embeddings {name!r}: {weights.name} cannot be read ({reason})") from error


def _name_of_table(names: Any, model: str) -> str:
    names = list(names)
    for end in _TABLES:
        for name in names:
            if f".{name}".endswith(f".{end}"):
                return str(name)
    raise RnnZooError(f"embeddings {model!r} has no embedding table that is known: none of {', '.join(_TABLES)}")


def _from_hub(folder: Path, name: str) -> Path:
    if folder.is_dir():
        raise RnnZooError(f"embeddings {name!r}: the folder has none of {', '.join(_MODELS)}")
    from rnnzoo.data.hub import NotLoaded, file_from_hub

    why = ""
    for file in _MODELS:
        try:
            return file_from_hub(name, file)
        except NotLoaded as error:
            why = why or str(error)
    raise RnnZooError(f"embeddings {name!r} is no file or folder here; {why}")
