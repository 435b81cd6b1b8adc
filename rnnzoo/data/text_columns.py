"""Which column of a data set is meant: the one that is given, or one that can be no other."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rnnzoo.errors import RnnZooError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset


def pick_column(
    rows: "Dataset",
    given: str | None,
    setting: str,
    fits: Any,
    usual: tuple[str, ...],
    what: str,
    *,
    aside: Mapping[str, str] = {},
) -> str:
    """The column for a setting: the one that is given, one of its usual names, or the only one that fits.

    Args:
        rows: of the data set.
        given: the setting's value.
        setting: its name, for messages: "text_column".
        fits: whether a feature of `datasets` is one for it.
        usual: names, the first of them that there is.
        what: the column must hold, for messages: "text".
        aside: columns that are not among `rows`, and what for, for messages: {"label": "labels"}.

    Raises:
        RnnZooError: there is none of the name, or it does not fit; or none is given, and several might be meant.
    """
    features = rows.features
    listed = ", ".join(features)
    if given is not None:
        if given not in features:
            raise RnnZooError(
                f"{setting}={given!r} is not among the columns{did_you_mean(given, features)} there are {listed}"
            )
        if not fits(features[given]):
            raise RnnZooError(f"{setting}={given!r} must hold {what}, but its type is {shown(features[given])}")
        return given
    fitting = [name for name in features if fits(features[name])]
    for name in usual:
        if name in fitting:
            return name
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        others = "".join(f"; {name!r} is set aside for {use}" for name, use in aside.items())
        kinds = ", ".join(f"{name!r} of {shown(feature)}" for name, feature in features.items())
        raise RnnZooError(f"no column holds {what}, for {setting}: there are {kinds or 'no others'}{others}")
    raise RnnZooError(f"{setting} must be given: {', '.join(fitting)} all hold {what}")


def shown(feature: Any) -> str:
    """The type of a column in a few words."""
    return getattr(feature, "dtype", None) or " ".join(repr(feature).split())[:60]


def is_text(feature: Any) -> bool:
    """Whether a feature of `datasets` is text."""
    return getattr(feature, "dtype", None) in ("string", "large_string")
