"""NaN and Inf in a loss or a gradient: said and kept before they reach a weight, and then as the config says."""

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn
from torch.optim import Optimizer

from rnnzoo.cells.contract import at_least_one
from rnnzoo.errors import RnnZooError
from rnnzoo.training.bad_batches import FOLDER, rows_of, save_batch, where_it_begins
from rnnzoo.training.carried_state import CarriedState
from rnnzoo.training.diagnostics import as_evaluated
from rnnzoo.training.messages import relative, warn

SKIPPED = "skipped_steps"
_SAID = 4  # parameters that are named
_MOST = 100  # files that a run writes


@dataclass
class _Seen:
    """A batch of the step that is being made."""

    batch: Any
    index: int
    loss: Tensor | None = None

    @property
    def bad(self) -> bool:
        return self.loss is not None and not bool(self.loss.isfinite().all())


class BadNumbers(Callback):
    """Looks at the loss and the gradient before every optimizer step, and keeps what is not finite from the weights.

    It says which batch, rows, layer and step they belong to, and saves the batch in the run's folder, of the first
    hundred steps, as ``bad_batches/step_N.pt``, N as in metrics.csv. ``torch.load`` reads "batch", "carried" (the state
    that it was read with), "loss", "epoch", "batch_index", "step", "rank", "layer" and "parameters" (those whose
    gradient is not finite). With on_bad = stop training ends with an error; the weights are those before the step.
    Otherwise the step is left out: weights, the optimizer's state, statistics of batch norms and a carried state stay
    as they were before it, while the data and the schedule go on.

    Where float16 is scaled (16-mixed), an infinite gradient is no error: the scaler leaves the step out and lowers its
    scale. ``skipped_steps``, how many were left out so far, is logged there, and wherever one was. A scale
    of 1 or below that does not help is an error. Processes decide alike: under DDP the gradient is that of all of them,
    and one whose loss is not finite makes it so.

    It costs one norm of the gradient a step, and on a GPU one wait for it.

    Args:
        on_bad: "stop"; "skip", which leaves the step out; or "restore", which also puts back the weights and the
            optimizer's state of the last copy, for a model that has gone astray before its numbers did.
        keep_every: steps between two copies in memory, for "restore"; there is one at a time.
        limit: of bad steps one after another, after which training stops whatever `on_bad` says.

    Raises:
        RnnZooError: `on_bad` or a number out of range.
    """

    def __init__(
        self, on_bad: Literal["stop", "skip", "restore"] = "stop", keep_every: int = 100, limit: int = 10
    ) -> None:
        if on_bad not in ("stop", "skip", "restore"):
            raise RnnZooError(f"on_bad must be stop, skip or restore, not {on_bad!r}")
        self.on_bad = on_bad
        self.keep_every, self.limit = at_least_one("keep_every", keep_every), at_least_one("limit", limit)
        self.skipped = 0
        self._in_a_row = 0
        self._seen: list[_Seen] = []
        self._copy: dict[str, Any] | None = None
        self._norms: list[nn.Module] = []
        self._before: Any = None

    def state_dict(self) -> dict[str, Any]:
        return {"skipped": self.skipped} if self.skipped else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped = int(state_dict.get("skipped", 0))

    # ---- what a step begins with

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._seen, self._copy, self._in_a_row = [], None, 0
        self._norms = [m for m in pl_module.modules() if getattr(m, "track_running_stats", False)]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        first = not self._seen
        self._seen.append(_Seen(batch, batch_idx))
        if first:
            # states are never written over, but for the statistics of a norm
            norms = [{n: b.clone() for n, b in m.named_buffers(recurse=False)} for m in self._norms]
            self._before = [each.snapshot() for each in carried(pl_module)], norms
            due = trainer.global_step % self.keep_every == 0 or self._copy is None
            if self.on_bad == "restore" and due and self._in_a_row == 0:
                self._keep(trainer, pl_module)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        seen = loss.detach()
        if self._seen:
            self._seen[-1].loss = seen  # no copy: nothing writes into a loss
        if trainer.world_size > 1 and loss.requires_grad:  # so that the others' gradients are not finite either
            loss.register_hook(lambda grad: grad * torch.where(seen.isfinite(), 1.0, math.nan))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if not trainer.fit_loop._should_accumulate():
            self._seen = []

    # ---- before the weights change

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        bad = is_bad(optimizer, [seen.loss for seen in self._seen if seen.loss is not None])
        if trainer.world_size > 1 and not isinstance(trainer.strategy, DDPStrategy | SingleDeviceStrategy):
            bad = trainer.strategy.reduce_boolean_decision(bad, all=False)  # where each has a part of the gradient
        if not bad:
            self._in_a_row = 0
        elif not self._is_scaling(trainer, scaler):
            self._act(trainer, pl_module, optimizer)
        if scaler is not None or self.skipped:
            pl_module.log(SKIPPED, float(self.skipped), rank_zero_only=True)

    def _is_scaling(self, trainer: Trainer, scaler: Any) -> bool:
        """Whether the loss was merely scaled too high, which the scaler sees to."""
        if scaler is None or any(_gathered(trainer, any(seen.bad for seen in self._seen))) or scaler.get_scale() <= 1:
            return False
        self.skipped += 1
        return True

    def _act(self, trainer: Trainer, module: LightningModule, optimizer: Optimizer) -> None:
        self._in_a_row += 1
        message, stale = self._report(trainer, module)
        if self.on_bad == "stop":
            raise RnnZooError(f"{message}; --numbers.on_bad skip leaves such a step out, restore goes back before it")
        if stale and (self.on_bad == "skip" or self._copy is None):
            raise RnnZooError(f"{message}; to leave out the step does not mend it, --numbers.on_bad restore may")
        if self._in_a_row >= self.limit:
            raise RnnZooError(f"{message}; such steps in a row: {self.limit} (numbers.limit)")
        self.skipped += 1
        warn(f"{message}; the step is left out{self._put_back(module, optimizer, trainer)}")

    def _report(self, trainer: Trainer, module: LightningModule) -> tuple[str, bool]:
        """Saves the batches; what is known of them, and whether weights were not finite before."""
        step, rank = trainer.global_step, trainer.global_rank
        parameters = [n for n, p in module.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        weights = [n for n, p in module.named_parameters() if not p.isfinite().all()]
        bad = [seen for seen in self._seen if seen.bad]
        somewhere = any(_gathered(trainer, bool(bad)))
        mine = bad if somewhere else self._seen
        layer = self._first_layer(trainer, module, bad[0]) if bad else ""
        path = self._save(trainer, module, mine, layer, parameters)
        said = self._describe(mine, rank if trainer.world_size > 1 else None, layer, parameters, weights, path)
        details = "; ".join(filter(None, _gathered(trainer, said if mine else "")))
        return f"step {step} (epoch {trainer.current_epoch + 1}): {details}", bool(weights)

    def _describe(
        self, mine: list[_Seen], rank: int | None, layer: str, parameters: list[str], weights: list[str], path: str
    ) -> str:
        if not mine:
            return ""
        indices = f"batch {mine[0].index}" + (f" to {mine[-1].index}" if len(mine) > 1 else "")
        rows = rows_of(mine[0].batch)
        where = ", ".join(filter(None, [indices, rows, "" if rank is None else f"process {rank}"]))
        losses = ", ".join(f"{float(seen.loss):.4g}" for seen in mine if seen.loss is not None)
        if any(seen.bad for seen in mine):
            what = f"the loss of {where} is {losses}" + (f", first in the output of {layer}" if layer else "")
        else:
            what = f"the gradient of {_some(parameters)} is not finite for {where}, whose loss is {losses}"
        stale = f"; before this step {_some(weights)} was not finite" if weights else ""
        return what + stale + (f"; saved as {path}" if path else "; not saved")

    def _first_layer(self, trainer: Trainer, module: LightningModule, seen: _Seen) -> str:
        judge = getattr(module, "judge", None)
        if judge is None:  # a training step of one's own may do anything: it is not run again
            return ""
        before, after = self._before[0], [each.snapshot() for each in carried(module)]
        _put(module, before)
        with torch.no_grad(), torch.random.fork_rng(), trainer.precision_plugin.forward_context(), as_evaluated(module):
            found = where_it_begins(module, lambda: judge(seen.batch, "train"))
        _put(module, after)
        return found

    def _save(
        self, trainer: Trainer, module: LightningModule, mine: list[_Seen], layer: str, parameters: list[str]
    ) -> str:
        """The path of the file, on the process that has written it."""
        folder = None if trainer.fast_dev_run else trainer.log_dir  # type: ignore[attr-defined]  # set by a connector
        if folder is None or not mine or self.skipped >= _MOST:  # log_dir is asked of all processes
            return ""
        beside = f".rank_{trainer.global_rank}" if trainer.world_size > 1 else ""
        path = Path(folder) / FOLDER / f"step_{trainer.global_step}{beside}.pt"
        one = mine[0] if len(mine) == 1 else None
        content = {
            "batch": one.batch if one else [seen.batch for seen in mine],
            "batch_index": one.index if one else [seen.index for seen in mine],
            "loss": one.loss if one else [seen.loss for seen in mine],
            "carried": self._before[0],
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "rank": trainer.global_rank,
            "layer": layer,
            "parameters": parameters,
        }
        try:
            save_batch(path, content)
        except OSError as error:
            return f"nothing ({error.strerror})"
        return relative(str(path))

    # ---- copies

    def _keep(self, trainer: Trainer, module: LightningModule) -> None:
        """Copies weights, buffers and the optimizers' state, where all of the weights are finite."""
        if all(bool(p.isfinite().all()) for p in module.parameters()):
            self._copy = {
                "step": trainer.global_step,
                "module": {name: a.clone() for name, a in module.state_dict(keep_vars=False).items() if _is_tensor(a)},
                "optimizers": [copy.deepcopy(o.state_dict()["state"]) for o in trainer.optimizers],
                "carried": [each.snapshot() for each in carried(module)],
            }

    def _put_back(self, module: LightningModule, optimizer: Optimizer, trainer: Trainer) -> str:
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = None  # which an optimizer passes over
        before, norms = self._before
        if self.on_bad == "restore" and self._copy is not None:
            copied = self._copy
            with torch.no_grad():
                for name, a in module.state_dict().items():
                    if name in copied["module"]:
                        a.copy_(copied["module"][name])
            for each, state in zip(trainer.optimizers, copied["optimizers"], strict=True):
                # groups hold the learning rate, which the schedule has moved on since
                each.load_state_dict({"state": copy.deepcopy(state), "param_groups": each.state_dict()["param_groups"]})
            _put(module, copied["carried"])
            return f", and weights and optimizer are those of step {copied['step']} again"
        _put(module, before)
        for part, buffers in zip(self._norms, norms, strict=True):
            for name, value in buffers.items():
                part.get_buffer(name).copy_(value)
        return ""


def is_bad(optimizer: Optimizer, losses: list[Tensor]) -> bool:
    """Whether a gradient of the optimizer's parameters or a loss is not finite."""
    grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    grads = [grad.coalesce().values() if grad.is_sparse else grad for grad in grads]
    norms = [torch.nn.utils.get_total_norm(grads)] if grads else []
    finite = [a.isfinite().all() for a in (*norms, *losses)]
    if not finite or bool(finite[0] if len(finite) == 1 else torch.stack(finite).all()):
        return False
    # the sum of squares overflows where no number does: each of them is asked
    return not all(bool(a.isfinite().all()) for a in (*grads, *losses))


def carried(module: LightningModule) -> list[CarriedState]:
    """The states that a module carries from batch to batch."""
    return [value for value in vars(module).values() if isinstance(value, CarriedState)]


def _put(module: LightningModule, before: list[dict[str, Any]]) -> None:
    for each, states in zip(carried(module), before, strict=True):
        each.restore(states)


def _gathered(trainer: Trainer, value: Any) -> list[Any]:
    """What every process has; all of them ask."""
    if trainer.world_size == 1:
        return [value]
    values: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(values, value)
    return values


def _some(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _SAID
    return ", ".join(names[:_SAID]) + (f" and {more} more" if more > 0 else "")


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)
