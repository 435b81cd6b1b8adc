"""Text as numbers by the tokenizers of HuggingFace's `tokenizers`: trained on a text, or saved ones."""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnzoo.data.fast_words import WORD, FastWords, Ids
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError, did_you_mean

if TYPE_CHECKING:
    from tokenizers import Tokenizer

KINDS = ("characters", "bytes", "words", "bpe", "unigram")
UNKNOWN, BEGIN, END = SPECIAL = ("<unk>", "<s>", "</s>")
_SIZES = {"words": 30_000, "bpe": 8_000, "unigram": 8_000}  # of a vocabulary, where none is given
_FEW = 128  # texts of which all cores make little more than one
_UNKNOWN_NAMES = (UNKNOWN, "[UNK]", "<UNK>", "xxunk", "<|endoftext|>")
_BEGIN_NAMES = (BEGIN, "[CLS]", "<bos>", "xxbos", "<|endoftext|>")
_END_NAMES = (END, "[SEP]", "<eos>", "xxeos", "<|endoftext|>")


class TextTokenizer:
    """A tokenizer, and what a task has to know of it.

    >>> tokenizer = train("words", ["a b b", "b c"])
    >>> tokenizer.vocabulary
    ['<unk>', '<s>', '</s>', 'b', 'a', 'c']
    >>> tokenizer.encode(["c b x"]), tokenizer.decode([5, 3])
    ([[5, 3, 0]], 'c b')

    Args:
        backend: what does the work.
        kind: one of `KINDS`, or "saved" for one of another kind.
        backward: whether ids are those of a text from its end, for a model that reads it so.
    """

    def __init__(self, backend: "Tokenizer", kind: str = "saved", *, backward: bool = False) -> None:
        self.backend, self.kind, self.backward = backend, kind, backward
        backend.no_padding()  # what is padding is known by lengths alone
        backend.no_truncation()
        ids = backend.get_vocab(with_added_tokens=True)
        self.vocabulary = [f"<{k}>" for k in range(max(ids.values(), default=-1) + 1)]
        for token, k in ids.items():
            self.vocabulary[k] = token
        self.unknown, self.begin, self.end = (
            next((ids[name] for name in names if name in ids), None)
            for names in (_UNKNOWN_NAMES, _BEGIN_NAMES, _END_NAMES)
        )

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(self, texts: Sequence[str], most: int | None = None) -> list[list[int]]:
        """The ids of each text, or at least the first `most` of them; none is added for its begin or its end.

        Many texts are encoded by all cores.
        """
        return [ids[:] for ids in self.encode_for_slices(texts, most)]

    def encode_for_slices(self, texts: Sequence[str], most: int | None = None) -> list[Ids | list[int]]:
        """The same, of which slices are taken alone: an id that is in none is not looked up."""
        if len(texts) > _FEW or self.backward or self._fast_words is None:
            return [*self._encode(texts)]
        by_words = [self._fast_words.encode(text, most) for text in texts]
        others = iter(self._encode([text for text, ids in zip(texts, by_words, strict=True) if ids is None]))
        return [next(others) if ids is None else ids for ids in by_words]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [one.ids[::-1] if self.backward else one.ids for one in encoded]

    @cached_property
    def _fast_words(self) -> FastWords | None:
        try:
            return FastWords(self.backend) if self.kind == "words" else None
        except ValueError:  # of another version
            return None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids, as far as the tokenizer keeps it; those of `SPECIAL` are left out."""
        in_order = list(ids)[::-1] if self.backward else list(ids)
        return self.backend.decode(in_order, skip_special_tokens=True)

    def to_json(self) -> str:
        """All of it, for `from_json`."""
        more = {"backward": True} if self.backward else {}
        return json.dumps({"kind": self.kind, "tokenizer": self.backend.to_str(), **more})


def from_json(text: str) -> TextTokenizer:
    """The tokenizer that `TextTokenizer.to_json` wrote."""
    from tokenizers import Tokenizer

    content = json.loads(text)
    backend = Tokenizer.from_str(content["tokenizer"])
    return TextTokenizer(backend, content["kind"], backward=content.get("backward", False))


def train(
    kind: str, texts: Iterable[str], size: int | None = None, *, min_count: int = 1, lowercase: bool = False
) -> TextTokenizer:
    """A tokenizer of some texts, whose first ids are those of `SPECIAL`.

    "characters" and "bytes" are each a token; "words" are runs of letters and digits, single marks, and line ends;
    "bpe" is byte-pair encoding of bytes (Sennrich et al. 2016), which leaves nothing unknown; "unigram" is Kudo 2018.
    Characters and words come by falling frequency.

    Args:
        kind: one of `KINDS`.
        texts: read once.
        size: of the vocabulary at most; by default all characters, 30,000 words, 8,000 subwords.
        min_count: how often a character or word occurs at least, else it is unknown.
        lowercase: whether text is made lower case first.

    Raises:
        RnnZooError: an unknown kind, or texts without a token.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    if kind not in KINDS:
        raise RnnZooError(f"tokenizer {kind!r} is unknown{did_you_mean(kind, KINDS)} there are: {', '.join(KINDS)}")
    special = list(SPECIAL)
    size = size or _SIZES.get(kind, 0x110000 + len(special))
    if size <= len(special):
        raise RnnZooError(f"vocabulary_size={size} must be above {len(special)}: {', '.join(special)} are always there")
    pre: Any
    if kind in ("characters", "words"):
        tokenizer = Tokenizer(models.WordLevel({UNKNOWN: 0}, unk_token=UNKNOWN))
        pattern = r"[\s\S]" if kind == "characters" else WORD
        pre = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
        trainer: Any = trainers.WordLevelTrainer(
            vocab_size=size, min_frequency=min_count, special_tokens=special, show_progress=False
        )
        decoder: Any = decoders.Fuse() if kind == "characters" else None
    elif kind == "unigram":
        tokenizer, pre, decoder = Tokenizer(models.Unigram()), pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=size, unk_token=UNKNOWN, special_tokens=special, show_progress=False
        )
    else:
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        vocabulary = {token: k for k, token in enumerate([*special, *alphabet])}
        pre = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=kind == "bpe")
        tokenizer, decoder = Tokenizer(models.BPE(vocabulary, [])), decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
    tokenizer.pre_tokenizer = pre
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    if decoder is not None:
        tokenizer.decoder = decoder
    if kind == "bytes":
        tokenizer.add_special_tokens(special)
    else:
        tokenizer.train_from_iterator(texts, trainer)
    made = TextTokenizer(tokenizer, kind)
    if len(made) <= len(special):
        raise RnnZooError(f"tokenizer {kind!r} found no token: the texts are empty")
    return made


