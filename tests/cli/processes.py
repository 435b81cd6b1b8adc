"""Commands in processes of their own that begin with everything imported: to be killed, or to run side by side."""

import multiprocessing
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["processes", "rnnzoo.cli.lightning", "rnnzoo.data.text", "torchmetrics"])


def die() -> None:
    """Dies at once, as by ``kill -9``."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_step(step: int) -> None:
    """Dies when the optimizer has made so many steps, before anything is logged of the last one."""
    from rnnzoo.training.stopping import StopBetweenSteps

    def on_train_batch_end(self, trainer, *_):  # type: ignore[no-untyped-def]
        if trainer.global_step == step:
            die()

    StopBetweenSteps.on_train_batch_end = on_train_batch_end  # type: ignore[method-assign]


def die_in_validation(number: int) -> None:
    """Dies in the middle of a validation."""
    from rnnzoo.training.stopping import StopBetweenSteps

    seen = []

    def on_validation_batch_end(self, *_):  # type: ignore[no-untyped-def]
        seen.append(1)
        if len(seen) == number:
            die()

    StopBetweenSteps.on_validation_batch_end = on_validation_batch_end  # type: ignore[method-assign]


def die_while_writing(number: int) -> None:
    """Dies when a part of a checkpoint is written."""
    from rnnzoo.training import checkpoint_files

    written, write = [], checkpoint_files.write_with_digest

    def half(content, file):  # type: ignore[no-untyped-def]
        written.append(1)
        if len(written) == number:
            file.write(b"PK\3\4 half a checkpoint")
            file.flush()
            die()
        write(content, file)

    checkpoint_files.write_with_digest = half


def say_when_training_starts(path: str) -> None:
    """Makes a file."""
    from rnnzoo.training.stopping import StopBetweenSteps

    began = StopBetweenSteps.on_train_start

    def on_train_start(self, *given):  # type: ignore[no-untyped-def]
        Path(path).touch()
        began(self, *given)

    StopBetweenSteps.on_train_start = on_train_start  # type: ignore[method-assign]


def save_gradients(path: str) -> None:
    """Saves the gradients of each step, as the optimizer gets them, when training ends; the first process does."""
    import torch

    from rnnzoo.training.stopping import StopBetweenSteps

    steps = []

    def on_before_optimizer_step(self, trainer, module, optimizer):  # type: ignore[no-untyped-def]
        found = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
        steps.append({name: getattr(grad, "full_tensor", grad.clone)() for name, grad in found.items()})

    def on_fit_end(self, trainer, module):  # type: ignore[no-untyped-def]
        if trainer.is_global_zero:
            torch.save(steps, path)

    StopBetweenSteps.on_before_optimizer_step = on_before_optimizer_step  # type: ignore[method-assign]
    StopBetweenSteps.on_fit_end = on_fit_end  # type: ignore[method-assign]


def _command(
    args: Sequence[str], folder: str, log: str, env: dict[str, str], hook: tuple[Callable[..., None], object] | None
) -> None:
    os.environ.update(env)
    os.chdir(folder)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(out, stream)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115  # the process's
    import torch
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    from rnnzoo.cli.main import main

    torch.set_num_threads(1)
    rank_zero_only.rank = int(env.get("RANK", 0))  # read from the environment when it was imported
    sys.argv = ["rnnzoo"]
    try:
        if hook is not None:
            hook[0](hook[1])
        status = main(list(args))
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        status = 99
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def start(
    args: Sequence[object],
    folder: Path,
    log: Path,
    env: dict[str, str] | None = None,
    hook: tuple[Callable[..., None], object] | None = None,
) -> "multiprocessing.context.ForkServerProcess":
    """Starts a command in a folder; what it prints is appended to `log`."""
    os.environ["OMP_NUM_THREADS"] = "1"  # of the server, which takes it from here when it starts
    given = ([str(a) for a in args], str(folder), str(log), env or {}, hook)
    process = CONTEXT.Process(target=_command, args=given)
    process.start()
    return process


def start_ranks(
    count: int,
    args: Sequence[object],
    folder: Path,
    log: Path,
    hook: tuple[Callable[..., None], object] | None = None,
    strategy: Sequence[str] = ("--trainer.strategy=ddp",),
) -> list["multiprocessing.context.ForkServerProcess"]:
    """Starts a command as a launcher of many processes does, on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "NODE_RANK": "0"}
    own = [f"--trainer.devices={count}", "--trainer.accelerator=cpu", *strategy]
    return [
        start([*args, *own], folder, log, common | {"LOCAL_RANK": str(rank), "RANK": str(rank)}, hook)
        for rank in range(count)
    ]


def ended(*processes: "multiprocessing.context.ForkServerProcess", timeout: float = 300) -> list[int]:
    """The exit statuses of processes; those that take too long are killed."""
    for process in processes:
        process.join(timeout)
        if process.is_alive():
            for each in processes:
                each.kill()
            raise TimeoutError(f"process {process.pid} did not end within {timeout} s")
    return [int(process.exitcode or 0) for process in processes]
