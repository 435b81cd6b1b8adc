"""Any optimizer and schedule of torch by its name, parameters in groups, and parts that are not trained."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LambdaLR, LinearLR, LRScheduler, OneCycleLR, ReduceLROnPlateau, SequentialLR

from rnnzoo.errors import RnnZooError, did_you_mean

SCHEDULES = ("one_cycle", "cosine", "slanted", "constant")
KINDS = ("bias", "norm", "embedding")  # of parameters, for no_decay
_WARM_FROM = 1e-3  # of the learning rate, where a warm-up starts
_OURS = ("interval", "frequency", "monitor", "strict")  # Lightning's, beside the arguments of a schedule
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)


@dataclass(kw_only=True)
class Optimization:
    """How a task is trained: the optimizer, its groups of parameters, the schedule of its learning rate.

    Args:
        optimizer: any of torch.optim's by name, or an optimizer's import path.
        optimizer_args: its own arguments, by name, but for the learning rate and the weight decay.
        learning_rate: the highest of the schedule, and of the layer that is nearest to the output.
        weight_decay: the optimizer's; None leaves it at the optimizer's own default.
        no_decay: kinds of parameters without weight decay: "bias" (all of one dimension: biases, gains, rates),
            "norm", "embedding".
        layer_decay: the learning rate falls by this factor from each layer to the one below it, the embedding's
            lowest (Howard & Ruder 2018); 1 for the same everywhere.
        schedule: of the learning rate: "one_cycle" (Smith & Topin 2018), "slanted" (Howard & Ruder 2018: a line up in
            the first tenth, `cut_frac`, from the highest divided by 32, `ratio`, and a line back), "cosine" or
            "constant" over the whole run; or any of torch.optim.lr_scheduler's by name, or its import path.
        schedule_args: the schedule's own arguments, by name; and "interval", "step" or "epoch", in which it counts
            ("epoch" for torch's), and the "monitor" of ReduceLROnPlateau ("val_loss").
        warmup: steps, or below 1 the part of all steps, in which the learning rate first rises from a thousandth.
        freeze: parts that are not trained, by their names or the ends or middles of these: embedding, layers.0.
        unfreeze_every: epochs after which one more layer is trained: at first the head alone, then the layer below it,
            the embedding last (Howard & Ruder 2018, gradual unfreezing). None trains all from the start.

    Raises:
        RnnZooError: a value out of range, or a name that there is not.
    """

    optimizer: str = "AdamW"
    optimizer_args: dict[str, Any] | None = None
    learning_rate: float = 3e-3
    weight_decay: float | None = None
    no_decay: list[str] | None = None
    layer_decay: float = 1.0
    schedule: str = "one_cycle"
    schedule_args: dict[str, Any] | None = None
    warmup: float = 0.0
    freeze: list[str] | None = None
    unfreeze_every: int | None = None

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise RnnZooError(f"learning_rate must be above 0, not {self.learning_rate}")
        if self.weight_decay is not None and not self.weight_decay >= 0:
            raise RnnZooError(f"weight_decay must be 0 or more, not {self.weight_decay}")
        if not 0 < self.layer_decay <= 1:
            raise RnnZooError(f"layer_decay must be in (0, 1], not {self.layer_decay}")
        if not self.warmup >= 0:
            raise RnnZooError(f"warmup must be 0 or more, not {self.warmup}")
        if self.unfreeze_every is not None and self.unfreeze_every < 1:
            raise RnnZooError(f"unfreeze_every must be 1 epoch or more, not {self.unfreeze_every}")
        for kind in self.no_decay or ():
            if kind not in KINDS:
                near = did_you_mean(kind, KINDS)
                raise RnnZooError(f"no_decay has {kind!r}{near} it may have: {', '.join(KINDS)}")
        kind_of = _find(self.optimizer, torch.optim, Optimizer, "optimizer")
        given = self.optimizer_args or {}
        for name, setting in (("lr", "learning_rate"), ("weight_decay", "weight_decay")):
            if name in given:
                raise RnnZooError(f"optimizer_args has {name!r}, which the setting {setting} is for")
        _check_arguments("optimizer_args", given, kind_of)
        if self.schedule in SCHEDULES:
            kind_of = _ARGUMENTS_OF[self.schedule]
        else:
            kind_of = _find(self.schedule, lr_scheduler, (LRScheduler, ReduceLROnPlateau), "schedule", SCHEDULES)
        _check_arguments("schedule_args", self.schedule_args or {}, kind_of, _OURS)

    @property
    def needs_steps(self) -> bool:
        """Whether the schedule has to know how many steps the run has."""
        return (self.schedule in SCHEDULES and self.schedule != "constant") or 0 < self.warmup < 1

    # ---- what is trained

    def freeze_(self, module: nn.Module) -> None:
        """Has no gradient reach the parts that are frozen.

        Raises:
            RnnZooError: a name that nothing has, or nothing is left to train.
        """
        names = dict(module.named_parameters())
        for part in self.freeze or ():
            found = [name for name in names if f".{part}." in f".{name}."]
            if not found:
                parts = sorted({name.rpartition(".")[0] for name in names})
                raise RnnZooError(f"freeze has {part!r}{did_you_mean(part, parts)} there are: {', '.join(parts)}")
            for name in found:
                names[name].requires_grad_(False)
        if self.freeze and not any(parameter.requires_grad for parameter in names.values()):
            raise RnnZooError(f"freeze={self.freeze} leaves nothing to train")

    def groups(self, module: nn.Module) -> list[dict[str, Any]]:
        """The parameters that are trained, by learning rate and weight decay."""
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        depths = depths_of(module)
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                rate = self.learning_rate * self.layer_decay ** depths[name]
                groups.setdefault((rate, self._decays(module, name, parameter)), []).append(parameter)
        own = {} if self.weight_decay is None else {"weight_decay": self.weight_decay}
        return [
            {"params": parameters, "lr": rate, **(own if decays else {"weight_decay": 0.0})}
            for (rate, decays), parameters in groups.items()
        ]

    def _decays(self, module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
        owner = module.get_submodule(name.rpartition(".")[0])
        kinds = {
            "bias": parameter.dim() < 2,
            "norm": isinstance(owner, _NORMS),
            "embedding": isinstance(owner, nn.Embedding | nn.EmbeddingBag),
        }
        return not any(kinds[kind] for kind in self.no_decay or ())

    # ---- how

    def make_optimizer(self, module: nn.Module) -> Optimizer:
        """The optimizer over `groups`.

        Raises:
            RnnZooError: it does not take what it is given.
        """
        kind = _find(self.optimizer, torch.optim, Optimizer, "optimizer")
        arguments = dict(self.optimizer_args or {})
        takes = inspect.signature(kind).parameters
        dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
        if "eps" in takes and "eps" not in arguments and isinstance(takes["eps"].default, float):
            # 1e-8 is zero to a float16, and 0/0 NaN
            arguments["eps"] = max(takes["eps"].default, torch.finfo(dtype).tiny)
        groups = self.groups(module)
        if "weight_decay" not in takes:
            if self.weight_decay:
                raise RnnZooError(f"weight_decay={self.weight_decay} has no effect: {kind.__name__} has none")
            for group in groups:
                group.pop("weight_decay", None)
        try:
            made: Optimizer = kind(groups, lr=self.learning_rate, **arguments)
        except (TypeError, ValueError) as error:
            raise RnnZooError(f"optimizer {kind.__name__}: {error}") from error
        return made

    def make_schedules(self, optimizer: Optimizer, steps: float, limits: str) -> list[dict[str, Any]]:
        """The schedules as Lightning takes them.

        Args:
            optimizer: whose learning rates they set.
            steps: of the whole run; infinite where that is not known.
            limits: what the trainer was told of it, its steps and epochs, for a message.

        Raises:
            RnnZooError: the schedule needs to know where the run ends, or does not take what it is given.
        """
        arguments = dict(self.schedule_args or {})
        config = {name: arguments.pop(name) for name in _OURS if name in arguments}
        known = 1 <= steps < float("inf")
        if not known and self.needs_steps:
            raise RnnZooError(
                f"schedule={self.schedule!r} needs to know where the run ends: set trainer.max_steps, or for data of a"
                f" known length trainer.max_epochs (now {limits}), or schedule='constant'"
            )
        warm = int(self.warmup * steps) if 0 < self.warmup < 1 else int(self.warmup)
        if known and warm >= steps:
            raise RnnZooError(f"warmup={warm} is not shorter than the run, which has {int(steps):,} steps")
        made = self._main(optimizer, int(steps) - warm if known else 0, arguments)
        ours = self.schedule in SCHEDULES
        config = {"interval": "step" if ours else "epoch", **config}
        if config["interval"] not in ("step", "epoch"):
            raise RnnZooError(f"schedule_args: interval must be 'step' or 'epoch', not {config['interval']!r}")
        if isinstance(made, ReduceLROnPlateau):
            config.setdefault("monitor", "val_loss")
        if not warm:
            return [{"scheduler": made, **config}]
        rise = LinearLR(optimizer, _WARM_FROM, total_iters=warm)
        if config["interval"] == "step" and not isinstance(made, ReduceLROnPlateau):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of steps in an order that torch itself makes
                return [{"scheduler": SequentialLR(optimizer, [rise, made], [warm]), **config}]
        return [{"scheduler": rise, "interval": "step"}, {"scheduler": made, **config}]

    def _main(self, optimizer: Optimizer, steps: int, arguments: dict[str, Any]) -> Any:
        try:
            if self.schedule == "constant":
                return LambdaLR(optimizer, _constant)
            if self.schedule == "slanted":
                return LambdaLR(optimizer, partial(slanted, steps=steps, **arguments))
            if self.schedule == "cosine":
                return lr_scheduler.CosineAnnealingLR(optimizer, **{"T_max": steps, **arguments})
            if self.schedule == "one_cycle":
                steps = max(steps, 2)
                rise = max(0.1, 1.5 / steps)  # torch counts from 0: a tenth of ten steps is none, and divides by it
                highest = [group["lr"] for group in optimizer.param_groups]
                given = {"max_lr": highest, "total_steps": steps, "pct_start": rise, **arguments}
                return OneCycleLR(optimizer, **given)
            kind = _find(self.schedule, lr_scheduler, (LRScheduler, ReduceLROnPlateau), "schedule", SCHEDULES)
            return kind(optimizer, **arguments)
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise RnnZooError(f"schedule {self.schedule}: {error}") from error


def _constant(step: int) -> float:
    return 1.0


def slanted(step: int, steps: int, cut_frac: float = 0.1, ratio: float = 32) -> float:
    """Howard & Ruder 2018, slanted triangular learning rates: the part of the highest rate at `step` of `steps`.

    It falls to 1 / ratio at the end of the run. Theirs divides by cut (1 / cut_frac - 1), with cut rounded down, where
    the steps that are left stand here: it would fall below zero in a short run.
    """
    cut = max(int(steps * cut_frac), 1)
    p = step / cut if step < cut else 1 - (step - cut) / max(steps - cut, 1)
    return (1 + p * (ratio - 1)) / ratio


_ARGUMENTS_OF: dict[str, Any] = {
    "one_cycle": OneCycleLR,
    "slanted": slanted,
    "cosine": lr_scheduler.CosineAnnealingLR,
    "constant": LambdaLR,
}


def _find(name: str, module: Any, base: Any, setting: str, others: Sequence[str] = ()) -> Any:
    """A class of `module` by its name, or of another by its path."""
    path, _, last = name.rpartition(".")
    try:
        found = getattr(import_module(path) if path else module, last, None)
    except ImportError as error:
        raise RnnZooError(f"{setting} {name!r} cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, base)) or inspect.isabstract(found) or found is base:
        there = [n for n, c in vars(module).items() if isinstance(c, type) and issubclass(c, base) and n[0] != "_"]
        there = [*others, *sorted({*there} - {"Optimizer", "LRScheduler"})]
        near = did_you_mean(name, there)
        raise RnnZooError(f"{setting} {name!r} is unknown{near} there are: {', '.join(there)}, and import paths")
    return found


def _check_arguments(setting: str, given: Mapping[str, Any], kind: Any, others: Sequence[str] = ()) -> None:
    takes = inspect.signature(kind).parameters
    if any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        return
    known = [*list(takes)[1:], *others]
    for name in given:
        if name not in known:
            near = did_you_mean(name, known)
            raise RnnZooError(f"{setting} has {name!r}{near} {kind.__name__} takes: {', '.join(known)}")


def depths_of(module: nn.Module) -> dict[str, int]:
    """How many layers lie above each parameter: 0 for the head, one more for each layer below, the embedding's most."""
    from rnnzoo.models.blocks import BlockStack
    from rnnzoo.rnn import RNN

    depths = {name: 0 for name, _ in module.named_parameters()}
    highest = 0
    stacks: list[str] = []
    for prefix, rnn in module.named_modules():
        if isinstance(rnn, RNN | BlockStack) and not any(prefix.startswith(f"{stack}.") for stack in stacks):
            highest = max(highest, rnn.num_layers)
            if isinstance(rnn, BlockStack):
                stacks.append(prefix)  # whose layers are its blocks, each with an RNN in it
            for name in depths:
                inner = name.removeprefix(f"{prefix}.").split(".") if name.startswith(f"{prefix}.") else []
                if len(inner) > 1 and inner[1].isdigit():  # layers.0..., connections.0..., blocks.0....
                    depths[name] = rnn.num_layers - int(inner[1])
    for prefix, embedding in module.named_modules():
        if isinstance(embedding, nn.Embedding | nn.EmbeddingBag):
            depths |= {name: highest + 1 for name in depths if name.startswith(f"{prefix}.")}
    return depths
