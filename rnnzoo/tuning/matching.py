"""Hidden sizes by which different cells have as many parameters as each other, or take as long for a step."""

import logging
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from rnnzoo.cli.lightning import ZooCLI, run_lightning
from rnnzoo.description import describe
from rnnzoo.errors import RnnZooError
from rnnzoo.tasks.base import Task

_LARGEST = 65536
_NEXT = 64  # sizes to try behind one that a cell cannot have
_ROUNDS, _WARM_UP = 7, 2


class Unrun(ZooCLI):
    """A command whose model, data and trainer are made, and which does nothing with them."""

    def _run_subcommand(self, subcommand: str) -> None:
        pass


class Models:
    """Makes the model of a config with another cell and another size.

    Args:
        given: arguments of ``rnnzoo fit``.

    Raises:
        RnnZooError: the config is no task with a cell.
    """

    def __init__(self, given: Sequence[str]):
        made: list[ZooCLI] = []
        argv = sys.argv
        loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
        levels = [logger.level for logger in loggers]
        for logger in loggers:  # what they say of devices and seeds is said by each run
            logger.setLevel(logging.WARNING)
        try:
            run_lightning("fit", list(given), after=made.append, kind=Unrun)
        finally:
            sys.argv = argv
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
        model, self.data = made[0].model, made[0].datamodule
        if not isinstance(model, Task):
            raise RnnZooError(f"compare is for tasks with a cell, and {type(model).__name__} is none")
        self.reference, self._kind = model, type(model)
        self._settings = dict(made[0].config["fit"].model.init_args)
        self._description = describe(self.data)

    @property
    def cell(self) -> Any:
        return self._settings["cell"]

    @property
    def hidden_size(self) -> Any:
        return self._settings["hidden_size"]

    @property
    def learning_rate(self) -> float:
        return float(self._settings["learning_rate"])

    def make(self, cell: str, hidden_size: int) -> Task:
        """A model of a cell; a cell's own arguments are those of the config's cell alone."""
        arguments = self._settings.get("cell_args") if cell == self.cell else None
        settings = {**self._settings, "cell": cell, "cell_args": arguments, "hidden_size": hidden_size}
        return self._kind(self._description, **{k: v for k, v in settings.items() if k != "description"})

    def batch(self) -> Any:
        """A batch of training."""
        self.data.prepare_data()
        self.data.setup("fit")
        return next(iter(self.data.train_dataloader()))


def parameters(model: torch.nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def step_time(model: Task, reference: Task, batch: Any) -> float:
    """The time of a training step, forward and backward, as a multiple of the reference's: medians, by turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for k in range(_WARM_UP + _ROUNDS):
        for each, taken in zip((model, reference), times, strict=True):
            each.zero_grad(set_to_none=True)
            begin = time.perf_counter()
            each.judge(batch, "train").loss.backward()
            if k >= _WARM_UP:
                taken.append(time.perf_counter() - begin)
    return statistics.median(times[0]) / statistics.median(times[1])


def nearest_size(
    measure: Callable[[int], float], target: float, start: int = 64, tolerance: float = 0.0
) -> tuple[int, float]:
    """The size at which a measure that grows with it is nearest to a target, by bisection; and the measure there.

    Args:
        measure: of a size; raises RnnZooError where there is no such size.
        target: to come near to.
        start: the first size.
        tolerance: the share of the target within which any size will do.

    Raises:
        RnnZooError: there is no size near those that were tried.
    """
    seen: dict[int, float] = {}

    def at(size: int) -> tuple[int, float]:
        first: RnnZooError | None = None
        for tried in range(size, size + _NEXT):
            if tried in seen:
                return tried, seen[tried]
            try:
                seen[tried] = measure(tried)
            except RnnZooError as error:
                first = first or error
                continue
            return tried, seen[tried]
        assert first is not None
        raise first

    def good() -> bool:
        return any(abs(value - target) <= tolerance * target for value in seen.values())

    low, high = 0, _LARGEST
    size, value = at(start)
    while value < target and size < _LARGEST and not good():
        low = size
        size, value = at(size * 2)
    if value >= target:
        high = size
    while high - low > 1 and not good():
        middle = (low + high) // 2
        size, value = at(max(middle, 1))
        if value < target and size < high:
            low = max(size, middle)
        elif value >= target and size < high:
            high = size
        else:  # no size between `middle` and `high`
            high = middle
    best = min(seen, key=lambda tried: abs(seen[tried] - target))
    return best, seen[best]


def matched_size(models: Models, cell: str, match: str) -> tuple[int, float]:
    """The hidden size of a cell that matches the config's own model, and what of it is matched.

    Raises:
        RnnZooError: the cell cannot run in this task.
    """
    if not isinstance(models.hidden_size, int):
        raise RnnZooError(f"compare needs one model.hidden_size for all layers, not {models.hidden_size!r}")
    if match == "parameters":
        target = parameters(models.reference)
        found = nearest_size(lambda size: parameters(models.make(cell, size)), target, models.hidden_size)
    elif match == "time":
        batch = models.batch()
        found = nearest_size(
            lambda size: step_time(models.make(cell, size), models.reference, batch),
            1.0,
            models.hidden_size,
            tolerance=0.05,
        )
    else:
        size, _ = nearest_size(lambda size: float(bool(models.make(cell, size))), 1.0, models.hidden_size)
        found = size, float(parameters(models.make(cell, size)))
    models.make(cell, found[0]).try_out()
    return found
