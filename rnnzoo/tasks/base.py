"""What every task shares: settings, optimizer, losses and metrics, and what a checkpoint says of itself."""

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, cast

import pandas as pd
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.utilities import GradClipAlgorithmType
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import Metric, MetricCollection

from rnnzoo import __version__
from rnnzoo.cells.contract import Cell
from rnnzoo.cells.registry import kind, name_of
from rnnzoo.description import Description, described
from rnnzoo.errors import RnnZooError, did_you_mean
from rnnzoo.models.blocks import BlockStack
from rnnzoo.models.regular import regular
from rnnzoo.models.word_vectors import read_word_vectors, start_embedding
from rnnzoo.rnn import RNN
from rnnzoo.tasks import pretrained as weights
from rnnzoo.tasks import suggestions
from rnnzoo.tasks.means import ExactMean
from rnnzoo.tasks.settings import Settings
from rnnzoo.training.messages import say
from rnnzoo.training.predictions import table_columns
from rnnzoo.training.progress import digits
from rnnzoo.training.sharding import shard
from rnnzoo.training.unfreezing import GradualUnfreezing
from rnnzoo.transforms.gates import bare

EVALUATED = ("val", "test")


@dataclass
class Judged:
    """What a task says of a batch.

    Args:
        loss: the mean over the items of this batch, to be minimised; 0 where it has none.
        count: how many items these are.
        means: figures to log beside the loss, by name: each a mean over the same items, or (mean, its own count).
        answers: (prediction, target), over the items that have one, for the metrics; None where there are none.
    """

    loss: Tensor
    count: Tensor
    means: Mapping[str, Tensor | tuple[Tensor, Tensor]] = field(default_factory=dict)
    answers: tuple[Tensor, Tensor] | None = None


