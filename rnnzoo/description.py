"""What a data module says of its data: all that a task is made for, in plain values."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from rnnzoo.errors import RnnZooError, did_you_mean

_SHOWN = 60  # characters of a value


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a task has to know of its data before it is made; it prints, and goes into checkpoints as JSON.

    A data module has one as ``description``, and a task gets it as its first argument. What is not known is None.

    >>> Description(vocabulary=["a", "b"], more={"pitch": 440}).pitch
    440

    Args:
        source: who says it, for messages: the class of the data module.
        vocabulary: the tokens in the order of their ids.
        tokenizer: what makes them of text, as `rnnzoo.data.TextTokenizer.to_json` gives it.
        target_vocabulary, target_tokenizer: of the answers, where these are text too.
        input_size: features of a step.
        classes: how many answers there are to choose from; 0 where answers are numbers.
        labels: the names of the classes, in the order of their ids.
        answers: how many belong to a sequence, one each for its last so many steps; 0 for one at every step.
        constant: what is predicted without looking: a number's mean, or the same logit for every class.
        scaling: of the training part of a series, in its unit: "mean", "std", and "seasonal_error", the mean absolute
            difference from one season before.
        horizon: steps to forecast.
        context: steps of the past that a forecast sees, besides a season before them.
        season: steps after which a series resembles itself.
        more: what else a data module and a task of your own agree on, by name; read like the others.

    Raises:
        RnnZooError: a value that is not plain: no number, text, list or dictionary of them.
    """

    source: str | None = None
    vocabulary: Sequence[str] | None = None
    tokenizer: str | None = None
    target_vocabulary: Sequence[str] | None = None
    target_tokenizer: str | None = None
    input_size: int | None = None
    classes: int | None = None
    labels: Sequence[str] | None = None
    answers: int | None = None
    constant: float | None = None
    scaling: Mapping[str, float] | None = None
    horizon: int | None = None
    context: int | None = None
    season: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self._items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise RnnZooError(
                    f"description: {name} must be numbers, text, lists or dictionaries of them, not"
                    f" {_short(value)}: {error}"
                ) from error

    def __getattr__(self, name: str) -> Any:
        more = self.__dict__.get("more")  # nothing yet, while it is copied
        if more is None or name.startswith("__"):
            raise AttributeError(name)
        if name in more:
            return more[name]
        raise AttributeError(f"{type(self).__name__} has no {name!r}{did_you_mean(name, self.known)} it has: {self}")

    def __str__(self) -> str:
        return ", ".join(f"{name} {_short(value)}" for name, value in self._items()) or "nothing"

    @property
    def known(self) -> list[str]:
        """The names of what is known."""
        return [name for name, _ in self._items()]

    def _items(self) -> list[tuple[str, Any]]:
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("source", "more")}
        return [(name, value) for name, value in {**own, **self.more}.items() if value is not None]

    def to_json(self) -> dict[str, Any]:
        """What is known as plain values, to be read by `described`."""
        return json.loads(json.dumps({**dict(self._items()), "source": self.source}))

    def require(self, needs: Sequence[str], who: str) -> None:
        """Raises RnnZooError where something that `who` needs is not known."""
        if missing := [name for name in needs if name not in self.known]:
            whose = f"{self.source} has not" if self.source else "the description has not"
            raise RnnZooError(f"{who} needs the {' and the '.join(missing)} of its data, which {whose}: it has {self}")


def described(value: Any, older: str | None = None, source: str | None = None) -> Description:
    """A description, from what a constructor or a checkpoint gives for one.

    Args:
        value: a Description; what `Description.to_json` gave; None, for one of nothing; or, as in earlier versions,
            the value of the one thing that the task needs.
        older: the name of that thing; "problem" is a dictionary of several.
        source: who says it, where `value` does not.

    Raises:
        RnnZooError: it is none of them.
    """
    if value is None:
        return Description(source=source)
    if isinstance(value, Description):
        return value if value.source or not source else replace(value, source=source)
    own = {f.name for f in fields(Description)}
    if isinstance(value, Mapping) and "source" in value:
        return Description(
            **{k: v for k, v in value.items() if k in own}, more={k: v for k, v in value.items() if k not in own}
        )
    if older == "problem" and isinstance(value, Mapping):
        return Description(**value)
    if older is not None:
        known: dict[str, Any] = {older: list(value) if isinstance(value, tuple) else value}
        return Description(**known)
    raise RnnZooError(f"description must be a rnnzoo.Description, not {_short(value)}")


def _short(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 8:
        return f"of {len(value):,}"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def describe(data: Any) -> Description:
    """What a data module says: its description, or what it has of the attributes that stood for one before."""
    source = type(data).__name__
    if (given := getattr(data, "description", None)) is not None:
        return described(given, source=source)
    problem = getattr(data, "problem", None) or {}
    older: dict[str, Any] = {"vocabulary": getattr(data, "vocabulary", None), "scaling": getattr(data, "scaling", None)}
    return Description(source=source, **older, **problem)


def of_hyper_parameters(saved: Mapping[str, Any]) -> Description:
    """The description that a checkpoint's hyper-parameters hold, those of an earlier version too."""
    if "description" in saved:
        return described(saved["description"])
    if "problem" in saved:
        return described(saved["problem"], "problem")
    return Description(vocabulary=saved.get("vocabulary"), scaling=saved.get("scaling"))
