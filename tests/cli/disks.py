"""A disk of a megabyte or two that fills, can no longer be written, or is lost, in the middle of a training."""

import subprocess
from collections.abc import Callable
from pathlib import Path


def mount(folder: Path, size: str = "2m") -> bool:
    """Mounts a disk in memory; only root can."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    return not subprocess.run(command, capture_output=True, check=False).returncode


def fill(folder: str) -> None:
    """Leaves no room."""
    try:
        with open(f"{folder}/others", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        pass


def read_only(folder: str) -> None:
    """Lets nothing be written any more; a file that is open to be written keeps a disk from it."""
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)


def lose(folder: str) -> None:
    """Takes the disk away, whoever uses it."""
    subprocess.run(["umount", "--lazy", folder], check=True)


FAULTS: dict[str, Callable[[str], None]] = {"full": fill, "read-only": read_only, "lost": lose}


def fail_at_step(given: tuple[str, str, int]) -> None:
    """Has a fault of a folder's disk, by its name, come after so many steps."""
    from rnnzoo.training.stopping import StopBetweenSteps

    fault, folder, step = given

    def on_train_batch_end(self, trainer, *_):  # type: ignore[no-untyped-def]
        if trainer.global_step == step:
            FAULTS[fault](folder)

    StopBetweenSteps.on_train_batch_end = on_train_batch_end  # type: ignore[method-assign]
