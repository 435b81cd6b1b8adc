"""What `datasets` prepares, by its builders: without patterns, in a cache that may be written, and quietly."""

import glob
import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from rnnzoo.cache import cache_folder, cannot_write, process_folder, written_aside
from rnnzoo.data.conll import SUFFIXES
from rnnzoo.data.files import BLOCK, decoded, open_unpacked
from rnnzoo.data.tables import read_table
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset

BUILDERS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".arrow": "arrow",
    **dict.fromkeys(SUFFIXES, "conll"),
}
COMPRESSED = {".gz", ".bz2", ".xz", ".zst"}
_OF_FILES = {"name", "version", "data_dir", "data_files", "description", "features"}  # of a builder's configuration


def kind_of(path: Path) -> str | None:
    """The builder of a file by the end of its name; None where there is none."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return BUILDERS.get(suffixes[-1]) if suffixes else None


def prepared(
    kind: str, files: Mapping[str, list[Path]], cache_dir: str | None, options: Mapping[str, Any] = {}
) -> dict[str, "Dataset"]:
    """Files by a builder of `datasets`, which are no patterns, and are read again when they have changed.

    `datasets` finds what it prepared by path and time of change, which a copy may have in common with another.
    """
    digest = hashlib.sha256(repr(sorted(options.items())).encode())
    for path in chain(*files.values()):
        refuse_hops(path)
        digest.update(_state(path))
    plain = {split: [unpacked(path, kind, cache_dir) for path in paths] for split, paths in files.items()}
    named = {split: [glob.escape(str(path.absolute())) for path in paths] for split, paths in plain.items()}
    return load(kind, name=f"rnnzoo-{digest.hexdigest()[:16]}", data_files=named, cache_dir=cache_dir, **options)


def _state(path: Path) -> bytes:
    stat = path.stat()
    return f"{path} {stat.st_size} {stat.st_ino} {stat.st_ctime_ns}\n".encode(errors="surrogateescape")


def unpacked(path: Path, kind: str, cache_dir: str | None) -> Path:
    """The file without a compression that `datasets` does not know there, or by a package that may be missing."""
    suffix = path.suffix.lower()
    if suffix not in COMPRESSED or (kind == "json" and suffix != ".zst"):
        return path
    folder = cache_folder(cache_dir) / "unpacked"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _unpack(path, folder)
    except OSError as error:
        if not cannot_write(error):
            raise
        return _unpack(path, process_folder())


def _unpack(path: Path, folder: Path) -> Path:
    made = folder / f"{hashlib.sha256(_state(path)).hexdigest()[:16]}{path.with_suffix('').suffix}"
    if not made.is_file():
        with written_aside(made) as aside, open_unpacked(path) as file, aside.open("wb") as out:
            while block := file.read(BLOCK):
                out.write(block)
    return made


def options_of(builder: Any) -> dict[str, Any]:
    """What the README of a data set says of its files: features, and settings of the builder such as a separator."""
    config, plain = builder.config, type(builder.config)()
    given = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in _OF_FILES}
    options = {name: value for name, value in given.items() if value != getattr(plain, name)}
    features = config.features if getattr(config, "features", None) is not None else builder.info.features
    return options if features is None else {**options, "features": features}


def refuse_hops(path: Path) -> None:
    """Raises RnnZooError for a path in which `datasets` would look for an archive."""
    if "::" in str(path):
        raise RnnZooError(
            f"dataset={str(path)!r} has '::' in its path, behind which `datasets` looks for an archive: rename it"
        )


def read_csv(
    paths: Iterable[Path], name: str, columns: Collection[str | None], text: Collection[str] = ()
) -> "Dataset":
    """CSV files one below the other as one data set; the arguments are those of `read_table`."""
    table = read_table(paths, name, columns, text)
    if not len(table):
        raise RnnZooError(f"dataset={name!r} cannot be read: no rows")
    return in_memory(table)


def read_text(paths: Iterable[Path]) -> "Dataset":
    """Text files one after the other as one data set, exactly as they are, in rows that are pieces of them."""
    import pyarrow as pa

    pieces = [pa.array([piece], pa.string()) for path in paths for piece in decoded(path)]
    return in_memory(pa.table({"text": pa.chunked_array(pieces, pa.string())}))


def read_lines(paths: Iterable[Path]) -> "Dataset":
    """Text files one after the other as one data set, a row a line, without the ends of the lines."""
    import pyarrow as pa

    chunks = [pa.array([], pa.string())]
    for path in paths:
        rest = ""
        for piece in decoded(path):
            *whole, rest = (rest + piece).split("\n")
            chunks.append(pa.array([line.removesuffix("\r") for line in whole], pa.string()))
        if rest:
            chunks.append(pa.array([rest], pa.string()))
    return in_memory(pa.table({"text": pa.chunked_array(chunks, pa.string())}))


class _Digest:
    """A file to write to, of which the hash is kept."""

    closed = False

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.hash.update(data)
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def in_memory(table: Any) -> "Dataset":
    """A table of Arrow as a data set, whose fingerprint is the hash of what is in it."""
    import pyarrow as pa
    from datasets import Dataset
    from datasets.table import InMemoryTable

    digest = _Digest()
    with pa.ipc.new_stream(pa.PythonFile(digest, mode="w"), table.schema) as stream:
        stream.write_table(table)
    return Dataset(InMemoryTable(table), fingerprint=digest.hash.hexdigest()[:32])  # else it pickles the whole table


def load(builder: str, *, cache_dir: str | None, **options: Any) -> dict[str, "Dataset"]:
    """All splits of what `datasets.load_dataset` reads."""
    import datasets

    return as_splits(with_cache(datasets.load_dataset, builder, cache_dir=cache_dir, **options))


def as_splits(loaded: Any) -> dict[str, "Dataset"]:
    """What `datasets` has read as splits by name."""
    import datasets

    return {str(k): v for k, v in loaded.items()} if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}


def with_cache(function: Callable[..., Any], *args: Any, cache_dir: str | None, **options: Any) -> Any:
    """What a function of `datasets` returns; with a cache in a folder of this process where its own has no room."""
    import datasets

    call = partial(quietly, function, *args, **options)
    try:
        return call(cache_dir=cache_dir)
    except Exception as error:
        if not cannot_write(error):
            raise
        result = call(cache_dir=str(process_folder()))
        rank_zero_warn(
            "what `datasets` prepares is not kept for the next run: "
            f"{cache_dir or datasets.config.HF_DATASETS_CACHE} cannot be written ({reason(error)})"
        )
        return result


def datasets_cache(given: str | None) -> str | None:
    """Where `datasets` prepares what it reads. Of a user without a home it would make a folder that is called ~."""
    import datasets

    if given is None and str(datasets.config.HF_DATASETS_CACHE).startswith("~"):
        return str(cache_folder() / "datasets")
    return given


def quietly(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """`datasets` logs an error before it raises it; the message is given once, by who catches it."""
    from datasets.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        return function(*args, **options)
    finally:
        logging.set_verbosity(level)


def reason(error: BaseException) -> str:
    """One line on what went wrong first."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split())
    # both are what an empty table comes to
    empty = ("corresponds to no data", "BatchSize must be greater than 0")
    if isinstance(error, StopIteration) or any(sign in text for sign in empty):
        return "no rows"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
