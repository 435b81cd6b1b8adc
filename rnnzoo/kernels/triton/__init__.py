"""A kernel for any cell on a GPU, derived from its ``step`` alone."""

from rnnzoo.kernels.triton.kernel import Triton

__all__ = ["Triton"]
