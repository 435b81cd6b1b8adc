"""The search space of a config: settings by their names on the command line, each with a range or with choices."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from rnnzoo.errors import RnnZooError, did_you_mean

GROUPS = ("model", "data", "trainer", "optimizer", "lr_scheduler")
EXAMPLE = "tune: {space: {model.learning_rate: {low: 1e-4, high: 1e-2, log: true}, model.cell: [lstm, gru]}}"
_KEYS = ("low", "high", "step", "log", "choices")


@dataclass(frozen=True)
class SearchSpace:
    """What a study searches.

    Args:
        distributions: Optuna's, by the names of settings.
    """

    distributions: Mapping[str, BaseDistribution]

    def sample(self, trial: Trial) -> dict[str, Any]:
        """The values of a trial."""
        return {name: suggest(trial, name, distribution) for name, distribution in self.distributions.items()}

    def extremes(self) -> dict[str, list[Any]]:
        """The values by which a setting can be tried out: every choice, or both ends of a range."""
        return {
            name: list(d.choices) if isinstance(d, CategoricalDistribution) else [d.low, d.high]  # type: ignore[attr-defined]
            for name, d in self.distributions.items()
        }

    def as_text(self) -> dict[str, str]:
        """A line a setting, to tell two spaces apart."""
        return {name: str(distribution) for name, distribution in self.distributions.items()}


def suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    """What a trial takes for a setting."""
    match distribution:
        case CategoricalDistribution():
            return trial.suggest_categorical(name, distribution.choices)
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(name, low, high, step=step, log=log)
        case FloatDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_float(name, low, high, step=step, log=log)
    raise TypeError(f"unknown distribution {distribution!r}")


def arguments(values: Mapping[str, Any]) -> list[str]:
    """Settings as arguments of ``rnnzoo fit``."""
    return [f"--{name}={_as_argument(value)}" for name, value in values.items()]


def _as_argument(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "null" if value is None else json.dumps(value)


def read_space(given: Any, settings: Mapping[str, Any] | None = None) -> SearchSpace:
    """The search space that stands in a config under ``tune.space``.

    Args:
        given: what stands there.
        settings: those of the config by their names; one that is a float has a range of floats, also from 0 to 1.

    Raises:
        RnnZooError: it is empty, or a setting has neither a range nor choices.
    """
    if not isinstance(given, Mapping) or not given:
        what = "is missing" if given is None else f"must name settings, not be {given!r}"
        raise RnnZooError(f"tune.space {what}: a config has it as {EXAMPLE}")
    known = settings or {}
    return SearchSpace(
        {str(name): _distribution(str(name), value, known.get(str(name))) for name, value in given.items()}
    )


def _distribution(name: str, given: Any, known: Any) -> BaseDistribution:
    where = f"tune.space.{name}"
    group, dot, _ = name.partition(".")
    if group not in GROUPS or not dot:
        raise RnnZooError(
            f"{where} is no setting{did_you_mean(group, GROUPS)} it begins with one of"
            f" {', '.join(f'{g}.' for g in GROUPS)} as model.learning_rate does"
        )
    if isinstance(given, list):
        given = {"choices": given}
    if not isinstance(given, Mapping):
        raise RnnZooError(
            f"{where} is {given!r}; it takes a list of choices, or a range such as {{low: 64, high: 512}}"
        )
    for key in given:
        if key not in _KEYS:
            raise RnnZooError(
                f"{where} has an unknown key {key!r}{did_you_mean(str(key), _KEYS)} it takes {', '.join(_KEYS)}"
            )
    if "choices" in given:
        return _choices(where, given)
    return _range(where, given, isinstance(known, float))


def _choices(where: str, given: Mapping[str, Any]) -> CategoricalDistribution:
    choices = given["choices"]
    if len(given) > 1:
        raise RnnZooError(f"{where} has choices and {', '.join(k for k in given if k != 'choices')}; give one")
    if not isinstance(choices, list) or not choices:
        raise RnnZooError(f"{where} must have at least one choice, as [lstm, gru] has, not {choices!r}")
    plain = [c if c is None or isinstance(c, bool | int | float | str) else json.dumps(c) for c in choices]
    twice = next((c for k, c in enumerate(plain) if repr(c) in map(repr, plain[:k])), None)
    if twice is not None:
        raise RnnZooError(f"{where} has {twice!r} twice")
    return CategoricalDistribution(plain)


def _range(where: str, given: Mapping[str, Any], floats: bool) -> IntDistribution | FloatDistribution:
    for key in ("low", "high"):
        if key not in given:
            raise RnnZooError(f"{where} has no {key!r}: a range is {{low: 1e-4, high: 1e-2, log: true}}")
    low, high = _number(where, "low", given["low"]), _number(where, "high", given["high"])
    step = None if given.get("step") is None else _number(where, "step", given["step"])
    log = given.get("log", False)
    if not isinstance(log, bool):
        raise RnnZooError(f"{where}.log is {log!r}; it takes true or false")
    if low > high:
        raise RnnZooError(f"{where}: low={low} is above high={high}")
    if log and low <= 0:
        raise RnnZooError(f"{where}: low={low} must be above 0 where log is true")
    if log and step is not None:
        raise RnnZooError(f"{where} has log and step={step}; give one")
    if step is not None and step <= 0:
        raise RnnZooError(f"{where}: step={step} must be above 0")
    if (
        step is not None
        and math.fmod(high - low, step) > 1e-9 * step
        and isinstance(low, int)
        and isinstance(step, int)
    ):
        high = low + (high - low) // step * step  # which Optuna says in a warning
    if not floats and all(isinstance(number, int) for number in (low, high, 1 if step is None else step)):
        return IntDistribution(int(low), int(high), log=log, step=1 if step is None else int(step))
    return FloatDistribution(float(low), float(high), log=log, step=None if step is None else float(step))


def _number(where: str, key: str, value: Any) -> int | float:
    try:
        number: int | float = value if isinstance(value, int) and not isinstance(value, bool) else float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RnnZooError(f"{where}.{key} is {value!r}; it takes a number")
    return number
