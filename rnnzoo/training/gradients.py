"""Parameters that nothing learns."""

from lightning.pytorch import Callback, LightningModule, Trainer

from rnnzoo.training.messages import warn


class WarnOfDeadParameters(Callback):
    """Names, once, the parameters that have had no gradient, or a zero one, in all of the first steps.

    Args:
        steps: backward passes to wait for: a gradient may be zero in one of them.
    """

    def __init__(self, steps: int = 10):
        self.steps = steps
        self._seen, self._waiting = 0, {""}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._seen, self._waiting = 0, {name for name, p in pl_module.named_parameters() if p.requires_grad}

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._seen < self.steps and self._waiting:
            parameters = dict(pl_module.named_parameters())
            grads = {name: parameters[name].grad for name in self._waiting}
            self._waiting = {name for name, grad in grads.items() if grad is None or not grad.any()}
            self._seen += 1
            if self._seen == self.steps:
                self._warn(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if 0 < self._seen < self.steps:
            self._warn(pl_module)

    def _warn(self, pl_module: LightningModule) -> None:
        names = [name for name, _ in pl_module.named_parameters() if name in self._waiting]
        if names:
            warn(
                f"no gradient reached {', '.join(names)} in the first {self._seen} steps;"
                " what no loss depends on is not learnt"
            )
