"""flax's LSTM or GRU on one setting: prints the seconds of its first call, then of as many as each line read asks for.

A script: it imports jax, never torch or rnnzoo.
"""

import json
import os
import sys
import time
from typing import Any


def main() -> None:
    setting = json.loads(sys.argv[1])
    if setting["device"] == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
        if hasattr(os, "sched_setaffinity"):  # XLA takes a thread for every processor that it may use
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: setting["threads"]])
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import flax.linen
    import jax

    del flax  # only its import is not to count
    jax.config.update("jax_enable_x64", setting["precision"] == "float64")
    start = time.perf_counter()
    call, arguments = program(setting)
    jax.block_until_ready(call(*arguments))
    print(time.perf_counter() - start, flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            answer = call(*arguments)
        jax.block_until_ready(answer)
        print((time.perf_counter() - start) / int(line), flush=True)


def program(setting: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
    """A jitted function and what it is called with."""
    import jax
    import jax.numpy as jnp
    from flax import linen as nn

    B, T, I, H = (setting[n] for n in "BTIH")
    float_type = jnp.float64 if setting["precision"] == "float64" else jnp.float32
    compute = jnp.bfloat16 if setting["precision"] == "bf16" else float_type
    kind = nn.OptimizedLSTMCell if setting["vendor"] == "LSTM" else nn.GRUCell
    cells = [kind(H, dtype=compute, param_dtype=float_type) for _ in range(setting["layers"])]
    keys = jax.random.split(jax.random.key(0), 2)
    if setting["what"] == "step":

        class Step(nn.Module):
            layers: tuple[Any, ...]

            def __call__(self, x: Any, states: Any) -> Any:
                news = []
                for cell, s in zip(self.layers, states, strict=True):
                    s, x = cell(s, x)
                    news.append(s)
                return news

        model: Any = Step(tuple(cells))
        x = jax.random.normal(keys[0], (B, I), float_type)
        states = [cell.initialize_carry(keys[1], (B, I)) for cell in cells]
        return jax.jit(model.apply), (model.init(keys[1], x, states), x, states)

    model = nn.Sequential([nn.RNN(cell, time_major=True) for cell in cells])
    x = jax.random.normal(keys[0], (T, B, I), float_type)
    weights = model.init(keys[1], x)
    if setting["what"] == "forward":
        return jax.jit(model.apply), (weights, x)
    gradient = jax.random.normal(keys[1], (T, B, H), float_type)

    def loss(weights: Any, x: Any) -> Any:
        return (model.apply(weights, x) * gradient).sum()

    return jax.jit(jax.grad(loss, (0, 1) if setting["input_grad"] else 0)), (weights, x)


if __name__ == "__main__":
    main()
