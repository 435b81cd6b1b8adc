"""g2p-en's network (Park & Kim 2019): spelling to phones with stress, by a GRU that reads and one that writes."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnnzoo.data.tokenizers import TextTokenizer
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError
from rnnzoo.tasks.imports.imported import Imported, one_path
from rnnzoo.tasks.sequence_to_sequence import SequenceToSequence

FILE = "checkpoint20.npz"
LETTERS = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
_VOWELS = {"AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH"}
_PHONES = (
    *("AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH"),
    *("K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH"),
)
PHONES = [
    *("<pad>", "<unk>", "<s>", "</s>"),
    *(name for phone in _PHONES for name in ([f"{phone}{k}" for k in range(3)] if phone in _VOWELS else [phone])),
    *("UW", "UW0", "UW1", "UW2", "V", "W", "Y", "Z", "ZH"),
]
_STEPS = 20  # that it writes at most


_DATA = {
    "class_path": "rnnzoo.data.TextPairData",
    "init_args": {"dataset": "g2p_stress", "several_targets": True, "split": [0.9, 0.05, 0.05], "batch_size": 256},
}
_COMMANDS = (
    "rnnzoo test --ckpt_path {checkpoint}",
    "rnnzoo predict --ckpt_path {checkpoint} --data.dataset FILE --data.source_column word --data.predict_split all",
    "rnnzoo fit --config configs/g2p_en.yaml --model.pretrained {checkpoint}",
)


def read_g2p_en(paths: Sequence[Path]) -> Imported:
    """The network of g2p-en 2, to be tested and trained on the dictionary with the stress of its vowels.

    Args:
        paths: of the package's ``checkpoint20.npz``, or the folder that it lies in.

    Raises:
        RnnZooError: as `g2p_en_model`, or there are several paths.
    """
    task = g2p_en_model(one_path(paths, "g2p_en", f"the package's {FILE}"))
    model = task.model
    lines = [
        f"g2p_en: a GRU of {model.encoder.hidden_size} units that reads spellings, one that writes phones",
        f"{len(LETTERS)} letters and marks, {len(PHONES)} phones and marks",
    ]
    return Imported(task, lines, _DATA, _COMMANDS)


def g2p_en_model(path: Path | str, **settings: Any) -> SequenceToSequence:
    """The network of g2p-en 2 as a task, with its weights and tokenizers, which always takes the most likely phone.

    ::

        h = GRU over the letters and </s>; then from h on GRU over <s> and the phones so far; logits = W h + b

    Args:
        path: of the package's ``checkpoint20.npz``, or the folder that it lies in.
        settings: of a SequenceToSequence, those of training and of beam search.

    Raises:
        RnnZooError: there is no such file, or it is not that network.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        path = path / FILE
    arrays = _read(path)
    width = arrays["enc_emb"].shape[-1]
    hidden = arrays["enc_w_hh"].shape[1]
    expected = {
        "enc_emb": (len(LETTERS), width),
        "dec_emb": (len(PHONES), width),
        "fc_w": (len(PHONES), hidden),
        "fc_b": (len(PHONES),),
    }
    for side in ("enc", "dec"):
        expected |= {f"{side}_w_ih": (3 * hidden, width), f"{side}_w_hh": (3 * hidden, hidden)}
        expected |= {f"{side}_b_ih": (3 * hidden,), f"{side}_b_hh": (3 * hidden,)}
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise RnnZooError(f"{str(path)!r} has {name} of shape {arrays[name].shape}; g2p-en's has {shape}")
    description = Description(
        source="g2p_en",
        vocabulary=LETTERS,
        tokenizer=_tokenizer(LETTERS, by_character=True).to_json(),
        target_vocabulary=PHONES,
        target_tokenizer=_tokenizer(PHONES, by_character=False).to_json(),
        more={"figures": "errors"},
    )
    given = {"beam": 1, "max_output_length": _STEPS, **settings}
    task = SequenceToSequence(
        description, cell="gru", embedding_size=width, hidden_size=hidden, attention=None, **given
    )
    weights = {
        "model.source_embedding.weight": "enc_emb",
        "model.target_embedding.weight": "dec_emb",
        "model.head.weight": "fc_w",
        "model.head.bias": "fc_b",
    }
    for ours, theirs in (("encoder", "enc"), ("decoder", "dec")):
        for part, name in (("weight", "w"), ("bias", "b")):
            for of in ("ih", "hh"):
                weights[f"model.{ours}.layers.0.0.{part}_{of}"] = f"{theirs}_{name}_{of}"
    state = task.state_dict()
    state |= {ours: torch.from_numpy(arrays[theirs].astype(np.float32)) for ours, theirs in weights.items()}
    task.load_state_dict(state)
    return task


def _read(path: Path) -> dict[str, np.ndarray]:
    """Its arrays; nothing that the file holds is run."""
    names = ["enc_emb", "dec_emb", "fc_w", "fc_b"]
    names += [f"{side}_{part}" for side in ("enc", "dec") for part in ("w_ih", "w_hh", "b_ih", "b_hh")]
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it is no .npz")
            arrays = {name: file[name] for name in names if name in file}
    except FileNotFoundError as error:
        raise RnnZooError(f"{str(path)!r}: there is no such file; g2p-en has it as g2p_en/{FILE}") from error
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise RnnZooError(f"{str(path)!r} is not g2p-en's {FILE}, or is damaged: {reason}") from error
    if missing := [name for name in names if name not in arrays]:
        raise RnnZooError(f"{str(path)!r} is not g2p-en's network: it has no {missing[0]!r}")
    return arrays


def _tokenizer(tokens: list[str], by_character: bool) -> TextTokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    made = Tokenizer(models.WordLevel({token: k for k, token in enumerate(tokens)}, unk_token="<unk>"))
    if by_character:
        made.normalizer = normalizers.Lowercase()
        made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        made.decoder = decoders.Fuse()
    else:
        made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens([token for token in tokens if token.startswith("<")])
    return TextTokenizer(made, "characters" if by_character else "words")
