"""Layers that join the training one by one, from the head down."""

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.optim import Optimizer

from rnnzoo.training.optimizers import depths_of


class GradualUnfreezing(Callback):
    """Trains the head alone at first, and one more layer after every so many epochs (Howard & Ruder 2018).

    What is trained depends on the epoch alone, so a run that goes on from a checkpoint trains what it would have. The
    optimizer has all parameters from the start; those of a layer that has not joined have no gradient.

    Args:
        every: epochs between two layers.
    """

    def __init__(self, every: int = 1):
        self.every = every
        self._layers: list[list[nn.Parameter]] = []  # from the head down; without those that are never trained

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        depths = depths_of(pl_module)
        layers: dict[int, list[nn.Parameter]] = {}
        for name, parameter in pl_module.named_parameters():
            if parameter.requires_grad:
                layers.setdefault(depths[name], []).append(parameter)
        self._layers = [layers[depth] for depth in sorted(layers)]
        self._freeze(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._freeze(trainer)  # the epoch of a checkpoint is known by now

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._freeze(trainer)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        for layer in self._waiting(trainer):
            for parameter in layer:
                parameter.grad = None

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for layer in self._layers:
            for parameter in layer:
                parameter.requires_grad_(True)
        self._layers = []

    def _waiting(self, trainer: Trainer) -> list[list[nn.Parameter]]:
        return self._layers[trainer.current_epoch // self.every + 1 :]

    def _freeze(self, trainer: Trainer) -> None:
        if trainer.world_size > 1:
            return  # DDP learns before the first step which parameters have gradients, and waits for all of them
        waiting = len(self._waiting(trainer))
        for k, layer in enumerate(reversed(self._layers)):
            for parameter in layer:
                parameter.requires_grad_(k >= waiting)
