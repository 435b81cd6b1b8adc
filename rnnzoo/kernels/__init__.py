"""The choice of what runs a cell over time, and one kernel a file."""

from rnnzoo.kernels.base import Kernel, LayerKernel, Work
from rnnzoo.kernels.choice import KERNELS, Explanation, check_kernel, choose, explain, run

__all__ = ["KERNELS", "Explanation", "Kernel", "LayerKernel", "Work", "check_kernel", "choose", "explain", "run"]
