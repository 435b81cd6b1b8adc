"""How fast a training is: tokens a second, the share of the processor's best, and how long it waits for data."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle

from rnnzoo.rnn import RNN
from rnnzoo.training.bad_numbers import carried
from rnnzoo.training.diagnostics import as_evaluated, detached
from rnnzoo.training.messages import warn

FETCH = "train_dataloader_next"  # the end of the action in which Lightning's loop fetches a batch
_PEAK_SECONDS = 0.1


class Waits(Profiler):
    """The profiler that a trainer has, and how many seconds it waited for batches."""

    def __init__(self, inner: Profiler) -> None:
        super().__init__()
        self.inner, self.waited, self._since = inner, 0.0, 0.0

    def start(self, action_name: str) -> None:
        if action_name.endswith(FETCH):
            self._since = time.perf_counter()
        self.inner.start(action_name)

    def stop(self, action_name: str) -> None:
        self.inner.stop(action_name)
        if action_name.endswith(FETCH):
            self.waited += time.perf_counter() - self._since

    def summary(self) -> str:
        return self.inner.summary()

    def describe(self) -> None:
        self.inner.describe()

    def setup(self, *args: Any, **kwargs: Any) -> None:
        self.inner.setup(*args, **kwargs)

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        self.inner.teardown(*args, **kwargs)


class Throughput(Callback):
    """Logs, with the training loss, what was reached since the last time; validation's time does not count.

    tokens_per_second: time steps of all sequences, without padding: the rows that the first RNN of the module reads.
    gemm_share: the matrix products of the training step, forward and backward, as a share of what this processor
        reaches in one large product of that precision, which is measured once, in a tenth of a second. The products are
        counted once, by torch, as the reference loop would do them; of a module that is no task, those of its RNNs. Not
        logged where processes share out the model.
    data_wait: the share of the time in which the loop waited for the next batch.

    On several processes they are those of the first one, tokens_per_second times their number. These columns of
    metrics.csv depend on the clock, `rnnzoo.training.run_files.TIMED`.
    """

    def __init__(self) -> None:
        self._rows: int | Tensor = 0
        self._since: float | None = None
        self._waits: Waits | None = None
        self._waited = self._paused = 0.0
        self._calls: dict[nn.Module, tuple[Any, Any, Any]] = {}  # of the RNNs in the first step
        self._hooks: list[RemovableHandle] = []
        self._flops: float | None = None  # a row

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._rows, self._since, self._flops = 0, None, None
        self._waits = Waits(trainer.profiler)  # type: ignore[attr-defined]  # set by a connector
        trainer.profiler = self._waits  # type: ignore[attr-defined]
        rnns = [module for module in pl_module.modules() if isinstance(module, RNN)]
        if trainer.is_global_zero and rnns:
            self._hooks = [rnns[0].register_forward_hook(self._count, with_kwargs=True)]
            self._hooks += [rnn.register_forward_hook(self._keep, with_kwargs=True) for rnn in rnns]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._hooks or self._waits is None:
            return
        if self._since is None:
            self._begin(trainer, pl_module, batch)
        elif trainer._logger_connector.should_update_logs and not trainer.fit_loop._should_accumulate():
            self._log(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._since is not None:
            self._since += time.perf_counter() - self._paused

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._give_back(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._give_back(trainer)

    def _give_back(self, trainer: Trainer) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._calls = [], {}
        if self._waits is not None:
            trainer.profiler, self._waits = self._waits.inner, None  # type: ignore[attr-defined]

    # ---- what is counted

    def _count(self, rnn: Any, args: Any, kwargs: Any, result: Any) -> None:
        if torch.is_grad_enabled():
            self._rows = self._rows + rows_of(args[0] if args else kwargs["x"], kwargs.get("lengths"))

    def _keep(self, rnn: Any, args: Any, kwargs: Any, result: Any) -> None:
        if torch.is_grad_enabled() and self._since is None:
            self._calls[rnn] = detached(args), detached(kwargs), detached(result)

    def _begin(self, trainer: Trainer, module: LightningModule, batch: Any) -> None:
        """After the first step, which is not timed: counts its products, and starts the clock."""
        rows = int(self._rows)
        if isinstance(trainer.strategy, ModelParallelStrategy):
            rows = 0  # the model is gathered by all processes together, and these products are the first one's alone
        try:
            with trainer.precision_plugin.forward_context():
                self._flops = 3 * products(module, batch, self._calls) / rows if rows else None
        except Exception as error:  # a model of one's own may not run again; that costs it this figure alone
            warn(f"gemm_share is not logged: {' '.join(str(error).split()) or type(error).__name__}")
        self._calls = {}
        for hook in self._hooks[1:]:
            hook.remove()
        self._hooks = self._hooks[:1]
        self._restart()

    def _log(self, trainer: Trainer, module: LightningModule) -> None:
        assert self._since is not None
        seconds, rows = time.perf_counter() - self._since, float(self._rows)
        waited = self._waits.waited - self._waited if self._waits else 0.0
        values = {"tokens_per_second": rows * trainer.world_size / seconds, "data_wait": waited / seconds}
        if self._flops:
            device, dtype = str(trainer.strategy.root_device), dtype_of(trainer)
            values["gemm_share"] = self._flops * rows / seconds / peak(device, dtype, torch.get_num_threads())
        for name, value in values.items():
            module.log(name, value, rank_zero_only=True)
        self._restart()

    def _restart(self) -> None:
        self._rows, self._since = 0, time.perf_counter()
        self._waited = self._waits.waited if self._waits else 0.0


def rows_of(x: Any, lengths: Any) -> int | Tensor:
    """How many steps of sequences a call of an RNN reads, without padding."""
    if isinstance(x, PackedSequence):
        return len(x.data)
    if lengths is not None:
        return lengths.sum() if isinstance(lengths, Tensor) else sum(lengths)
    return x.numel() // x.shape[-1]


def products(module: LightningModule, batch: Any, calls: dict[nn.Module, tuple[Any, Any, Any]]) -> float:
    """Operations of the matrix products of a forward pass; `calls` has arguments and results of its RNNs.

    An RNN's are those of a call of one sequence and two steps, of which each row has as many. They stand for it while
    the rest of the task runs once more, and so no loop over time does.
    """
    total = 0.0
    for rnn, (args, kwargs, _) in calls.items():
        rows = rows_of(args[0] if args else kwargs["x"], kwargs.get("lengths"))
        total += _of_a_row(rnn, args, kwargs) * float(rows)
    judge = getattr(module, "judge", None)
    if judge is None:
        return total
    states = [each.snapshot() for each in carried(module)]
    cuda = [module.device] if module.device.type == "cuda" else []
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), torch.random.fork_rng(cuda), as_evaluated(module), _answered(calls), counter:
        judge(batch, "train")
    for each, state in zip(carried(module), states, strict=True):
        each.restore(state)
    return total + counter.get_total_flops()


@contextmanager
def _answered(calls: dict[nn.Module, tuple[Any, Any, Any]]) -> Iterator[None]:
    """RNNs give the results that they gave, without a computation."""
    for rnn, (_, _, result) in calls.items():
        rnn.forward = lambda *args, result=result, **kwargs: result
    try:
        yield
    finally:
        for rnn in calls:
            del rnn.forward


def _of_a_row(rnn: Any, args: Any, kwargs: Any) -> float:
    x = args[0] if args else kwargs["x"]
    data = x.data if isinstance(x, PackedSequence) else x
    small = data.new_zeros(*((1, 2) if rnn.batch_first else (2, 1)), data.shape[-1])
    inputs = {}
    for name in {n for cells in rnn._cells for cell in cells for n in cell.inputs} & set(kwargs):
        given = kwargs[name].data if isinstance(kwargs[name], PackedSequence) else kwargs[name]
        inputs[name] = given.new_ones(*small.shape[:2], *given.shape[(1 if isinstance(x, PackedSequence) else 2) :])
    before = rnn.kernel
    rnn.kernel = "reference"
    try:
        with torch.no_grad(), as_evaluated(rnn), FlopCounterMode(display=False) as counter:
            rnn(small, **inputs)
    finally:
        rnn.kernel = before
    return counter.get_total_flops() / 2


def dtype_of(trainer: Trainer) -> torch.dtype:
    """What a trainer's products are computed in."""
    precision = str(trainer.precision)
    narrow = {"bf16": torch.bfloat16, "16": torch.float16, "64": torch.float64}
    return next((dtype for begin, dtype in narrow.items() if precision.startswith(begin)), torch.float32)


@cache
def peak(device: str, dtype: torch.dtype, threads: int) -> float:
    """Operations a second of one large product; `threads`, on which it depends on a CPU."""
    from rnnzoo.benchmark.machine import gemm_peak

    of = torch.device(device)
    with torch.random.fork_rng([of] if of.type == "cuda" else []):  # it draws its matrices
        return 1e9 * gemm_peak(device, dtype, _PEAK_SECONDS, 2)
