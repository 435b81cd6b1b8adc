"""Sets of labelled series that come with sktime, in the splits that they are published with; never from a network."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset

SHIPPED = (
    "ACSF1", "ArrowHead", "BasicMotions", "Covid3Month", "GunPoint", "ItalyPowerDemand", "JapaneseVowels", "OSULeaf",
    "PLAID", "Tecator", "UnitTest",
)  # fmt: skip  # with sktime 1.2
LABEL = "label"


def set_names() -> list[str]:
    """The sets of the sktime that is installed; those that it is known to have, where none is."""
    return sorted(_folders()) if find_spec("sktime") else list(SHIPPED)


def read_set(name: str) -> dict[str, "Dataset"]:
    """The splits "train" and "test" of a set: a row a series, a column of lists for each variable, and "label".

    Raises:
        RnnZooError: sktime is not installed, or does not have the set.
    """
    folder = _folders().get(name) if find_spec("sktime") else None
    if folder is None:
        raise RnnZooError(f"dataset={name!r} comes with sktime: pip install 'rnnzoo[demo]'")
    from sktime.datasets import load_UCR_UEA_dataset

    kind = "float" if _has_numbers(folder / name / f"{name}_TRAIN.ts") else "str"
    splits = {}
    for split in ("train", "test"):
        # with the folder that it lies in, it is not looked for anywhere else
        x, y = load_UCR_UEA_dataset(name, split, return_type="nested_univ", extract_path=str(folder), y_dtype=kind)
        splits[split] = _rows(x, np.asarray(y))
    return splits


def _folders() -> dict[str, Path]:
    """Where each set lies: in the package, or where sktime has put what its user downloaded."""
    spec = find_spec("sktime")
    places = [Path(place) / "datasets" for place in (spec.submodule_search_locations or ())] if spec else []
    return {
        file.parent.name: file.parent.parent
        for place in places
        for folder in ("local_data", "data")
        for file in (place / folder).glob("*/*_TRAIN.ts")
        if file.name == f"{file.parent.name}_TRAIN.ts" and (file.parent / f"{file.parent.name}_TEST.ts").is_file()
    }


def _has_numbers(path: Path) -> bool:
    """Whether the answers of a set are numbers: by the head of its file."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.lower().startswith("@targetlabel"):
                return True
            if line.lower().startswith("@data"):
                break
    return False


def _rows(x: Any, y: np.ndarray) -> "Dataset":
    import pyarrow as pa

    from rnnzoo.data.builders import in_memory

    columns: dict[str, Any] = {}
    for name in x.columns:
        cells = [np.asarray(cell, dtype=np.float64) for cell in x[name]]
        offsets = np.concatenate([[0], np.cumsum([len(cell) for cell in cells])])
        columns[str(name)] = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(np.concatenate(cells)))
    return in_memory(pa.table({**columns, LABEL: pa.array(y.tolist())}))
