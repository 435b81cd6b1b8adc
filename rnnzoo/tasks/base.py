"""What every task shares: the optimizer and its schedule, losses and metrics, and what a checkpoint says of itself."""

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR
from torchmetrics import MetricCollection

from rnnzoo import __version__
from rnnzoo.cells.contract import Cell
from rnnzoo.cells.registry import check_constants, find, kind, name_of
from rnnzoo.errors import RnnZooError, did_you_mean
from rnnzoo.models.regular import regular
from rnnzoo.rnn import RNN
from rnnzoo.tasks.means import ExactMean
from rnnzoo.training.progress import digits
from rnnzoo.transforms.gates import bare

Schedule = Literal["one_cycle", "cosine", "constant"]


class Task(LightningModule):
    """The base of the LightningModules: AdamW on a schedule, a loss, and torchmetrics, all named alike.

    A task logs ``train_loss`` per step, and ``val_loss``, ``test_loss`` and its own metrics per epoch. Gradients are
    clipped by the Trainer (``gradient_clip_val``).

    Args:
        learning_rate: the highest of the schedule.
        weight_decay: AdamW's.
        schedule: of the learning rate over the whole run: "one_cycle" (Smith & Topin 2018), "cosine" or "constant".

    Raises:
        RnnZooError: a learning rate or weight decay out of range, or an unknown schedule.
    """

    may_change: ClassVar[frozenset[str]] = frozenset({"learning_rate", "weight_decay", "schedule", "kernel", "dropout"})

    def __init__(self, *, learning_rate: float, weight_decay: float, schedule: Schedule):
        super().__init__()
        if not learning_rate > 0:
            raise RnnZooError(f"learning_rate must be above 0, not {learning_rate}")
        if not weight_decay >= 0:
            raise RnnZooError(f"weight_decay must be 0 or more, not {weight_decay}")
        if schedule not in get_args(Schedule):
            raise RnnZooError(f"schedule must be one of {', '.join(get_args(Schedule))}, not {schedule!r}")
        self.learning_rate, self.weight_decay, self.schedule = learning_rate, weight_decay, schedule
        self.losses = MetricCollection(
            {f"{stage}_loss": ExactMean() for stage in ("val", "test")}, compute_groups=False
        )
        self._fresh: tuple[dict[str, Any], list[dict[str, Any]]] | None = None

    @property
    def rnn(self) -> RNN:
        """The recurrent layers."""
        raise RnnZooError(f"{type(self).__name__} must define rnn")

    def report(self) -> str:
        """One line: which cell, how large, and which kernel runs it."""
        rnn = self.rnn
        x = self.example_input()
        explanation = rnn.explain(x, **regular(rnn, x))
        cell = name_of(kind(bare(rnn._cells[0][0])))
        weights = sum(p.numel() for p in self.parameters() if p.requires_grad)
        threads = f"{torch.get_num_threads()} threads" if self.device.type == "cpu" else str(self.device)
        return (
            f"{cell}, {rnn.num_layers} x {rnn.hidden_size} units, {weights:,} parameters in all;"
            f" runs by kernel {explanation.chosen!r} on {threads}"
        )

    def why_slow(self) -> str:
        """Why a loop in Python runs the RNN, where no kernel was asked for and one is left to it; else nothing."""
        rnn = self.rnn
        if rnn.kernel != "auto":
            return ""
        x = self.example_input()
        return rnn.explain(x, **regular(rnn, x)).why_reference("fused" if self.device.type == "cpu" else "triton")

    def try_out(self) -> None:
        """Runs two steps of the RNN, so that a cell's mistake shows at once.

        Raises:
            RnnZooError: the cell or its kernel cannot run.
        """
        x = self.example_input()[:2, :2]
        with torch.no_grad():
            self.rnn(x, **regular(self.rnn, x))

    def example_input(self) -> Tensor:
        """Something like what the RNN gets in a training step, for ``explain``."""
        shape = (32, 128) if self.rnn.batch_first else (128, 32)
        return torch.zeros(*shape, self.rnn.input_size, device=self.device, dtype=self.dtype)  # type: ignore[arg-type]

    def closing_lines(self, metrics: dict[str, float], data: Any, checkpoint: str) -> list[str]:
        """What the command line prints after a run: what was reached, where the checkpoint lies, what to try next."""
        tested = sorted((name, value) for name, value in metrics.items() if name.startswith("test"))
        reached = ", ".join(f"{name} {digits(value)}" for name, value in tested)
        return [f"held-out: {reached}", f"checkpoint: {checkpoint}"]

    # ---- optimizer and schedule

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        eps = max(1e-8, torch.finfo(self.dtype).tiny)  # type: ignore[arg-type]  # 1e-8 is zero to a float16, 0/0 NaN
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, eps=eps)
        scheduler = self._scheduler(optimizer)
        groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
        self._fresh = (dict(scheduler.state_dict()), groups)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _scheduler(self, optimizer: Optimizer) -> LRScheduler:
        if self.schedule == "constant":
            return LambdaLR(optimizer, _constant)
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf") or steps < 1:
            raise RnnZooError(
                f"schedule={self.schedule!r} needs to know where the run ends: set trainer.max_epochs or"
                f" trainer.max_steps (now {self.trainer.max_epochs} and {self.trainer.max_steps}),"
                " or schedule='constant'"
            )
        if self.schedule == "cosine":
            return CosineAnnealingLR(optimizer, T_max=int(steps))
        steps = max(int(steps), 2)
        rise = max(0.1, 1.5 / steps)  # torch counts from 0: a tenth of ten steps would be no step, and divides by it
        return OneCycleLR(optimizer, max_lr=self.learning_rate, total_steps=steps, pct_start=rise)

    def on_train_start(self) -> None:
        """After a resume the schedule is laid anew, and gone through to where the checkpoint left it.

        So a learning rate, weight decay, schedule or number of epochs that was changed wins over the checkpoint's, and
        where none was, the rates are those of a run that was never interrupted.
        """
        done = self.trainer.global_step
        if self._fresh is None or not done:
            return
        fresh, groups = self._fresh
        scheduler = self.trainer.lr_scheduler_configs[0].scheduler
        assert isinstance(scheduler, LRScheduler)  # configure_optimizers made it
        for group, new in zip(self.trainer.optimizers[0].param_groups, groups, strict=True):
            group.update(new)
        scheduler.load_state_dict(dict(fresh))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it wants optimizer steps between; those were made before the resume
            for _ in range(min(done, getattr(scheduler, "total_steps", done + 1) - 1)):
                scheduler.step()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        for cell in self.rnn.modules():
            if isinstance(cell, Cell):
                cell.constrain_()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leaves out the state of a schedule of another kind, which this one could not load."""
        if checkpoint.get("hyper_parameters", {}).get("schedule", self.schedule) != self.schedule:
            checkpoint["lr_schedulers"] = []

    # ---- evaluation and logging

    def evaluate(self, batch: Any, stage: str) -> None:
        """Adds a batch to the metrics of `stage`, "val" or "test"."""
        raise RnnZooError(f"{type(self).__name__} must define evaluate(batch, stage)")

    def validation_step(self, batch: Any, index: int) -> None:
        self.evaluate(batch, "val")

    def test_step(self, batch: Any, index: int) -> None:
        self.evaluate(batch, "test")

    def train_loss(self, mean: Tensor, count: Tensor) -> Tensor:
        """The loss to return from a training step, with its weight among the processes'; logs the mean over all items.

        DDP takes the mean of the processes' gradients, so a process with fewer items than another would count for too
        much. Weighed by items, the gradient is that of one process which has them all.

        Args:
            mean: over the items of this process; 0 where it has none.
            count: how many items these are.
        """
        processes = 1 if self._trainer is None else self.trainer.world_size
        if processes == 1:
            self.log_train(mean)
            return mean
        own = torch.stack([mean.detach().float() * count, count.float()])
        total, items = self.trainer.strategy.reduce(own, reduce_op="sum")
        self.log_train(total / items)
        return mean * (count * processes / items)

    def log_train(self, loss: Tensor) -> None:
        """Logs a training step's loss, and shows it in the progress bar."""
        self.log("train_loss", loss, prog_bar=True)

    def log_eval(self, stage: str, loss: Tensor, weight: Tensor | float) -> None:
        """Adds `loss`, a mean over `weight` items, to the epoch's mean over all items and processes."""
        metric = self.losses[f"{stage}_loss"]
        metric.update(loss, weight)
        self.log(f"{stage}_loss", metric, prog_bar=stage == "val", on_epoch=True)

    # ---- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        kind = type(self)
        about = {"task": f"{kind.__module__}.{kind.__qualname__}", "version": __version__}
        checkpoint["rnnzoo"] = checkpoint.get("rnnzoo", {}) | about  # the command line has added its own


