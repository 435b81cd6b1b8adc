"""Convolutions over the steps, before an RNN reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.errors import RnnZooError, did_you_mean


class ConvolutionalStem(nn.Module):
    """Layers of a convolution over the steps, a norm over the channels of each step, and a GELU.

    A sequence counts as zero before its first step and behind its last, whatever stands there: neither padding nor the
    other sequences of a batch have an effect.

    Args:
        input_size: I, features of a step.
        channels: C, features that come out; or a list with one number for each layer.
        kernel_size: steps that a convolution reads.
        stride: every so-manieth step comes out of each layer.

    Raises:
        RnnZooError: a number below 1.
    """

    def __init__(self, input_size: int, *, channels: int | Sequence[int] = 64, kernel_size: int = 7, stride: int = 1):
        super().__init__()
        sizes = [channels] if isinstance(channels, int) else list(channels)
        for name, value in (("channels", sizes or [0]), ("kernel_size", [kernel_size]), ("stride", [stride])):
            if any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in value):
                raise RnnZooError(f"stem.{name} must be 1 or more, not {value[0] if len(value) == 1 else value}")
        self.kernel_size, self.stride, self.output_size = kernel_size, stride, sizes[-1]
        ins = [input_size, *sizes]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(a, b, kernel_size, stride) for a, b in zip(ins, sizes, strict=False)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(size) for size in sizes)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """(B, T', C) of x (B, T, I), and what becomes of `lengths` (B,); every layer makes ⌈T / stride⌉ steps of T."""
        around = ((self.kernel_size - 1) // 2, self.kernel_size // 2)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            if lengths is not None:
                behind = torch.arange(x.shape[1], device=x.device) >= lengths[:, None]
                x = x.masked_fill(behind[..., None], 0.0)
                lengths = (lengths - 1) // self.stride + 1
            x = F.gelu(norm(convolution(F.pad(x.transpose(1, 2), around)).transpose(1, 2)))
        return x, lengths


def make_stem(input_size: int, arguments: Mapping[str, Any]) -> ConvolutionalStem:
    """A stem from its arguments by name.

    Raises:
        RnnZooError: there is no argument of a name, or it is out of range.
    """
    names = ("channels", "kernel_size", "stride")
    for name in arguments:
        if name not in names:
            raise RnnZooError(f"stem has {name!r}{did_you_mean(name, names)} it may have: {', '.join(names)}")
    return ConvolutionalStem(input_size, **arguments)
