"""Any data set through `datasets`: a local file or folder, a saved set, or a name on the HuggingFace hub."""

import codecs
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from rnnzoo.errors import RnnZooError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

_BUILDERS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".arrow": "arrow",
}
_COMPRESSED = {".gz", ".bz2", ".xz", ".zst"}
_TEXT = {".txt", ".text", ".md"}
_BLOCK = 1 << 22  # bytes of a text file that become one row


def load_splits(
    name: str,
    subset: str | None = None,
    *,
    bundled: str,
    text_files: bool = False,
    csv_options: Mapping[str, Any] = MappingProxyType({}),
    cache_dir: str | None = None,
) -> tuple[dict[str, "Dataset"], bool]:
    """The splits of a data set by their names, and whether its rows are pieces of text files, to be joined by nothing.

    A text file is read exactly, byte for byte, which the text builder of `datasets` does not do: it takes every
    ``\\r\\n`` and ``\\r`` for ``\\n``. Its rows are pieces of it.

    Args:
        name: a file, a folder of data files, a folder that ``save_to_disk`` wrote, or a name on the hub.
        subset: the configuration, for names on the hub that have more than one.
        bundled: what needs no file, for the message about a name that is nothing known.
        text_files: whether a file that is no CSV, Parquet, JSON or Arrow file is text, or an error.
        csv_options: for the CSV builder of `datasets`, where files here are read by it.
        cache_dir: folder for what `datasets` prepares; its own default where None.

    Raises:
        RnnZooError: nothing of that name, an empty or unreadable file, or one that is not UTF-8.
    """
    if not name.strip():
        raise RnnZooError(f"dataset={name!r} is empty: give a path, a name on the hub, or {bundled!r}")
    path = Path(name).expanduser()
    if path.is_file():
        return _file(path, name, text_files, csv_options, cache_dir)
    if path.is_dir():
        return _folder(path, name, subset, text_files, csv_options, cache_dir)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or _kind(path) or path.suffix in _TEXT:
        raise RnnZooError(f"dataset={name!r}: no such file or folder")
    try:
        return _load(name, name=subset, cache_dir=cache_dir), False
    except Exception as error:
        raise RnnZooError(
            f"dataset={name!r} is no file or folder here{did_you_mean(name, [bundled])} loading it from the "
            f"HuggingFace hub failed too ({reason(error)}): give a path, a name on the hub, or {bundled!r}"
        ) from error


def _file(
    path: Path, name: str, text_files: bool, csv_options: Mapping[str, Any], cache_dir: str | None
) -> tuple[dict[str, "Dataset"], bool]:
    if not path.stat().st_size:
        raise RnnZooError(f"dataset={name!r} is an empty file")
    kind = _kind(path)
    if kind is None:
        if text_files:
            return {"train": _local(name, lambda: _text([path]))}, True
        raise RnnZooError(
            f"dataset={name!r} is none of the files that are read: {', '.join(_BUILDERS)}, or a saved folder"
        )
    tabs = {"sep": "\t"} if ".tsv" in path.suffixes else {}
    options = {**csv_options, **tabs} if kind == "csv" else {}
    return _local(name, lambda: _load(kind, data_files=str(path), cache_dir=cache_dir, **options)), False


def _folder(
    path: Path,
    name: str,
    subset: str | None,
    text_files: bool,
    csv_options: Mapping[str, Any],
    cache_dir: str | None,
) -> tuple[dict[str, "Dataset"], bool]:
    import datasets

    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _local(name, lambda: _as_dict(datasets.load_from_disk(str(path)))), False
    builder = _local(name, lambda: _quietly(datasets.load_dataset_builder, str(path), subset, cache_dir=cache_dir))
    if text_files and builder.name == "text":
        files = builder.config.data_files
        return {str(split): _text([Path(file) for file in files[split]]) for split in files}, True
    options = csv_options if builder.name == "csv" else {}
    return _local(name, lambda: _load(str(path), name=subset, cache_dir=cache_dir, **options)), False


def _kind(path: Path) -> str | None:
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return _BUILDERS.get(suffixes[-1]) if suffixes else None


def _text(paths: list[Path]) -> "Dataset":
    """Text files one after the other as one data set, exactly as they are."""
    import pyarrow as pa
    from datasets import Dataset
    from datasets.table import InMemoryTable

    pieces = [pa.array([piece], pa.string()) for path in paths for piece in _decoded(path)]
    table = pa.table({"text": pa.chunked_array(pieces, pa.string())})
    return Dataset(InMemoryTable(table), fingerprint=uuid4().hex)  # else it pickles the whole text to get one


def _decoded(path: Path) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    start = 0  # of what is decoded next, bytes from the beginning of the file
    with path.open("rb") as file:
        while True:
            block = file.read(_BLOCK)
            pending = len(decoder.getstate()[0])
            try:
                piece = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                at = start - pending + error.start
                raise RnnZooError(
                    f"dataset={str(path)!r} is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {at:,}; "
                    "convert it, with iconv for example"
                ) from error
            if piece:
                yield piece
            if not block:
                return
            start += len(block)


def _load(builder: str, **options: Any) -> dict[str, "Dataset"]:
    import datasets

    return _as_dict(_quietly(datasets.load_dataset, builder, **options))


def _as_dict(loaded: Any) -> dict[str, "Dataset"]:
    import datasets

    return {str(k): v for k, v in loaded.items()} if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}


def _quietly(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """`datasets` logs an error before it raises it; the message is given once, by who catches it."""
    from datasets.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        return function(*args, **options)
    finally:
        logging.set_verbosity(level)


def _local(name: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except RnnZooError:
        raise
    except Exception as error:
        raise RnnZooError(f"dataset={name!r} cannot be read: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """One line on what went wrong first."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split())
    return "no rows" if "corresponds to no data" in text else f"{type(error).__name__}: {text}"