def _constant(step: int) -> float:
    return 1.0


def cell_and_constants(cell: Any, constants: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """What a checkpoint keeps of a cell: its registered name or import path, and its own arguments, checked."""
    cls, constants = find(cell), dict(constants or {})
    check_constants(cls, constants)
    return name_of(cls), constants


RNN_ARGS = ("transforms", "connect", "dilation")


def rnn_options(given: dict[str, Any] | None) -> dict[str, Any]:
    """Further arguments of the RNN, by their names there.

    Raises:
        RnnZooError: one that is not in `RNN_ARGS`.
    """
    for name in given or {}:
        if name not in RNN_ARGS:
            raise RnnZooError(f"rnn_args has {name!r}{did_you_mean(name, RNN_ARGS)} it may have: {', '.join(RNN_ARGS)}")
    return dict(given or {})


def contradictions(saved: Mapping[str, Any], given: Mapping[str, Any], may_change: frozenset[str]) -> list[str]:
    """For every setting that must be the checkpoint's and is not: its name and both values."""
    return [
        f"{key} is {_plain(value)!r} but the checkpoint has {_plain(saved[key])!r}"
        for key, value in given.items()
        if key in saved and key not in may_change and _plain(value) != _plain(saved[key])
    ]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else (value or {}) if isinstance(value, dict) else value
