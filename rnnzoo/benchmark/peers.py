"""What kernels are timed against: other people's layers, each with the reason why it cannot be had."""

import importlib
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnzoo.benchmark.flax_peer import FlaxProcess
from rnnzoo.benchmark.onnx_peer import onnx_session
from rnnzoo.benchmark.rounds import Contender, Local
from rnnzoo.benchmark.setting import Data, Model, Setting, call_of
from rnnzoo.cells.registry import find, name_of
from rnnzoo.convert import to_torch
from rnnzoo.errors import RnnZooError, did_you_mean
from rnnzoo.rnn import RNN


class Peer:
    """A layer that somebody else wrote."""

    name: ClassVar[str]
    about: ClassVar[str]
    modules: ClassVar[tuple[str, ...]] = ()  # what has to be installed
    vendors: ClassVar[tuple[str, ...]] = ("LSTM", "GRU", "RNN_TANH", "RNN_RELU")  # what it has
    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda", "mps")
    by_default: ClassVar[bool] = True
    whole: ClassVar[bool] = True  # whether it takes whole sequences in one direction only

    def why_not(self, setting: Setting) -> str | None:
        """The reason why this peer cannot be timed on `setting`, as a sentence without a subject, or None."""
        device = torch.device(setting.device).type
        if device not in self.devices:
            return f"runs on {' and '.join(self.devices)}, not on {device}"
        for module in self.modules:
            if find_spec(module) is None:
                return f"needs {module}, which is not installed"
        if not self.has(setting):
            return f"has no {setting.cell}"
        if self.whole and setting.bidirectional:
            return "runs in one direction"
        if self.whole and setting.lengths and setting.what != "step":
            return "takes no lengths"
        return None

    def has(self, setting: Setting) -> bool:
        """Whether it has the setting's cell."""
        return setting.vendor in self.vendors

    def model(self, setting: Setting, rnn: RNN) -> Model:
        """The layer, with the weights of `rnn` where it can take them."""
        raise NotImplementedError(f"peer {self.name} has no model")

    def contender(self, setting: Setting, rnn: RNN, data: Data) -> Contender:
        model = self.model(setting, rnn)
        return Local(lambda: call_of(model, data, setting), setting.device)


class Torch(Peer):
    name, about, whole = "torch", "nn.LSTM, nn.GRU, nn.RNN", False

    def model(self, setting: Setting, rnn: RNN) -> Model:
        module = to_torch(rnn)
        return Model(lambda x: module(x)[0], lambda x, s: module(x, s)[1], list(module.parameters()))


class Loop(Peer):
    name, about = "loop", "a plain loop of nn.LSTMCell, nn.GRUCell, nn.RNNCell"

    def module(self, setting: Setting, rnn: RNN) -> Any:
        return CellLoop(to_torch(rnn))

    def model(self, setting: Setting, rnn: RNN) -> Model:
        module = self.module(setting, rnn)
        return Model(lambda x: module(x)[0], lambda x, s: module(x, s)[1], list(module.parameters()))


class CompiledLoop(Loop):
    name, about, by_default = "compiled_loop", "`loop` under torch.compile, which takes minutes", False

    def module(self, setting: Setting, rnn: RNN) -> Any:
        torch.compiler.reset()  # every size is a program of its own, and dynamo gives up after a few
        return torch.compile(CellLoop(to_torch(rnn)), dynamic=False)