class Task(LightningModule):
    """The base of the LightningModules: recurrent layers, an optimizer on a schedule, a loss and metrics, named alike.

    A task of one's own says what it `needs` of its data, makes a `model` around ``self.settings.rnn(input_size)``, and
    defines ``judge``; ``metrics`` and ``means`` where there is more to log than the loss, ``predict_step`` where there
    is something to predict. It logs ``train_loss`` per step, and ``val_loss``, ``test_loss`` and its own figures per
    epoch. Gradients are clipped by the Trainer (``gradient_clip_val``).

    Args:
        description: of the data; what a data module has as ``description``, given by the command line.
        pretrained: a checkpoint whose weights to start from, those that fit.
        embeddings: vectors of words that the embedding of tokens starts from: a text file of word2vec's or GloVe's
            format, or a model of transformers, a folder or a name on the hub.
        settings: of the recurrent layers and their training, `rnnzoo.tasks.Settings`.

    Raises:
        RnnZooError: a setting out of range, a name that there is not, or data that lack what the task needs.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    means: ClassVar[tuple[str, ...]] = ()
    by_token: ClassVar[tuple[str, ...]] = ("model.embedding.weight",)  # parameters with a row for each token
    by_label: ClassVar[tuple[str, ...]] = ()  # parameters that belong to the labels, and start anew with others
    example_config: ClassVar[str | None] = None
    older_description: ClassVar[str | None] = None
    may_change: ClassVar[frozenset[str]] = frozenset(
        {
            *("optimizer", "optimizer_args", "learning_rate", "weight_decay", "no_decay", "layer_decay"),
            *(
                "schedule",
                "schedule_args",
                "warmup",
                "freeze",
                "unfreeze_every",
                "kernel",
                "dropout",
                "checkpoint_every",
            ),
        }
    )
    may_differ: ClassVar[frozenset[str]] = frozenset()  # beside those, from a checkpoint that is only started from

    def __init__(
        self,
        description: Description | None = None,
        *,
        pretrained: str | None = None,
        embeddings: str | None = None,
        **settings: Any,
    ):
        super().__init__()
        older = self.older_description
        if older is not None and older in settings:
            value = settings[older]  # no function may get settings but Settings: the command line reads it here
            del settings[older]
            description = described(value, older)
        known = [setting.name for setting in fields(Settings)]
        if unknown := [name for name in settings if name not in known]:
            near, others = did_you_mean(unknown[0], known), ", ".join(name for name in known if name != "rnn_args")
            raise RnnZooError(
                f"{type(self).__name__} has no setting {unknown[0]!r}{near} beside its own it has: {others}"
            )
        self.settings = Settings(**settings)
        self.description = described(description, self.older_description)
        self.description.require(self.needs, type(self).__name__)
        self.pretrained, self.embeddings = pretrained, embeddings
        self.save_hyperparameters(ignore=["pretrained", "embeddings", "rnn_args"])
        self.hparams.pop(older or "", None)
        self.hparams.update({**self.settings.values(), "description": self.description.to_json()})
        self._hparams_initial = copy.deepcopy(self.hparams)
        names = ["loss", *self.means]
        figures: dict[str, Any] = {f"{stage}_{name}": self.mean(name) for stage in EVALUATED for name in names}
        own = self.metrics()
        figures |= {f"{stage}_{name}": own[name].clone() for stage in EVALUATED for name in own}
        self.figures = MetricCollection(figures, compute_groups=False)
        self._own = tuple(own)
        self._fresh: list[dict[str, Any]] | None = None

    # ---- what a task defines

    def judge(self, batch: Any, stage: str) -> Judged:
        """The loss and the answers of a batch in `stage`: "train", "val" or "test"."""
        raise RnnZooError(f"{type(self).__name__} must define judge(batch, stage)")

    def metrics(self) -> dict[str, Metric]:
        """Metrics of torchmetrics by name, which get the answers; made before the model, from the description."""
        return {}

    def mean(self, name: str) -> Metric:
        """What adds up one of `means`, or the loss, over an epoch."""
        return ExactMean()

    @property
    def rnn(self) -> RNN:
        """The recurrent layers."""
        found = next((module for module in self.modules() if isinstance(module, RNN | BlockStack)), None)
        if found is None:
            raise RnnZooError(f"{type(self).__name__} has no RNN: make one by self.settings.rnn(input_size)")
        return cast(RNN, found)

    def batch_of(self, inputs: Any) -> Any:
        """Plain inputs (texts, arrays, frames) as a batch for ``predict_step``."""
        raise RnnZooError(f"{type(self).__name__} must define batch_of(inputs) to predict on plain inputs")

    def predict(self, inputs: Any) -> pd.DataFrame:
        """What ``rnnzoo predict`` would write of `inputs`, as a frame; ``batch_of`` says what they may be.

        Raises:
            RnnZooError: inputs that this task cannot read.
        """
        batch = self.transfer_batch_to_device(self.batch_of(inputs), self.device, 0)
        with evaluating(self):
            columns = table_columns(self.predict_step(batch, 0), type(self).__name__)
        return pd.DataFrame(self.describe_predictions(columns))

    def describe_predictions(self, columns: dict[str, Any]) -> dict[str, Any]:
        """The columns of a table of predictions, with names where numbers stood."""
        return columns

    # ---- what it says of itself

    def report(self) -> str:
        """One line: which cell, how large, and which kernel runs it."""
        rnn = self.rnn
        x = self.example_input()
        explanation = rnn.explain(x, **regular(rnn, x))
        cell = name_of(kind(bare(rnn._cells[0][0])))
        count = sum(p.numel() for p in self.parameters() if p.requires_grad)
        threads = f"{torch.get_num_threads()} threads" if self.device.type == "cpu" else str(self.device)
        return (
            f"{cell}, {rnn.num_layers} x {rnn.hidden_size} units, {count:,} parameters in all;"
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

    def reached(self, metrics: Mapping[str, float]) -> list[str]:
        """What to print of the held-out figures: a line each."""
        tested = sorted((name.removeprefix("test_"), v) for name, v in metrics.items() if name.startswith("test_"))
        return [f"held-out {name}: {digits(value)}" for name, value in tested]

    def suggest(self, data: Any, checkpoint: str) -> list[str]:
        """Commands of this task's own to try next."""
        return [suggestions.predict(checkpoint)] if "predict_step" in vars(type(self)) else []

    def closing_lines(self, metrics: Mapping[str, float], data: Any, checkpoint: str) -> list[str]:
        """What the command line prints after a run: what was reached, where the checkpoint lies, what to try next."""
        commands = [
            *self.suggest(data, checkpoint),
            suggestions.more(self.trainer, checkpoint),
            suggestions.another_cell(self, checkpoint, data),
        ]
        beside = data.baselines() if getattr(data, "baseline", False) else {}
        simple = [f"{name}: {digits(value)}" for name, value in beside.items()]
        lines = [*self.reached(metrics), *simple, f"checkpoint: {checkpoint}"]
        return [*lines, "", "Try next:", *(f"  {c}" for c in commands)]

    # ---- optimizer and schedule

    def configure_callbacks(self) -> list[Callback]:
        return [] if self.settings.unfreeze_every is None else [GradualUnfreezing(self.settings.unfreeze_every)]

    def configure_model(self) -> None:
        shard(self)

    def setup(self, stage: str) -> None:
        self.start_from_pretrained()
        self.settings.freeze_(self)

    def start_from_pretrained(self) -> None:
        """Loads `embeddings`, and then the weights of the checkpoint `pretrained`, once the model is made.

        Raises:
            RnnZooError: one of them cannot be read, or was made with other settings.
        """
        vectors, self.embeddings = self.embeddings, None
        if vectors is not None:
            embedding = next(
                (self.get_parameter(name) for name in self.by_token if name in dict(self.named_parameters())), None
            )
            if embedding is None or self.description.vocabulary is None:
                raise RnnZooError(f"embeddings={vectors!r} has no effect: {type(self).__name__} embeds no tokens")
            say(start_embedding(embedding, read_word_vectors(vectors, self.description.vocabulary), vectors))
        path, self.pretrained = self.pretrained, None
        if path is not None:
            weights.load_into(self, path)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        trainer = self.trainer
        optimizer = self.settings.make_optimizer(self)
        steps = trainer.estimated_stepping_batches if self.settings.needs_steps else float("inf")
        schedules = self.settings.make_schedules(optimizer, steps, f"{trainer.max_steps} and {trainer.max_epochs}")
        self._fresh = [copy.deepcopy(config["scheduler"].state_dict()) for config in schedules]
        self._groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
        return [optimizer], schedules  # type: ignore[return-value]  # as Lightning documents it

    def on_train_start(self) -> None:
        """After a resume the schedule is laid anew, and gone through to where the checkpoint left it.

        So a learning rate, weight decay, schedule or number of epochs that was changed wins over the checkpoint's, and
        where none was, the rates are those of a run that was never interrupted.
        """
        if self._fresh is None or not self.trainer.global_step:
            return
        configs = self.trainer.lr_scheduler_configs
        if not all(isinstance(config.scheduler, LRScheduler) for config in configs) or any(
            config.reduce_on_plateau for config in configs
        ):
            return  # what it has seen of a metric is in the checkpoint alone
        for group, new in zip(self.trainer.optimizers[0].param_groups, self._groups, strict=True):
            group.update(new)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it wants optimizer steps between; those were made before the resume
            for config, fresh in zip(configs, self._fresh, strict=True):
                scheduler = config.scheduler
                assert isinstance(scheduler, LRScheduler)
                scheduler.load_state_dict(copy.deepcopy(fresh))
                done = self.trainer.global_step if config.interval == "step" else self.trainer.current_epoch
                for _ in range(min(done, getattr(scheduler, "total_steps", done + 1) - 1)):
                    scheduler.step()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        for cell in self.modules():
            if isinstance(cell, Cell):
                cell.constrain_()

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        """As Lightning clips; in bf16-mixed for fused optimizers too, which it refuses as if gradients were scaled."""
        plugin = self.trainer.precision_plugin
        if isinstance(plugin, MixedPrecision) and plugin.scaler is None:
            how = gradient_clip_algorithm or GradClipAlgorithmType.NORM
            Precision.clip_gradients(plugin, optimizer, gradient_clip_val or 0.0, how)
        else:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    # ---- training and evaluation

    def training_step(self, batch: Any, index: int) -> Tensor:
        judged = self.judge(batch, "train")
        if (share := padding_share(batch)) is not None:
            self.log("padding_share", share)
        return self.train_loss(judged.loss, judged.count)

    def validation_step(self, batch: Any, index: int) -> None:
        self.evaluate(batch, "val")

    def test_step(self, batch: Any, index: int) -> None:
        self.evaluate(batch, "test")

    def evaluate(self, batch: Any, stage: str) -> None:
        """Adds a batch to the figures of `stage`, "val" or "test"."""
        judged = self.judge(batch, stage)
        for name, value in {"loss": judged.loss, **judged.means}.items():
            mean, count = value if isinstance(value, tuple) else (value, judged.count)
            self.figures[f"{stage}_{name}"].update(mean, count)
        if judged.answers is not None and judged.answers[1].numel():  # torchmetrics refuses an update by nothing
            for name in self._own:
                self.figures[f"{stage}_{name}"].update(*judged.answers)
        for name in ("loss", *self.means, *self._own):
            self.log(f"{stage}_{name}", self.figures[f"{stage}_{name}"], prog_bar=stage == "val", on_epoch=True)

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
            self.log("train_loss", mean, prog_bar=True)
            return mean
        own = torch.stack([mean.detach().float() * count, count.float()])
        total, items = self.trainer.strategy.reduce(own, reduce_op="sum")
        self.log("train_loss", total / items, prog_bar=True)
        return mean * (count * processes / items)

    # ---- checkpoints

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leaves out what an optimizer or a schedule of another kind could not load."""
        saved = checkpoint.get("hyper_parameters", {})
        mine = self.settings.values()
        if any(
            saved.get(name, mine[name]) != mine[name] for name in ("optimizer", "no_decay", "layer_decay", "freeze")
        ):
            checkpoint["optimizer_states"] = []
        if any(saved.get(name, mine[name]) != mine[name] for name in ("schedule", "warmup")):
            checkpoint["lr_schedulers"] = []

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        kind = type(self)
        about = {"task": f"{kind.__module__}.{kind.__qualname__}", "version": __version__}
        checkpoint["rnnzoo"] = checkpoint.get("rnnzoo", {}) | about  # the command line has added its own


def padding_share(batch: Any) -> Tensor | None:
    """The share of a batch's steps that lie behind the end of a sequence; None where it has no lengths."""
    lengths = getattr(batch, "lengths", None)
    if not isinstance(lengths, Tensor) or not lengths.numel():
        return None
    return 1 - lengths.float().mean() / lengths.max()


@contextmanager
def evaluating(module: LightningModule) -> Iterator[None]:
    """In evaluation mode and without gradients; every part then goes back to the mode that it was in."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def contradictions(saved: Mapping[str, Any], given: Mapping[str, Any], may_change: frozenset[str]) -> list[str]:
    """For every setting that must be the checkpoint's and is not: its name and both values."""
    return [
        f"{key} is {_plain(value)!r} but the checkpoint has {_plain(saved[key])!r}"
        for key, value in given.items()
        if key in saved and key not in may_change and _plain(value) != _plain(saved[key])
    ]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else (value or {}) if isinstance(value, dict) else value
