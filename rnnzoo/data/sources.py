"""Any data set through `datasets`: a local file or folder, a saved set, or a name on the HuggingFace hub."""

import glob
import hashlib
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from rnnzoo.cache import cache_folder, cannot_write, process_folder
from rnnzoo.data.files import decoded
from rnnzoo.data.tables import read_table
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


def load_splits(
    name: str,
    subset: str | None = None,
    *,
    bundled: str,
    text_files: bool = False,
    columns: Collection[str | None] = (),
    cache_dir: str | None = None,
) -> tuple[dict[str, "Dataset"], bool]:
    """The splits of a data set by their names, and whether its rows are pieces of text files, to be joined by nothing.

    A text file is read exactly, byte for byte, and its rows are pieces of it; a CSV file is read strictly. The builders
    of `datasets` do neither: one takes every ``\\r\\n`` and ``\\r`` for ``\\n``, the other fits rows to a header that
    they do not fit.

    Args:
        name: a file, a folder of data files, a folder that ``save_to_disk`` wrote, or a name on the hub.
        subset: the configuration, for names on the hub that have more than one.
        bundled: what needs no file, for the message about a name that is nothing known.
        text_files: whether a file that is no CSV, Parquet, JSON or Arrow file is text, or an error.
        columns: that are asked for by name; None for one that is still to be found.
        cache_dir: folder for what `datasets` prepares; its own default where None.

    Raises:
        RnnZooError: nothing of that name, an empty or unreadable file, or one that is not UTF-8.
    """
    if not name.strip():
        raise RnnZooError(f"dataset={name!r} is empty: give a path, a name on the hub, or {bundled!r}")
    path = _path(name)
    cache_dir = _datasets_cache(cache_dir)
    if path.is_file():
        return _local(name, lambda: _file(path, name, text_files, columns, cache_dir))
    if path.is_dir():
        return _local(name, lambda: _folder(path, name, subset, text_files, columns, cache_dir))
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or _kind(path) or path.suffix in _TEXT:
        raise RnnZooError(f"dataset={name!r}: no such file or folder")
    try:
        return _hub(name, subset, columns, cache_dir), False
    except RnnZooError:
        raise
    except Exception as error:
        raise RnnZooError(
            f"dataset={name!r} is no file or folder here{did_you_mean(name, [bundled])} loading it from the "
            f"HuggingFace hub failed too ({reason(error)}): give a path, a name on the hub, or {bundled!r}"
        ) from error


def _path(name: str) -> Path:
    path = Path(name)
    try:
        return path if path.exists() else path.expanduser()  # a folder may be called ~
    except (RuntimeError, OSError, ValueError):  # no home; a name that is too long, or has a zero in it
        return path


def _file(
    path: Path, name: str, text_files: bool, columns: Collection[str | None], cache_dir: str | None
) -> tuple[dict[str, "Dataset"], bool]:
    if not path.stat().st_size:
        raise RnnZooError(f"dataset={name!r} is an empty file")
    kind = _kind(path)
    if kind is None:
        if text_files:
            return {"train": _text([path])}, True
        raise RnnZooError(
            f"dataset={name!r} is none of the files that are read: {', '.join(_BUILDERS)}, or a saved folder"
        )
    if kind == "csv":
        return {"train": _csv([path], name, columns)}, False
    return _prepared(kind, {"train": [path]}, cache_dir), False


def _folder(
    path: Path, name: str, subset: str | None, text_files: bool, columns: Collection[str | None], cache_dir: str | None
) -> tuple[dict[str, "Dataset"], bool]:
    import datasets

    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        _refuse_hops(path)
        return _as_dict(datasets.load_from_disk(str(path))), False
    with _plainly_named(path) as folder:
        builder = _with_cache(datasets.load_dataset_builder, str(folder), subset, cache_dir=cache_dir)
        files = {str(s): [Path(file).resolve() for file in f] for s, f in (builder.config.data_files or {}).items()}
        if text_files and builder.name == "text":
            return {split: _text(own) for split, own in files.items()}, True
        if builder.name == "csv":
            return {split: _csv(own, name, columns) for split, own in files.items()}, False
        if builder.name in _BUILDERS.values() and subset is None:
            return _prepared(builder.name, files, cache_dir), False
        return _load(str(folder), name=subset, cache_dir=cache_dir), False


