"""flair's character language models (Akbik et al. 2018): what ``LanguageModel.save`` and ``save_checkpoint`` write."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from rnnzoo.errors import RnnZooError
from rnnzoo.tasks.imports.characters import character_model
from rnnzoo.tasks.imports.imported import Imported, Weights, one_path
from rnnzoo.tasks.imports.layers import fill, put, put_head
from rnnzoo.tasks.imports.unpickler import Record, read_bytes, read_torch

_GATES = {"lstm": 4, "gru": 3}


def read_language_model(paths: Sequence[Path]) -> Imported:
    """A forward or a backward model, of an LSTM or a GRU; a projection behind its layers goes into the head.

    Args:
        paths: the ``.pt`` file.

    Raises:
        RnnZooError: it is no language model of flair.
    """
    path = one_path(paths, "flair", "a .pt file")
    name = str(path)
    content = read_torch(read_bytes(path), name)
    if not isinstance(content, Mapping) or not {"state_dict", "dictionary"} <= set(content):
        raise RnnZooError(f"{name!r} is no language model of flair: it must hold a state_dict and a dictionary")
    tokens = _items(content["dictionary"], name)
    weights = Weights(content["state_dict"], name, "flair")
    cell = str(content.get("recurrent_type", "lstm")).lower()
    if cell not in _GATES:
        raise RnnZooError(f"{name!r} has layers of {cell!r}; flair's are {' or '.join(_GATES)}")

    embedding = weights.take("encoder.weight", len(tokens), None)
    layers = weights.count("rnn.weight_hh_l{}")
    if not layers:
        raise RnnZooError(f"{name!r} is no language model of flair: it has no 'rnn.weight_hh_l0'")
    hidden = weights.look("rnn.weight_hh_l0", None, None).shape[1]

    def weight(k: int, part: str) -> Tensor:
        rows = _GATES[cell] * hidden
        inputs = hidden if k or part == "weight_hh" else embedding.shape[1]
        shape = (rows, inputs) if part.startswith("weight") else (rows,)
        return weights.take(f"rnn.{part}_l{k}", *shape)

    forward = bool(content.get("is_forward_lm", True))
    model = character_model(
        "flair",
        tokens,
        unknown=tokens[0],
        backward=not forward,
        cell=cell,
        embedding_size=embedding.shape[1],
        hidden_size=hidden,
        num_layers=layers,
        dropout=content.get("dropout"),
    )
    put(model.model.embedding.weight, embedding)
    fill(model.rnn, weight)
    if "decoder.weight" not in weights:
        raise RnnZooError(f"{name!r} has no decoder, which predicts the next character: it is half a language model")
    head, bias = weights.take("decoder.weight", len(tokens), None), weights.take("decoder.bias", len(tokens))
    projected = ""
    if "proj.weight" in weights:  # two linear maps behind each other are one
        projection = weights.take("proj.weight", head.shape[1], hidden)
        bias = bias + head @ weights.take("proj.bias", head.shape[1])
        projected = f", a projection to {head.shape[1]} taken into the head"
        head = head @ projection
    put_head(model, head, bias)
    weights.done()
    lines = [
        f"flair: a {'forward' if forward else 'backward'} character language model, {cell}, {layers} x {hidden} units,"
        f" {len(tokens)} characters, embeddings of {embedding.shape[1]}{projected}"
    ]
    return Imported(model, lines)


def _items(dictionary: Any, name: str) -> list[str]:
    """The items of flair's Dictionary, by their numbers."""
    state = dictionary.state if isinstance(dictionary, Record) else dictionary
    items = state.get("idx2item") if isinstance(state, Mapping) else None
    if not isinstance(items, list) or not items or not all(isinstance(item, bytes | str) for item in items):
        raise RnnZooError(f"{name!r} has a dictionary without idx2item, a list of characters")
    return [item if isinstance(item, str) else _text(item) for item in items]


def _text(item: bytes) -> str:
    try:
        return item.decode()
    except UnicodeDecodeError:  # a name that no character has
        return f"<{item.hex()}>"
