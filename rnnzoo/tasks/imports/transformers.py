"""What ``save_pretrained`` of transformers writes: weights, their settings, and a tokenizer."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from rnnzoo.data.tokenizers import TextTokenizer, read_tokenizer
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError
from rnnzoo.tasks.imports.imported import Weights, one_path
from rnnzoo.tasks.imports.unpickler import read_bytes, read_torch

_SAFE, _PICKLED = "model.safetensors", "pytorch_model.bin"


class Saved(NamedTuple):
    """A model as transformers saves it."""

    name: str
    weights: Weights
    config: dict[str, Any]
    folder: Path


def read_saved(paths: Sequence[Path], kind: str) -> Saved:
    """The weights and the settings of a folder.

    Args:
        paths: the folder.
        kind: its ``model_type``.

    Raises:
        RnnZooError: it is no such folder, is of another model, or its weights cannot be read.
    """
    folder = one_path(paths, kind, "a folder that save_pretrained wrote")
    name = str(folder)
    if not folder.is_dir():
        what = "does not exist" if not folder.exists() else "is no folder"
        raise RnnZooError(f"{name!r} {what}; {kind} takes a folder that save_pretrained of transformers wrote")
    config = _json(folder / "config.json")
    if config.get("model_type") != kind:
        raise RnnZooError(f"{name!r} is a model of type {config.get('model_type')!r}, not {kind!r}")
    return Saved(name, Weights(_weights(folder), name, kind), config, folder)


def describe(saved: Saved, rows: int, kind: str) -> Description:
    """The description of a model with embeddings of so many tokens.

    Raises:
        RnnZooError: there is no tokenizer, or one of more tokens.
    """
    if not (saved.folder / "tokenizer.json").is_file():
        raise RnnZooError(
            f"{saved.name!r} has no tokenizer.json: write one there by transformers'"
            " AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)"
        )
    tokenizer = _filled(read_tokenizer(str(saved.folder), "path"), rows, saved.name)
    return Description(source=kind, vocabulary=tokenizer.vocabulary, tokenizer=tokenizer.to_json())


def _filled(tokenizer: TextTokenizer, rows: int, name: str) -> TextTokenizer:
    """A tokenizer with as many tokens as there are rows: those of most models are rounded up."""
    if len(tokenizer) > rows:
        raise RnnZooError(f"{name!r} has embeddings of {rows} tokens, but a tokenizer of {len(tokenizer)}")
    if len(tokenizer) < rows:
        tokenizer.backend.add_special_tokens([f"<unused {k}>" for k in range(len(tokenizer), rows)])
    return TextTokenizer(tokenizer.backend, "saved")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_bytes(path))
    except ValueError as error:
        raise RnnZooError(f"{str(path)!r} cannot be read: truncated, or no JSON ({error})") from error
    if not isinstance(content, dict):
        raise RnnZooError(f"{str(path)!r} must hold a dictionary of settings")
    return content


def _weights(folder: Path) -> dict[str, Tensor]:
    """All weights, of one file or of several that an index names."""
    for file in (_SAFE, _PICKLED):
        index = folder / f"{file}.index.json"
        if (folder / file).is_file():
            return _read(folder / file)
        if index.is_file():
            parts = sorted(set(_json(index).get("weight_map", {}).values()))
            return {name: w for part in parts for name, w in _read(folder / Path(part).name).items()}
    raise RnnZooError(f"{str(folder)!r} has no weights: neither {_SAFE} nor {_PICKLED}")


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        content: dict[str, Tensor] = read_torch(read_bytes(path), str(path))
        return content
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise RnnZooError(f"{str(path)!r} is read by a package: pip install safetensors") from error
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise RnnZooError(f"{str(path)!r} cannot be read: truncated, or no safetensors file ({reason})") from error
