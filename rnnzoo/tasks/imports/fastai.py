"""fastai's AWD-LSTM (Merity et al. 2018; Howard & Ruder 2018): weights, and the list of its words."""

import io
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError
from rnnzoo.tasks.imports.imported import Imported, Weights
from rnnzoo.tasks.imports.layers import fill, put, put_head, untied_head
from rnnzoo.tasks.imports.unpickler import read_bytes, read_pickle, read_torch
from rnnzoo.tasks.imports.words import words_tokenizer
from rnnzoo.tasks.language_modeling import LanguageModel

_FILES = "a .tgz with a .pth and a .pkl, or these two files"


def read_awd_lstm(paths: Sequence[Path]) -> Imported:
    """A language model of words with layers of different size; its head is tied to its embedding.

    Args:
        paths: a ``.tgz`` with ``lstm_fwd.pth`` and ``itos_wt103.pkl``, a folder with them, or the two files.

    Raises:
        RnnZooError: they are no AWD-LSTM of fastai.
    """
    files = _files(paths)
    weights_file, words_file = _one(files, ".pth", paths), _one(files, ".pkl", paths)
    words = read_pickle(files[words_file], words_file)
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise RnnZooError(f"{words_file!r} must be a list of words")
    if len(set(words)) < len(words):
        twice = next(word for k, word in enumerate(words) if word in words[:k])
        raise RnnZooError(f"{words_file!r} has {twice!r} twice, but words must be distinct")
    content = read_torch(files[weights_file], weights_file)
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):  # saved with its optimizer
        content = content["model"]
    weights = Weights(content, weights_file, "fastai")

    embedding = weights.take("0.encoder.weight", None, None)
    if len(embedding) != len(words):
        raise RnnZooError(f"{weights_file!r} has embeddings of {len(embedding)} words, but {words_file!r} {len(words)}")
    layers = weights.count("0.rnns.{}.weight_hh_l0_raw")
    if not layers:
        raise RnnZooError(f"{weights_file!r} is no AWD-LSTM of fastai: it has no '0.rnns.0.weight_hh_l0_raw'")
    hidden = [weights.look(f"0.rnns.{k}.weight_hh_l0_raw", None, None).shape[1] for k in range(layers)]
    sizes = [embedding.shape[1], *hidden]

    def weight(k: int, part: str) -> Tensor:
        if part == "weight_hh":
            return weights.take(f"0.rnns.{k}.weight_hh_l0_raw", 4 * sizes[k + 1], sizes[k + 1])
        shape = (4 * sizes[k + 1], sizes[k]) if part == "weight_ih" else (4 * sizes[k + 1],)
        return weights.take(f"0.rnns.{k}.module.{part}_l0", *shape)

    head = untied_head(weights, "1.decoder.weight", embedding)
    tokenizer = words_tokenizer(words)
    description = Description(source="fastai", vocabulary=tokenizer.vocabulary, tokenizer=tokenizer.to_json())
    model = LanguageModel(
        description,
        cell="lstm",
        embedding_size=sizes[0],
        hidden_size=sizes[1:],
        num_layers=layers,
        tied=head is None,
        # fastai's own for language models, which act in training alone
        embedding_dropout=0.02,
        input_dropout=0.25,
        dropout=0.15,
        weight_drop=0.2,
        output_dropout=0.1,
        locked_dropout=True,
    )
    put(model.model.embedding.weight, embedding)
    fill(model.rnn, weight)
    put_head(model, head, weights.take("1.decoder.bias", len(words)) if "1.decoder.bias" in weights else None)
    # the same again: the embedding, and what weight drop made of the recurrent weights when it was saved
    weights.drop("0.encoder_dp.emb.weight", *(f"0.rnns.{k}.module.weight_hh_l0" for k in range(layers)))
    weights.done()
    lines = [
        f"fastai: an AWD-LSTM, lstm of {', '.join(map(str, sizes[1:]))} units, {len(words):,} words,"
        f" embeddings of {sizes[0]}"
    ]
    return Imported(model, lines)


def _files(paths: Sequence[Path]) -> dict[str, bytes]:
    """The content of what is given, by name; an archive is read where it lies, nothing of it is unpacked."""
    files: dict[str, bytes] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if one.suffix in (".pth", ".pkl"))
            files |= {str(one): read_bytes(one) for one in inside}
        elif path.suffix in (".tgz", ".gz", ".tar"):
            files |= _unpacked(path)
        else:
            files[str(path)] = read_bytes(path)
    return files


def _unpacked(path: Path) -> dict[str, bytes]:
    content = read_bytes(path)
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            members: list[Any] = [one for one in archive if one.isfile() and one.name.endswith((".pth", ".pkl"))]
            streams = {f"{path}:{one.name}": archive.extractfile(one) for one in members}
            return {name: stream.read() for name, stream in streams.items() if stream is not None}
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RnnZooError(f"{str(path)!r} cannot be read: truncated, or no archive ({reason})") from error


def _one(files: Mapping[str, bytes], suffix: str, paths: Sequence[Path]) -> str:
    """The only file that ends so; a backward model lies beside a forward one in some archives."""
    found = [name for name in files if name.endswith(suffix)]
    if not found:
        given = ", ".join(repr(str(path)) for path in paths)
        raise RnnZooError(f"{given}: there is no {suffix} file; fastai's models are {_FILES}")
    if len(found) > 1:
        raise RnnZooError(f"there are several {suffix} files, {', '.join(found)}: give the two that belong together")
    return found[0]
