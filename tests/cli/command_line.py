"""Commands, in this process or as one, what they answer, and a text and a series to run them on."""

import contextlib
import io
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from rnnzoo.cache import cache_folder
from rnnzoo.cli.main import main

CONFIGS = Path(__file__).parents[2] / "configs"
TINY_LM = [
    f"--config={CONFIGS / 'char_lm.yaml'}",
    "--model.embedding_size=8",
    "--model.hidden_size=16",
    "--data.batch_size=4",
    "--data.sequence_length=32",
    "--trainer.max_epochs=1",
    "--trainer.enable_progress_bar=false",
]
TINY_FORECASTER = [
    f"--config={CONFIGS / 'forecast.yaml'}",
    "--model.hidden_size=16",
    "--model.level=12",
    "--data.horizon=12",
    "--data.season=24",
    "--data.context=24",
    "--data.batch_size=16",
    "--trainer.max_epochs=1",
    "--trainer.enable_progress_bar=false",
]
TINY_MEMORY = [
    f"--config={CONFIGS / 'long_memory.yaml'}",
    "--model.hidden_size=16",
    "--data.length=12",
    "--data.examples=[320,64,80]",
    "--data.batch_size=16",
    "--trainer.max_steps=60",
    "--trainer.enable_progress_bar=false",
]


@dataclass
class Answer:
    """What a command did: its exit status and what it printed."""

    status: int
    out: str
    err: str

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that a run says it wrote."""
        line = next(line for line in self.out.splitlines() if line.startswith("checkpoint: "))
        return Path(line.removeprefix("checkpoint: "))

    @property
    def complaint(self) -> str:
        """The one line that a command which failed prints."""
        lines = [line for line in self.err.splitlines() if line.startswith("rnnzoo: error: ")]
        assert self.status == 2, self
        assert len(lines) == 1, self.err
        assert self.err.rstrip().endswith(lines[0])
        assert "Traceback" not in self.err + self.out
        return lines[0].removeprefix("rnnzoo: error: ")


@dataclass
class Run:
    """A run that was trained by the command line in a folder of its own, and what it printed."""

    folder: Path
    answer: Answer

    @property
    def checkpoint(self) -> Path:
        return self.folder / self.answer.checkpoint


def begin(patch: pytest.MonkeyPatch, cache: Path) -> None:
    """What a process begins with, for a command in this one: what the command changes is undone with `patch`.

    The caches are empty ones in `cache`, but for compiled kernels, which are those of whoever runs the tests.
    """
    kernels = (cache_folder() / "kernels").resolve()
    kernels.mkdir(parents=True, exist_ok=True)
    (cache / "rnnzoo").mkdir()
    (cache / "rnnzoo" / "kernels").symlink_to(kernels, target_is_directory=True)
    patch.setattr(sys, "argv", ["rnnzoo"])
    patch.setattr(sys, "path", list(sys.path))
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        patch.setenv(name, "0")
    patch.setenv("RNNZOO_CACHE", str(cache / "rnnzoo"))
    patch.setenv("HF_DATASETS_CACHE", str(cache / "datasets"))  # of the commands that are processes
    patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # which Lightning has loaded already
    if "datasets" in sys.modules:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", str(cache / "datasets"))


def status_of(*args: object) -> int:
    """Gives a command in this process, which saves the seconds that Lightning takes to load."""
    try:
        return main([str(a) for a in args])
    except SystemExit as done:  # argparse's, after --help and --print_config
        return int(done.code or 0)


def trained(folder: Path, cache: Path, *args: object) -> Run:
    """A run that tests share, by a command in this process; `cache` is an empty folder."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        begin(patch, cache)
        status = status_of("fit", *args)
    return Run(folder, Answer(status, out.getvalue(), err.getvalue()))


def shell(*args: object, cwd: Path, launcher: tuple[str, ...] = (sys.executable, "-m", "rnnzoo")) -> Answer:
    """Gives a command as a user does, on one thread."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True, timeout=600, check=False
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def make_text(words: int, seed: int) -> str:
    """Lines of words that can be learnt a little of in seconds."""
    draw = random.Random(seed)
    known = "the cat sat on a mat and a dog ran far away in heaven above earth".split()  # noqa: SIM905
    return "\n".join(" ".join(draw.choices(known, k=8)) for _ in range(words // 8)) + "\n"


def make_series(length: int, seed: int) -> str:
    """A day of 24 hours again and again, with noise, as a CSV file."""
    draw = random.Random(seed)
    day = [draw.gauss(100, 20) for _ in range(24)]
    rows = [f"{t},{day[t % 24] + draw.gauss(0, 5):.3f}" for t in range(length)]
    return "\n".join(["hour,load", *rows]) + "\n"
