"""Data sets that are handed over in Python: of `datasets`, frames of pandas or polars, tables of Arrow."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rnnzoo.data.builders import in_memory
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset


def splits_of(given: Any) -> dict[str, "Dataset"]:
    """The splits of a data set that is no name.

    Args:
        given: a `datasets.Dataset`, a frame of pandas or polars, or whatever gives a stream of Arrow; or several of
            them by name, in a `datasets.DatasetDict` or another dictionary. One alone is for training.

    Raises:
        RnnZooError: it is none of them, or empty.
    """
    if isinstance(given, Mapping):
        if not given:
            raise RnnZooError(f"dataset={shown(given)} has no splits")
        return {str(name): _rows(one, f"{shown(given)}[{name!r}]") for name, one in given.items()}
    return {"train": _rows(given, shown(given))}


def shown(dataset: Any) -> str:
    """A data set in a message: its name, or what it is where it has none."""
    return repr(dataset) if isinstance(dataset, str) else f"<{type(dataset).__name__}>"


def _rows(given: Any, what: str) -> "Dataset":
    import datasets
    import pyarrow as pa

    if isinstance(given, datasets.IterableDataset):
        raise RnnZooError(
            f"dataset={what} is a stream of `datasets`, whose rows have no number: give its name with streaming=true,"
            " or a Dataset"
        )
    if isinstance(given, datasets.Dataset):
        rows = given.with_format(None)  # else rows come as tensors, or not at all where a format leaves columns out
    elif type(given).__module__.partition(".")[0] == "pandas":
        try:
            table = pa.Table.from_pandas(given, preserve_index=False)
        except pa.ArrowException as error:  # a column of several types
            reason = ": ".join(str(part) for part in error.args)
            raise RnnZooError(f"dataset={what} cannot be read: {reason}") from error
        rows = in_memory(table.replace_schema_metadata())
    elif hasattr(given, "__arrow_c_stream__"):
        rows = in_memory(_plain(pa.table(given)))
    else:
        raise RnnZooError(
            f"dataset={what} must be the name of a data set, a Dataset or DatasetDict of `datasets`, or a frame of"
            " pandas or polars"
        )
    if not len(rows):
        raise RnnZooError(f"dataset={what} has no rows")
    return rows


def _plain(table: Any) -> Any:
    """A table without the types that `datasets` does not know: views of strings, as polars has them."""
    import pyarrow as pa

    views = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    fields = [field.with_type(views.get(field.type, field.type)) for field in table.schema]
    return table.cast(pa.schema(fields))
