"""Taylor 2003: half-hourly electricity demand in England and Wales, twelve weeks from 5 June 2000 on, in MW."""

from typing import TYPE_CHECKING

import numpy as np

from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset


def taylor() -> dict[str, "Dataset"]:
    """One column, without times."""
    try:
        from pmdarima.datasets import load_taylor
    except ImportError as error:
        raise RnnZooError("dataset='taylor' comes with a package: pip install 'rnnzoo[demo]'") from error
    from datasets import Dataset

    return {"train": Dataset.from_dict({"demand": np.asarray(load_taylor(), dtype=np.float64)})}
