"""stanza's character language models: what ``CharacterLanguageModel.save`` and its trainer write."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from rnnzoo.errors import RnnZooError
from rnnzoo.tasks.imports.characters import character_model
from rnnzoo.tasks.imports.imported import Imported, Weights, one_path
from rnnzoo.tasks.imports.layers import fill, put, put_head
from rnnzoo.tasks.imports.unpickler import read_bytes, read_torch

_UNKNOWN = "<UNK>"


def read_character_model(paths: Sequence[Path]) -> Imported:
    """A forward or a backward model, with its learned initial state.

    Args:
        paths: the ``.pt`` file.

    Raises:
        RnnZooError: it is no character language model of stanza.
    """
    path = one_path(paths, "stanza", "a .pt file")
    name = str(path)
    content = read_torch(read_bytes(path), name)
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):  # what the trainer saves
        content = content["model"]
    if not isinstance(content, Mapping) or not {"state_dict", "vocab"} <= set(content):
        raise RnnZooError(f"{name!r} is no character language model of stanza: it must hold a state_dict and a vocab")
    tokens = content["vocab"].get("_id2unit") if isinstance(content["vocab"], Mapping) else None
    if not isinstance(tokens, list) or _UNKNOWN not in tokens or not all(isinstance(one, str) for one in tokens):
        raise RnnZooError(f"{name!r} has a vocab without _id2unit, a list of characters with {_UNKNOWN}")
    weights = Weights(content["state_dict"], name, "stanza")

    embedding = weights.take("char_emb.weight", len(tokens), None)
    h0, c0 = (weights.take(f"charlstm_{field}_init", None, 1, None) for field in "hc")
    layers, hidden = h0.shape[0], h0.shape[2]
    # with recurrent dropout it is trained as a list of cells
    form = (
        "charlstm.lstm.cells.{k}.{part}"
        if "charlstm.lstm.cells.0.weight_ih" in weights
        else "charlstm.lstm.{part}_l{k}"
    )

    def weight(k: int, part: str) -> Tensor:
        inputs = hidden if k or part == "weight_hh" else embedding.shape[1]
        shape = (4 * hidden, inputs) if part.startswith("weight") else (4 * hidden,)
        return weights.take(form.format(k=k, part=part), *shape)

    forward = bool(content.get("is_forward_lm", True))
    args = content.get("args")
    model = character_model(
        "stanza",
        tokens,
        unknown=_UNKNOWN,
        backward=not forward,
        cell="lstm",
        embedding_size=embedding.shape[1],
        hidden_size=hidden,
        num_layers=layers,
        transforms="LearnedInitialState",
        dropout=args.get("char_dropout") if isinstance(args, Mapping) else None,
    )
    put(model.model.embedding.weight, embedding)
    fill(model.rnn, weight)
    for k, (cell,) in enumerate(model.rnn._cells):
        put(cell.initial_h, h0[k, 0])
        put(cell.initial_c, c0[k, 0])
    head = weights.take("decoder.weight", len(tokens), hidden)
    put_head(model, head, weights.take("decoder.bias", len(tokens)))
    weights.done()
    lines = [
        f"stanza: a {'forward' if forward else 'backward'} character language model, lstm, {layers} x {hidden} units"
        f" with a learned initial state, {len(tokens)} characters, embeddings of {embedding.shape[1]}"
    ]
    return Imported(model, lines)
