"""A compiled kernel for any cell on a CPU, derived from its ``step`` alone."""

from rnnzoo.kernels.fused.kernel import Fused

__all__ = ["Fused"]
