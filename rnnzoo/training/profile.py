"""Where the time of a training step goes, in plain words: ``rnnzoo fit --profile``."""

import time
from collections import defaultdict
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from rnnzoo.rnn import RNN
from rnnzoo.training.messages import say
from rnnzoo.training.progress import digits
from rnnzoo.training.throughput import Waits

STEPS, WARM_UP = 50, 5  # of a run that is profiled; the first ones compile kernels and fill caches
LINES = 3


class Profile(Callback):
    """Adds up the time of each part of the training steps, and names the three that cost the most at the end.

    The parts: waiting for data; the forward of each RNN and of each other module that has parameters and no parts; the
    rest of the forward, with the loss; the backward of each RNN, from when the gradient by its output is there until
    that by its input is; the rest of the backward; the optimizer, with clipping; and the rest of the loop, which is
    callbacks and logging. On a GPU each part is waited for, which makes a step longer than it is by itself.

    Args:
        warm_up: steps that are not timed.
    """

    def __init__(self, warm_up: int = WARM_UP) -> None:
        self.warm_up = warm_up
        self.seconds: dict[str, float] = defaultdict(float)
        self.steps = 0
        self._mark = 0.0
        self._waits: Waits | None = None
        self._waited = 0.0
        self._hooks: list[RemovableHandle] = []
        self._device = torch.device("cpu")

    def lines(self) -> list[str]:
        """What is said: how long a step takes, and the parts with the largest shares."""
        total = sum(self.seconds.values())
        if not self.steps or not total:
            return [f"nothing was timed: a profile needs more than {self.warm_up} steps"]
        parts = sorted(self.seconds.items(), key=lambda part: -part[1])[:LINES]
        costs = ", ".join(f"{name} {100 * seconds / total:.0f} %" for name, seconds in parts)
        return [f"{self.steps} steps of {digits(1e3 * total / self.steps)} ms; they cost the most: {costs}"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._device = trainer.strategy.root_device
        self._waits = Waits(trainer.profiler)  # type: ignore[attr-defined]  # set by a connector
        trainer.profiler = self._waits  # type: ignore[attr-defined]
        whole: set[nn.Module] = set()
        for name, module in pl_module.named_modules():
            leaf = next(module.children(), None) is None and next(module.parameters(), None) is not None
            if module not in whole and (isinstance(module, RNN) or leaf):
                whole |= set(module.modules())
                self._hooks.append(module.register_forward_pre_hook(self._before))
                self._hooks.append(module.register_forward_hook(partial(self._after, name or type(module).__name__)))
        self._mark = self._now()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        assert self._waits is not None
        now, waited = self._now(), self._waits.waited
        self._add("data", waited - self._waited)
        self._add("callbacks and logging", now - self._mark - (waited - self._waited))
        self._mark, self._waited = now, waited

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        self._end("loss and the rest of the forward")

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end("rest of the backward")

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self._end("callbacks and logging")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._end("optimizer")
        if self.warm_up:
            self.warm_up -= 1
            self.seconds.clear()
        else:
            self.steps += 1

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._give_back(trainer)
        for line in self.lines():
            say(line)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._give_back(trainer)

    def _give_back(self, trainer: Trainer) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        if self._waits is not None:
            trainer.profiler, self._waits = self._waits.inner, None  # type: ignore[attr-defined]

    def _before(self, module: nn.Module, args: Any) -> None:
        self._end("loss and the rest of the forward")

    def _after(self, name: str, module: nn.Module, args: Any, result: Any) -> None:
        self._end(f"forward of {name}")
        output = result[0] if isinstance(result, tuple) else result
        if not isinstance(module, RNN) or not isinstance(output, Tensor) or not output.requires_grad:
            return
        output.register_hook(lambda grad: self._end("rest of the backward"))
        inputs = [a for a in tree_leaves(args) if isinstance(a, Tensor) and a.requires_grad]
        if inputs:
            inputs[0].register_hook(lambda grad: self._end(f"backward of {name}"))

    def _end(self, part: str) -> None:
        """What has passed since the last end belongs to `part`."""
        now = self._now()
        self._add(part, now - self._mark)
        self._mark = now

    def _add(self, part: str, seconds: float) -> None:
        self.seconds[part] += seconds

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
