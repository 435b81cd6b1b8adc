"""The Turkish Web Treebank (Kayadelen, Öztürel & Bohnet 2020), as it lies in the package `turkish-treebanks`."""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING

from rnnzoo.data.builders import in_memory
from rnnzoo.data.conll import read_conll
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset

_PACKAGE = "turkish-treebanks"
_SECTIONS = ("web.conllu", "wiki.conllu")


def turkish() -> dict[str, "Dataset"]:
    """Its 4,851 sentences of 81,370 tokens in one piece: those from the web, then those from Wikipedia.

    A row of the treebank is an inflectional group, of which a word has one or several.

    Raises:
        RnnZooError: the package is not installed.
    """
    try:
        installed = files(_PACKAGE) or []
    except PackageNotFoundError as error:
        raise RnnZooError("dataset='turkish' is a treebank of a package: pip install 'rnnzoo[text]'") from error
    by_name = {file.name: Path(str(file.locate())) for file in installed}
    if missing := [name for name in _SECTIONS if name not in by_name or not by_name[name].is_file()]:
        raise RnnZooError(f"dataset='turkish': the package {_PACKAGE} has lost its {missing[0]}: install it again")
    return {"train": in_memory(read_conll(by_name[name] for name in _SECTIONS))}
