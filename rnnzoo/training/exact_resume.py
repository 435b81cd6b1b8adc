"""A run that was interrupted goes on as if it had not been: what Lightning's checkpoints leave out is kept beside it.

Lightning keeps weights, optimizer, schedules and its counts. Left out are the generators that dropout draws from, the
place in the data, and the state that is carried from batch to batch; and it logs the step before a checkpoint within an
epoch after it is written.
"""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from rnnzoo.data.position import start_at
from rnnzoo.training.carried_state import CarriedState
from rnnzoo.training.messages import warn

KEY = "rnnzoo_resume"


class ExactResume(Callback):
    """Keeps in each checkpoint where the training data stand, every process's generators, and its carried states.

    The order of our data depends on the seed and the epoch alone, so that the number of an epoch's batches that were
    trained on says where they stand. Validation leaves the generators as they were: a run that goes on from the end of
    an epoch does not validate it again. A checkpoint that is written before a step, as `last.ckpt` within an epoch is,
    has Lightning's counts as they were at the end of the step before, which is how Lightning itself goes on.
    """

    def __init__(self) -> None:
        self._saved: dict[str, Any] | None = None
        self._before: dict[str, Tensor] | None = None

    # ---- writing

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn != TrainerFn.FITTING or "loops" not in checkpoint:
            return
        own = {"generators": generators(), "carried": carried_states(pl_module)}
        every = [own]
        if trainer.world_size > 1:  # of as many processes as there are, the first one writes
            every = [own] * trainer.world_size
            torch.distributed.all_gather_object(every, own)
        epoch, batches = position(trainer)
        rows = 0
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger) and trainer.is_global_zero:
                logger.save()
                rows = getattr(logger, "rows", 0)
        checkpoint[KEY] = {"epoch": epoch, "batches": batches, "rows": rows, "processes": every}
        if before_a_step(trainer):
            _as_at_the_end_of_the_step(checkpoint["loops"]["fit_loop"])

    # ---- reading

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn != TrainerFn.FITTING or KEY not in checkpoint:
            return
        self._saved = checkpoint[KEY]
        start_at(trainer, self._saved["epoch"], self._saved["batches"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        saved, self._saved = self._saved, None
        if saved is None:
            if trainer.global_rank:  # Lightning seeds all processes alike: they would drop the same units
                torch.manual_seed(torch.initial_seed() + trainer.global_rank)
            return
        every = saved["processes"]
        if len(every) != trainer.world_size:
            warn(
                f"the checkpoint is of {len(every)} processes, and this run has {trainer.world_size}: dropout draws"
                " other numbers, and carried states start anew"
            )
            return
        own = every[trainer.global_rank]
        restore(own["generators"])
        for name, states in own["carried"].items():
            carried = getattr(pl_module, name, None)
            if isinstance(carried, CarriedState):
                carried.put_back("train", _on_device(states, pl_module.device))

    # ---- validation

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._before = generators()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._before is not None:
            restore(self._before)
            self._before = None


def rows_of(checkpoint: Mapping[str, Any]) -> int:
    """How many rows metrics.csv had when a checkpoint was written."""
    return int(checkpoint.get(KEY, {}).get("rows", 0))


# ---- where a run stands


def before_a_step(trainer: Trainer) -> bool:
    """Whether a batch is there, and has not been trained on yet: in `on_train_batch_start`."""
    current: Any = trainer.fit_loop.epoch_loop.batch_progress.current
    return current.ready == current.started + 1


def between_steps(trainer: Trainer, batch_idx: int) -> bool:
    """Whether no gradient of batches before this one waits for the optimizer's step."""
    return batch_idx % trainer.accumulate_grad_batches == 0


def position(trainer: Trainer) -> tuple[int, int]:
    """The epoch of the next training batch, and how many of its batches were trained on."""
    loop = trainer.fit_loop
    epochs: Any = loop.epoch_progress.current
    batches: Any = loop.epoch_loop.batch_progress
    if epochs.started <= epochs.processed:  # between two epochs
        return epochs.processed, 0
    done = batches.current.processed
    last = batches.is_last_batch and not before_a_step(trainer)
    return (epochs.processed + 1, 0) if last or done >= trainer.num_training_batches else (epochs.processed, done)


def _as_at_the_end_of_the_step(loop: dict[str, Any]) -> None:
    """Sets Lightning's counts of batches back to where they were when the last step ended."""
    progress = loop["epoch_loop.batch_progress"]
    for count in (progress["total"], progress["current"]):
        count["ready"] -= 1
        count["completed"] -= 1
    progress["is_last_batch"] = False
    loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1


# ---- generators


def generators() -> dict[str, Tensor]:
    """The states of this process's random generators: torch's, of the CPU and of its GPU, Python's and NumPy's."""
    _, words, gauss = random.getstate()
    _, keys, at, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002  # a user's code may draw from it
    made = {
        "torch": torch.get_rng_state(),
        "python": torch.tensor(words),
        "python_gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "numpy": torch.from_numpy(np.asarray(keys, dtype=np.int64)),
        "numpy_rest": torch.tensor([at, has_gauss, cached], dtype=torch.float64),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        made["cuda"] = torch.cuda.get_rng_state()
    return made


def restore(states: Mapping[str, Tensor]) -> None:
    """Puts the states that `generators` gave in the place of those that are there."""
    torch.set_rng_state(states["torch"].cpu())
    gauss = states["python_gauss"].tolist()
    random.setstate((3, tuple(states["python"].tolist()), gauss[0] if gauss else None))
    at, has_gauss, cached = states["numpy_rest"].tolist()
    keys = states["numpy"].cpu().numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, int(at), int(has_gauss), cached))  # noqa: NPY002
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"].cpu())


# ---- carried states


def carried_states(module: LightningModule) -> dict[str, Any]:
    """The states that training carries on, by the attribute of the module that keeps them; tuples of CPU tensors."""
    found = {name: value["train"] for name, value in vars(module).items() if isinstance(value, CarriedState)}
    return {name: _plain(state) for name, state in found.items() if state is not None}


def _plain(state: Any) -> Any:
    """A state without the classes that only a pickle could hold."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    return [_plain(a) for a in state] if isinstance(state, list) else tuple(_plain(a) for a in state)


def _on_device(state: Any, device: torch.device) -> Any:
    if isinstance(state, Tensor):
        return state.to(device)
    return type(state)(_on_device(a, device) for a in state)