class CellLoop(nn.Module):
    """What a user writes without a fused layer, (T, B, I) -> (T, B, H) and the states."""

    def __init__(self, module: nn.RNNBase):
        super().__init__()
        options: dict[str, Any] = {"bias": module.bias, "dtype": module.weight_ih_l0.dtype}
        if module.mode.startswith("RNN_"):
            options["nonlinearity"] = module.mode.removeprefix("RNN_").lower()
        make = {"LSTM": nn.LSTMCell, "GRU": nn.GRUCell}.get(module.mode, nn.RNNCell)
        H = module.hidden_size
        cells = [make(H if k else module.input_size, H, **options) for k in range(module.num_layers)]
        for k, cell in enumerate(cells):
            cell.load_state_dict({n: getattr(module, f"{n}_l{k}") for n, _ in cell.named_parameters()})
        self.cells = nn.ModuleList(cells).to(module.all_weights[0][0].device)

    def forward(self, x: Tensor, states: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        news = []
        for k, cell in enumerate(self.cells):
            s, hs = states[k] if states else None, []
            for x_t in x.unbind(0):
                s = cell(x_t, s)
                hs.append(s[0] if isinstance(s, tuple) else s)
            x = torch.stack(hs)
            news.append(s)
        return x, news


class Naive(Peer):
    name, about = "naive", "the cell called step by step, nothing moved out of the loop, as a user would write it"

    def has(self, setting: Setting) -> bool:
        return setting.vendor is None and not find(setting.cell).inputs

    def model(self, setting: Setting, rnn: RNN) -> Model:
        cells: list[Any] = [directions[0] for directions in rnn.layers]  # type: ignore[index]  # modules

        def run(x: Tensor, states: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
            news = []
            for k, cell in enumerate(cells):
                s, ys = states[k] if states else None, []
                for x_t in x.unbind(0):
                    y, s = cell(x_t, s)
                    ys.append(y)
                x = torch.stack(ys)
                news.append(s)
            return x, news

        return Model(lambda x: run(x)[0], lambda x, s: run(x, s)[1], list(rnn.parameters()))


class TorchRecurrent(Peer):
    name, about, modules = "torchrecurrent", "the layer of the same name in torchrecurrent", ("torchrecurrent",)

    def has(self, setting: Setting) -> bool:
        return self._layer(setting) is not None

    def _layer(self, setting: Setting) -> Any:
        there = importlib.import_module("torchrecurrent")
        layers = {name.lower(): name for name in dir(there) if hasattr(there, f"{name}Cell")}
        name = layers.get(name_of(find(setting.cell)).replace("_", ""))
        return getattr(there, name) if name else None

    def model(self, setting: Setting, rnn: RNN) -> Model:
        module = self._layer(setting)(setting.I, setting.H, num_layers=setting.layers)
        module.to(setting.device, setting.dtype)
        return Model(lambda x: module(x)[0], lambda x, s: module(x, s)[1], list(module.parameters()))


class OnnxRuntime(Peer):
    name, about, modules = "onnxruntime", "onnxruntime's operator, for inference", ("onnx", "onnxruntime")
    devices = ("cpu",)

    def why_not(self, setting: Setting) -> str | None:
        if setting.what == "backward":
            return "has no backward"
        if setting.precision != "float32":
            return "is timed in float32 only"
        return super().why_not(setting)

    def model(self, setting: Setting, rnn: RNN) -> Model:
        run, step = onnx_session(to_torch(rnn), setting.threads)
        return Model(run, step, [])


class Flax(Peer):
    name, about, modules = "flax", "flax.linen under jax.jit, in a process of its own", ("flax",)
    vendors, devices = ("LSTM", "GRU"), ("cpu", "cuda")

    def contender(self, setting: Setting, rnn: RNN, data: Data) -> Contender:
        return FlaxProcess(setting)


class Haste(Peer):
    name, about, modules = "haste", "haste_pytorch", ("haste_pytorch",)
    vendors, devices = ("LSTM", "GRU"), ("cuda",)

    def why_not(self, setting: Setting) -> str | None:
        return "is timed with one layer" if setting.layers > 1 else super().why_not(setting)

    def model(self, setting: Setting, rnn: RNN) -> Model:
        haste = importlib.import_module("haste_pytorch")
        module = getattr(haste, str(setting.vendor))(setting.I, setting.H).to(setting.device, setting.dtype)
        return Model(lambda x: module(x)[0], lambda x, s: module(x, s)[1], list(module.parameters()))


class FlashRNN(Peer):
    name, about, modules = "flashrnn", "flashrnn's fused CUDA kernel behind a linear layer", ("flashrnn",)
    vendors, devices = ("LSTM",), ("cuda",)

    def why_not(self, setting: Setting) -> str | None:
        if setting.layers > 1 or setting.what == "step":
            return "is timed on whole sequences with one layer"
        return super().why_not(setting)

    def model(self, setting: Setting, rnn: RNN) -> Model:
        flashrnn = importlib.import_module("flashrnn").flashrnn
        B, T, I, H = setting.sizes
        dtype = torch.bfloat16 if setting.precision == "bf16" else setting.dtype
        weights = [torch.randn(*shape, device=setting.device, dtype=dtype) for shape in ((4 * H, I), (4, 1, H, H))]
        W, R = ((w / H**0.5).requires_grad_() for w in weights)
        b = torch.zeros(4, 1, H, device=setting.device, dtype=dtype, requires_grad=True)

        def run(x: Tensor) -> Tensor:
            u = F.linear(x.to(dtype), W).view(T, B, 4, 1, H).transpose(0, 1).contiguous()
            return flashrnn(u, R, b, function="lstm", backend="cuda_fused")[0][0]

        return Model(run, None, [W, R, b])


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (Torch(), Loop(), CompiledLoop(), Naive(), TorchRecurrent(), OnnxRuntime(), Flax(), Haste(), FlashRNN())
}


def check_peer(name: str) -> str:
    """`name`, or an error for a peer that does not exist."""
    if name not in PEERS:
        raise RnnZooError(f"unknown peer {name!r}{did_you_mean(name, PEERS)} there are: {', '.join(PEERS)}")
    return name