def of_characters(vocabulary: Sequence[str], unknown: str = UNKNOWN, *, backward: bool = False) -> TextTokenizer:
    """The tokenizer of a vocabulary of characters; `unknown` stands for any other, behind them where it is none."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    ids = {token: k for k, token in enumerate(vocabulary)}
    ids.setdefault(unknown, len(ids))
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return TextTokenizer(tokenizer, "characters", backward=backward)


def tokenizer_of(description: Description) -> TextTokenizer:
    """The tokenizer that a description holds; that of its characters, where a model knows these alone.

    Raises:
        RnnZooError: it has neither.
    """
    if description.tokenizer is not None:
        return from_json(description.tokenizer)
    if description.vocabulary is not None and all(len(token) == 1 for token in description.vocabulary):
        return of_characters(description.vocabulary)
    raise RnnZooError(f"there is no tokenizer: the description has {description}")


def read_tokenizer(name: str, setting: str = "tokenizer") -> TextTokenizer:
    """A tokenizer that is saved: a ``tokenizer.json``, a folder with one, a checkpoint of ours, or a name on the hub.

    Raises:
        RnnZooError: there is none, or it cannot be read.
    """
    from tokenizers import Tokenizer

    path = Path(name).expanduser()
    if path.suffix == ".ckpt":
        from rnnzoo.description import of_hyper_parameters
        from rnnzoo.tasks.checkpoints import contents_of, read_checkpoint

        saved = read_checkpoint(path, setting)["hyper_parameters"]
        with contents_of(f"{setting} {str(path)!r}"):
            return tokenizer_of(of_hyper_parameters(saved))
    if path.is_dir():
        path = path / "tokenizer.json"
    if not path.is_file():
        path = _from_hub(name, setting)
    try:
        return TextTokenizer(Tokenizer.from_file(str(path)))
    except Exception as error:  # the library raises bare Exceptions
        raise RnnZooError(f"{setting} {name!r} cannot be read: {' '.join(str(error).split())[:120]}") from error


def _from_hub(name: str, setting: str) -> Path:
    near = did_you_mean(name, KINDS)
    wanted = f"give one of {', '.join(KINDS)}, a tokenizer.json, a folder with one, a checkpoint, or a name on the hub"
    if name.count("/") > 1 or Path(name).suffix or Path(name).is_dir() or name.startswith((".", "/", "~")):
        raise RnnZooError(f"{setting} {name!r}: there is no such tokenizer{near} {wanted}")
    if "/" not in name and near != ";":
        raise RnnZooError(f"{setting} {name!r} is unknown{near} {wanted}")
    from rnnzoo.data.hub import NotLoaded, file_from_hub

    try:
        return file_from_hub(name, "tokenizer.json")
    except NotLoaded as error:
        raise RnnZooError(f"{setting} {name!r} is no file or folder here; {error}: {wanted}") from error
