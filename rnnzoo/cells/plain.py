"""Plain recurrent networks: one product, one squash."""

from torch import Tensor

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


@register("cudnn_rnn")
class CudnnRNN(TanhRNN):
    """Elman 1990, `rnn` with the vendor's kernel pinned (cuDNN; on a CPU ATen's); one row block, as nn.RNN.

    h_t = tanh(W x_t + R h_{t-1} + b)
    """

    pinned = "native"
