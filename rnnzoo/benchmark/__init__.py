"""Timing kernels and peers on the same work; ``rnnzoo bench`` is its command."""

from rnnzoo.benchmark.rounds import Contender, Local, interleaved
from rnnzoo.benchmark.setting import SIZES, Setting

__all__ = ["SIZES", "Contender", "Local", "Setting", "interleaved"]
