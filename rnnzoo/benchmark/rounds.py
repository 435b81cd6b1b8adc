"""Rounds in which every contender takes its turn, so that what disturbs a machine disturbs them alike."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from rnnzoo.kernels.fused.memory import BLOCKS

SAMPLE = 0.002  # seconds that a sample takes at least: short calls are repeated in it
MOST = 1000
CROWD = 8  # contenders: with more, memory that waits for one's next call is given back in another's time
WARM = 2  # rounds that do not count; the last of them says how often to repeat a call


class Contender:
    """Something to time."""

    first: float  # seconds of the first call, in which some compile

    def start(self) -> None:
        """Gives the first call."""
        raise NotImplementedError(f"{type(self).__name__} cannot be started")

    def sample(self, number: int) -> float:
        """Seconds a call, over `number` calls."""
        raise NotImplementedError(f"{type(self).__name__} cannot be timed")

    def settle(self) -> None:
        """Comes before a sample among a crowd: as if nobody else had been at work."""

    def runs(self) -> str:
        """The kernel that "auto" took."""
        return ""

    def peak_memory(self) -> float | None:
        """MiB beyond what was held before a call, at its peak; None where that is not to be had from here."""
        return None

    def close(self) -> None:
        """Lets go of what is held."""


class Local(Contender):
    """A call in this process, made when it is started: making a step's state is its first call."""

    def __init__(self, make: Callable[[], Callable[[], Any]], device: str, runs: Callable[[], str] = lambda: ""):
        self.make, self.device, self.runs = make, torch.device(device), runs  # type: ignore[method-assign]

    def start(self) -> None:
        start = time.perf_counter()
        self.call = self.make()
        self.call()
        synchronise(self.device)
        self.first = time.perf_counter() - start

    def sample(self, number: int) -> float:
        synchronise(self.device)
        start = time.perf_counter()
        for _ in range(number):
            self.call()
        synchronise(self.device)
        return (time.perf_counter() - start) / number

    def settle(self) -> None:
        BLOCKS.give_back()
        self.call()

    def peak_memory(self) -> float | None:
        if self.device.type != "cuda":
            return None
        synchronise(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        self.call()
        synchronise(self.device)
        return (torch.cuda.max_memory_allocated(self.device) - before) / 2**20


def synchronise(device: torch.device) -> None:
    """Waits until `device` has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def interleaved(
    contenders: Sequence[Contender], rounds: int, tick: Callable[[], Any] = lambda: None
) -> list[list[float]]:
    """Milliseconds of each contender in every round; `tick` is called after each, warming up included."""
    taken: list[list[float]] = [[] for _ in contenders]
    numbers = [1] * len(contenders)
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        for k in range(-WARM, rounds):
            for turn in range(len(contenders)):
                j = (turn + k) % len(contenders)  # nobody is the first of every round
                if len(contenders) > CROWD:
                    contenders[j].settle()
                seconds = contenders[j].sample(numbers[j])
                if k >= 0:
                    taken[j].append(1e3 * seconds)
                elif k == -1:
                    numbers[j] = min(MOST, math.ceil(SAMPLE / max(seconds, 1e-9)))
            tick()
    finally:
        if was_on:
            gc.enable()
    return taken


def spread(values: Sequence[float]) -> float:
    """Half the distance between the quartiles."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2
