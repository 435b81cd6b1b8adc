"""Any data set through `datasets`: a local file or folder, a saved set, a name on the HuggingFace hub, or an object."""

import glob
import re
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from rnnzoo.data.builders import (
    BUILDERS,
    as_splits,
    datasets_cache,
    in_memory,
    kind_of,
    load,
    options_of,
    prepared,
    read_csv,
    read_lines,
    read_text,
    reason,
    refuse_hops,
)
from rnnzoo.data.conll import conll_files, read_conll
from rnnzoo.data.handed import splits_of
from rnnzoo.data.hub import from_files, load_from_hub, make_builder, no_such_data
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["load_splits", "reason"]

_TEXT = {".txt", ".text", ".md"}


def load_splits(
    name: Any,
    subset: str | None = None,
    *,
    bundled: str,
    text_files: bool = False,
    text_lines: bool = False,
    columns: Collection[str | None] = (),
    cache_dir: str | None = None,
) -> tuple[dict[str, "Dataset"], bool]:
    """The splits of a data set by their names, and whether its rows are pieces of text files, to be joined by nothing.

    A text file is read exactly, byte for byte, and its rows are pieces of it, or its lines; a CSV file is read
    strictly. The builders of `datasets` do neither: one takes every ``\\r\\n`` and ``\\r`` for ``\\n``, the other fits
    rows to a header that they do not fit.

    Args:
        name: a file, a folder of data files (in a hub's layout, too), a folder that ``save_to_disk`` wrote, or a name
            on the hub; ``name:config`` is short for `subset`, unless a file or folder is called so. Or a data set, or
            several by name, that `splits_of` takes.
        subset: the configuration, of a data set on the hub, or in its layout, that has more than one.
        bundled: what needs no file, for the message about a name that is nothing known.
        text_files: whether a file that is no CSV, Parquet, JSON or Arrow file is text, in one piece.
        text_lines: whether such a file is text, and each line of it a row; without either it is an error.
        columns: that are asked for by name; None for one that is still to be found.
        cache_dir: folder for what `datasets` prepares; its own default where None.

    Raises:
        RnnZooError: nothing of that name, an empty or unreadable file, or one that is not UTF-8.
    """
    if not isinstance(name, str):
        _warn_of_subset(subset, "the data set is given as it is")
        return splits_of(name), False
    if not name.strip():
        raise RnnZooError(f"dataset={name!r} is empty: give a path, a name on the hub, or {bundled!r}")
    name, subset = with_config(name, subset)
    path = path_of(name)
    cache_dir = datasets_cache(cache_dir)
    texts = "pieces" if text_files else "lines" if text_lines else None
    if path.is_file():
        _warn_of_subset(subset, f"dataset={name!r} is a file")
        return _local(name, lambda: _file(path, name, texts, columns, cache_dir))
    if path.is_dir():
        return _local(name, lambda: _folder(path, name, subset, texts, columns, cache_dir))
    if is_path(name):
        raise RnnZooError(f"dataset={name!r}: no such file or folder")
    try:
        return load_from_hub(name, subset, columns, cache_dir), False
    except RnnZooError:
        raise
    except Exception as error:
        raise no_such_data(name, bundled, error, f"a path, a name on the hub, or {bundled!r}") from error


def is_path(name: str) -> bool:
    """Whether a name that is no file or folder can be nothing else, by its form."""
    path = path_of(name)
    as_file = kind_of(path) is not None or path.suffix in _TEXT
    return path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or as_file


def with_config(name: str, subset: str | None) -> tuple[str, str | None]:
    """The name and the configuration of "name:config", which is a file or folder where one is called so.

    Raises:
        RnnZooError: it names a configuration, and `subset` another.
    """
    match = re.fullmatch(r"(.{2,}?):([^:/\\]+)", name)  # C: is a disk
    if not match or path_of(name).exists():
        return name, subset
    if subset not in (None, match[2]):
        raise RnnZooError(f"dataset={name!r} names the configuration {match[2]!r} and subset={subset!r}: give one")
    return match[1], match[2]


def _warn_of_subset(subset: str | None, because: str) -> None:
    if subset is not None:
        rank_zero_warn(f"subset={subset!r} has no effect: {because}")


def path_of(name: str) -> Path:
    """The path that a name stands for, ~ for the home folder unless something is called so."""
    path = Path(name)
    try:
        return path if path.exists() else path.expanduser()  # a folder may be called ~
    except (RuntimeError, OSError, ValueError):  # no home; a name that is too long, or has a zero in it
        return path


def _file(
    path: Path, name: str, texts: str | None, columns: Collection[str | None], cache_dir: str | None
) -> tuple[dict[str, "Dataset"], bool]:
    if not path.stat().st_size:
        raise RnnZooError(f"dataset={name!r} is an empty file")
    kind = kind_of(path)
    if kind is None:
        if texts is None:
            raise RnnZooError(
                f"dataset={name!r} is none of the files that are read: {', '.join(BUILDERS)}, or a saved folder"
            )
        return _texts({"train": [path]}, texts)
    if kind == "csv":
        return {"train": read_csv([path], name, columns)}, False
    if kind == "conll":
        return {"train": in_memory(read_conll([path]))}, False
    return prepared(kind, {"train": [path]}, cache_dir), False


def _texts(files: dict[str, list[Path]], how: str) -> tuple[dict[str, "Dataset"], bool]:
    read = read_text if how == "pieces" else read_lines
    return {split: read(own) for split, own in files.items()}, how == "pieces"


def _folder(
    path: Path, name: str, subset: str | None, texts: str | None, columns: Collection[str | None], cache_dir: str | None
) -> tuple[dict[str, "Dataset"], bool]:
    import datasets

    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        refuse_hops(path)
        _warn_of_subset(subset, f"dataset={name!r} is a saved data set")
        return as_splits(datasets.load_from_disk(str(path))), False
    if sentences := conll_files(path):
        _warn_of_subset(subset, f"dataset={name!r} is a folder of CoNLL files")
        return {split: in_memory(read_conll(own)) for split, own in sentences.items()}, False
    with _plainly_named(path) as folder:
        builder = make_builder(str(folder), name, subset, cache_dir)
        files = {str(s): [Path(file).resolve() for file in f] for s, f in (builder.config.data_files or {}).items()}
        if texts and builder.name == "text":
            return _texts(files, texts)
        if builder.name in BUILDERS.values():
            return from_files(builder.name, files, name, columns, cache_dir, options_of(builder)), False
        return load(str(folder), name=subset, cache_dir=cache_dir), False


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


def _local(name: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except RnnZooError:
        raise
    except Exception as error:
        raise RnnZooError(f"dataset={name!r} cannot be read: {reason(error)}") from error
