"""Plain recurrent networks: one product, one squash."""

import torch
from torch import Tensor, nn

from rnnzoo.cells.contract import GatedCell, Hidden
from rnnzoo.cells.registry import register


@register("rnn")
class TanhRNN(GatedCell):
    """Elman 1990, the simple recurrent network; one row block, as nn.RNN.

    h_t = tanh(W x_t + R h_{t-1} + b)
    """

    gates, State = 1, Hidden

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        return Hidden((wx + rh).tanh())


@register("rnn_relu")
class ReluRNN(GatedCell):
    """Elman 1990, with a rectifier for its squash; one row block, as nn.RNN(nonlinearity="relu").

    h_t = max(0, W x_t + R h_{t-1} + b)
    """

    gates, State = 1, Hidden

    def update(self, wx: Tensor, rh: Tensor, s: Hidden) -> Hidden:
        return Hidden((wx + rh).relu())


@register("irnn")
class IRNN(ReluRNN):
    """Le, Jaitly & Hinton 2015, `rnn_relu` that starts from the identity; one row block, as nn.RNN.

    h_t = max(0, W x_t + R h_{t-1} + b)

    As in the paper: R = scale · I, W from N(0, 0.001²), biases zero.

    Args:
        scale: the diagonal that R starts with: 1 for a long memory, 0.01 as the paper has it for speech.
    """

    def __init__(self, input_size: int, hidden_size: int, *, scale: float = 1.0, bias: bool = True):
        super().__init__(input_size, hidden_size, bias=bias)
        self.scale = scale

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight_ih, std=0.001)
        with torch.no_grad():
            nn.init.eye_(self.weight_hh).mul_(self.scale)
        for b in (self.bias_ih, self.bias_hh):
            if b is not None:
                nn.init.zeros_(b)


@register("cudnn_rnn")
class CudnnRNN(TanhRNN):
    """Elman 1990, `rnn` with the vendor's kernel pinned (cuDNN; on a CPU ATen's); one row block, as nn.RNN.

    h_t = tanh(W x_t + R h_{t-1} + b)
    """

    pinned = "native"
