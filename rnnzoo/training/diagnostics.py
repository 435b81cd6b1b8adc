"""What happens inside the recurrent layers while they are trained: gradients by layer and by lag, gates, states."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from rnnzoo.cells.contract import at_least_one
from rnnzoo.errors import RnnZooError
from rnnzoo.rnn import RNN
from rnnzoo.training.watched import Watched, watch

LAGS = (1, 2, 4, 8, 16, 32, 64, 128)


class Diagnostics(Callback):
    """Logs gradients that explode or vanish, by layer and by lag, how far gates are saturated, and norms of states.

    For any cell, and any LightningModule around `rnnzoo.RNN`: every so many steps the input of each RNN is run once
    more by the reference loop, in evaluation mode (without dropout). NAME is the RNN's place in the module, LAYER its
    layer, ``layers.0``, with ``.backward`` for the direction that reads from the end.

    grad_norm/NAME.LAYER: the norm of the loss's gradient by the layer's parameters, before it is clipped.
    lag_grad/NAME.LAYER/K: the norm of the gradient by the layer's state K steps before the last one, of the loss at the
        last step alone, as a multiple of its norm at the RNN's output there: below 1 it has vanished on the way, above
        it has grown. Where the loss does not read that output, all of its units count alike.
    saturated/NAME.LAYER/sigmoid, tanh: the share of what the cell's sigmoids return that is below 0.05 or above 0.95,
        of its tanhs that is beyond 0.95 in size; of the kinds that the cell has.
    state_norm/NAME.LAYER/FIELD: the norm of that field of the state, the mean over the batch's steps.

    They go to the run's loggers with the step's number. An RNN that is called several times in a step is looked at in
    its last call; one that is run by ``step``, as a decoder's, has its grad_norm alone.

    Args:
        every_n_steps: optimizer steps between two looks; one look costs about as much as a step of the reference loop.
        lags: the K.

    Raises:
        RnnZooError: an argument below 1.
    """

    def __init__(self, every_n_steps: int = 100, lags: Sequence[int] = LAGS):
        self.every_n_steps = at_least_one("every_n_steps", every_n_steps)
        self.lags = [at_least_one("lags", lag) for lag in lags]
        self._calls: dict[str, _Call] = {}
        self._hooks: list[RemovableHandle] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not any(isinstance(module, RNN) for module in pl_module.modules()):
            raise RnnZooError(f"Diagnostics looks at rnnzoo.RNN, and {type(pl_module).__name__} has none")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._forget()
        if trainer.is_global_zero and trainer.global_step % self.every_n_steps == 0:
            for name, rnn in _rnns(pl_module):
                self._hooks.append(rnn.register_forward_hook(self._keeper(name), with_kwargs=True))

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if not self._hooks:
            return
        values: dict[str, float] = {}
        for name, rnn in _rnns(pl_module):
            for k, layer in enumerate(rnn.layers):
                values[f"grad_norm/{name}.layers.{k}"] = float(grad_norm(layer))
            if name in self._calls:
                with trainer.precision_plugin.forward_context(), as_evaluated(rnn):
                    values |= {what.format(name): value for what, value in self._calls[name].look(rnn, self.lags)}
        self._forget()
        for logger in trainer.loggers:
            logger.log_metrics({**values, "epoch": trainer.current_epoch}, step=trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._forget()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._forget()

    def _keeper(self, name: str) -> Any:
        def keep(rnn: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
            if torch.is_grad_enabled():
                self._calls[name] = _Call(args, kwargs, result[0])

        return keep

    def _forget(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._calls = [], {}


class _Call:
    """What an RNN was called with, and the gradient that reached its output."""

    def __init__(self, args: Any, kwargs: Any, output: Any) -> None:
        self.args, self.kwargs = detached(args), detached({k: v for k, v in kwargs.items() if k != "return_states"})
        self.grad: Tensor | None = None
        data = output.data if isinstance(output, PackedSequence) else output
        if data.requires_grad:
            data.register_hook(self._take)

    def _take(self, grad: Tensor) -> None:
        self.grad = grad.detach()

    def look(self, rnn: RNN, lags: Sequence[int]) -> Iterator[tuple[str, float]]:
        """Names, in which {} stands for that of the RNN, and values."""
        with torch.enable_grad():
            seen = watch(rnn, *self.args, **self.kwargs)
            by_lag = list(gradients_by_lag(seen, lags, self.grad, rnn.bidirectional))
        for layer in seen.layers:
            yield from ((f"saturated/{{}}.{layer.name}/{kind}", float(share)) for kind, share in layer.shares().items())
            yield from ((f"state_norm/{{}}.{layer.name}/{field}", float(norm)) for field, norm in layer.norms().items())
        yield from ((f"lag_grad/{{}}.{name}/{lag}", value) for name, lag, value in by_lag)


def gradients_by_lag(
    seen: Watched, lags: Sequence[int], grad: Tensor | None, bidirectional: bool = False
) -> Iterator[tuple[str, int, float]]:
    """For each layer and lag, the norm of the gradient by the state so many steps before the last one.

    Args:
        seen: a pass with gradients.
        lags: steps; those that the sequences do not have are left out.
        grad: of the loss by the RNN's output, laid out as that is; None counts all its units alike.
        bidirectional: whether half of the layers read from the end, and have their last step at the first one.
    """
    output, layout = seen.output, seen.arranged.work.layout
    whole = torch.ones_like(output) if grad is None else _as_kernels_have_it(seen, grad)
    for backward in (False, True) if bidirectional else (False,):
        layers = [layer for layer in seen.layers if layer.name.endswith(".backward") == backward]
        rows = _last_rows(output, layout.batch_sizes, backward)
        read = torch.zeros_like(output)
        read[rows] = whole[rows]
        if not (read.isfinite().all() and read.any()):
            read[rows] = torch.ones_like(read[rows])
        there = [(layer, lag) for layer in layers for lag in lags if lag < len(layer.states)]
        states = [list(layer.states[-1 - lag]) for layer, lag in there]
        known = [a for s in states for a in s if a.requires_grad]
        grads = iter(torch.autograd.grad(output, known, read, retain_graph=True, allow_unused=True) if known else ())
        for (layer, lag), s in zip(there, states, strict=True):
            fields = [g for g in (next(grads) for a in s if a.requires_grad) if g is not None]
            size = math.sqrt(sum(float(torch.linalg.vector_norm(g.flatten())) ** 2 for g in fields))
            yield layer.name, lag, size / float(torch.linalg.vector_norm(read.flatten()))


def _as_kernels_have_it(seen: Watched, grad: Tensor) -> Tensor:
    """A gradient by the output that a user gets as one by the rows that a kernel returned."""
    rows = seen.output.detach().requires_grad_()
    laid_out = seen.arranged.outputs(rows)
    data = laid_out.data if isinstance(laid_out, PackedSequence) else laid_out
    return torch.autograd.grad(data, rows, grad.to(data.dtype))[0]


def _last_rows(output: Tensor, sizes: list[int] | None, backward: bool) -> slice:
    """Where the longest sequences have their last step, or their first."""
    if sizes is None:
        return slice(0, 1) if backward else slice(len(output) - 1, None)
    return slice(0, sizes[-1]) if backward else slice(len(output) - sizes[-1], None)


def grad_norm(module: nn.Module) -> Tensor:
    """The norm of the gradient by all parameters of a module; 0 where they have none."""
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    return torch.nn.utils.get_total_norm(grads)


@contextmanager
def as_evaluated(module: nn.Module) -> Iterator[None]:
    """In evaluation mode; every part then goes back to the mode that it was in."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _rnns(module: nn.Module) -> Iterator[tuple[str, RNN]]:
    return ((name or "rnn", part) for name, part in module.named_modules() if isinstance(part, RNN))


def detached(value: Any) -> Any:
    """Arguments or results of a call, cut off from the graph."""
    if isinstance(value, PackedSequence):
        return value._replace(data=value.data.detach())
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, dict):
        return {name: detached(part) for name, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(detached, value))
    return type(value)(map(detached, value)) if isinstance(value, tuple | list) else value