@contextmanager
def _plainly_named(folder: Path) -> Iterator[Path]:
    """A folder with the files of `folder`, which is that itself unless `datasets` takes its name for a pattern."""
    path = folder.resolve()
    if glob.escape(str(path)) == str(path) and not re.search("::|\n", str(path)):
        yield folder
        return
    with tempfile.TemporaryDirectory() as made:
        copy = Path(made) / "data"
        for file in path.rglob("*"):
            if file.is_file():
                link = copy / file.relative_to(path)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file)
        copy.mkdir(exist_ok=True)
        yield copy


def _hub(name: str, subset: str | None, columns: Collection[str | None], cache_dir: str | None) -> dict[str, "Dataset"]:
    import datasets

    builder = _with_cache(datasets.load_dataset_builder, name, subset, cache_dir=cache_dir)
    if builder.name != "csv" or not builder.config.data_files:
        return _load(name, name=subset, cache_dir=cache_dir)
    download = datasets.DownloadManager(dataset_name=builder.dataset_name, base_path=builder.base_path).download
    return {str(s): _csv(map(Path, download(list(f))), name, columns) for s, f in builder.config.data_files.items()}


def _kind(path: Path) -> str | None:
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return _BUILDERS.get(suffixes[-1]) if suffixes else None


def _csv(paths: Iterable[Path], name: str, columns: Collection[str | None]) -> "Dataset":
    """CSV files one below the other as one data set."""
    table = read_table(paths, name, columns)
    if not len(table):
        raise RnnZooError(f"dataset={name!r} cannot be read: no rows")
    return _in_memory(table)


def _text(paths: list[Path]) -> "Dataset":
    """Text files one after the other as one data set, exactly as they are."""
    import pyarrow as pa

    pieces = [pa.array([piece], pa.string()) for path in paths for piece in decoded(path)]
    return _in_memory(pa.table({"text": pa.chunked_array(pieces, pa.string())}))


def _in_memory(table: Any) -> "Dataset":
    from datasets import Dataset
    from datasets.table import InMemoryTable

    return Dataset(InMemoryTable(table), fingerprint=uuid4().hex)  # else it pickles the whole table to get one


def _prepared(kind: str, files: dict[str, list[Path]], cache_dir: str | None) -> dict[str, "Dataset"]:
    """Files by a builder of `datasets`, which are no patterns, and are read again when they have changed.

    `datasets` finds what it prepared by path and time of change, which a copy may have in common with another.
    """
    digest = hashlib.sha256()
    for path in chain(*files.values()):
        _refuse_hops(path)
        stat = path.stat()
        digest.update(f"{path} {stat.st_size} {stat.st_ino} {stat.st_ctime_ns}\n".encode(errors="surrogateescape"))
    named = {split: [glob.escape(str(path.absolute())) for path in paths] for split, paths in files.items()}
    return _load(kind, name=f"rnnzoo-{digest.hexdigest()[:16]}", data_files=named, cache_dir=cache_dir)


def _refuse_hops(path: Path) -> None:
    if "::" in str(path):
        raise RnnZooError(
            f"dataset={str(path)!r} has '::' in its path, behind which `datasets` looks for an archive: rename it"
        )


def _load(builder: str, *, cache_dir: str | None, **options: Any) -> dict[str, "Dataset"]:
    import datasets

    return _as_dict(_with_cache(datasets.load_dataset, builder, cache_dir=cache_dir, **options))


def _with_cache(function: Callable[..., Any], *args: Any, cache_dir: str | None, **options: Any) -> Any:
    """What a function of `datasets` returns; with a cache in a folder of this process where its own has no room."""
    import datasets

    call = partial(_quietly, function, *args, **options)
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


def _datasets_cache(given: str | None) -> str | None:
    """Where `datasets` prepares what it reads. Of a user without a home it would make a folder that is called ~."""
    import datasets

    if given is None and str(datasets.config.HF_DATASETS_CACHE).startswith("~"):
        return str(cache_folder() / "datasets")
    return given


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
    # both are what an empty table comes to
    return (
        "no rows"
        if re.search("corresponds to no data|BatchSize must be greater than 0", text)
        else f"{type(error).__name__}: {text}"
    )
