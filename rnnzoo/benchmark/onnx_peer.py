"""The recurrent operators of ONNX with a torch module's weights, run by onnxruntime."""

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

ROWS = {
    "LSTM": [0, 3, 1, 2],
    "GRU": [1, 0, 2],
    "RNN": [0],
}  # torch's i f g o and r z n, in ONNX's order: i o f g, z r n


def onnx_session(module: nn.RNNBase, threads: int) -> tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]:
    """A call over (T, B, I), and a step from a state; by the operator itself, which needs no exporter."""
    import numpy as np

    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    # threads that spin while they wait would take the processors from those whose turn it is
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    graph = onnx_model(module).SerializeToString()
    session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [f"s{j}_{k}" for k in range(module.num_layers) for j in range(1 + (module.mode == "LSTM"))]

    def call(x: Tensor, states: Any = None) -> tuple[Any, list[Any]]:
        zeros = np.zeros((1, x.shape[1], module.hidden_size), np.float32)
        given = states or [zeros] * len(names)
        y, *news = session.run(None, {"x": x.detach().numpy(), **dict(zip(names, given, strict=True))})
        return y, news

    return lambda x: torch.from_numpy(call(x)[0]), lambda x, s: call(x, s)[1]


def onnx_model(module: nn.RNNBase) -> Any:
    """The graph: an operator a layer, x (T, B, I) and the states in, y (T, B, H) and the states out."""
    helper = importlib.import_module("onnx.helper")
    numpy_helper = importlib.import_module("onnx.numpy_helper")
    kind, H = module.mode.partition("_")[0], module.hidden_size
    options: dict[str, Any] = {"hidden_size": H}
    if kind == "GRU":
        options["linear_before_reset"] = 1
    if kind == "RNN":
        options["activations"] = [module.mode.removeprefix("RNN_").capitalize()]
    fields = range(2 if kind == "LSTM" else 1)
    nodes, weights, given, made = [], [], [("x", ["T", "B", module.input_size])], [("y", ["T", "B", H])]
    x = "x"
    for k in range(module.num_layers):
        blocks = [_in_order(getattr(module, f"{n}_l{k}"), kind, H) for n in ("weight_ih", "weight_hh")]
        if module.bias:
            blocks.append(torch.cat([_in_order(getattr(module, f"{n}_l{k}"), kind, H) for n in ("bias_ih", "bias_hh")]))
        names = [f"{n}_{k}" for n in "WRB"[: len(blocks)]]
        weights += [numpy_helper.from_array(a[None].numpy(), n) for a, n in zip(blocks, names, strict=True)]
        olds, news = [f"s{j}_{k}" for j in fields], [f"t{j}_{k}" for j in fields]
        given += [(n, [1, "B", H]) for n in olds]
        made += [(n, [1, "B", H]) for n in news]
        y = "y" if k == module.num_layers - 1 else f"x_{k + 1}"
        inputs = [x, *names, *[""] * (3 - len(names)), "", *olds]
        nodes.append(helper.make_node(kind, inputs, [f"y_{k}", *news], **options))
        nodes.append(helper.make_node("Squeeze", [f"y_{k}", "direction"], [y]))  # (T, 1, B, H)
        x = y
    weights.append(numpy_helper.from_array(torch.tensor([1]).numpy(), "direction"))
    described = [[helper.make_tensor_value_info(n, 1, shape) for n, shape in what] for what in (given, made)]
    graph = helper.make_graph(nodes, "rnn", *described, initializer=weights)
    # versions that runtimes of some years read
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _in_order(a: Tensor, kind: str, H: int) -> Tensor:
    return a.detach().float().unflatten(0, (-1, H))[ROWS[kind]].flatten(0, 1).contiguous()
