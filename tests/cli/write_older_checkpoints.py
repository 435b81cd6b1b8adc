"""Writes a checkpoint of each task as this version writes it, for `tests/tasks/test_older_checkpoints.py`:

    PYTHONPATH=tests/cli python tests/cli/write_older_checkpoints.py tests/tasks/older/VERSION

To be run once for each version that is released; what is there stays.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from processes import ended, start
from test_many_processes import (
    characters,
    classes_of_series,
    forecaster,
    memory,
    pairs,
    several_labels,
    tagger,
    texts,
    words,
)

import rnnzoo
from rnnzoo.models.regular import regular
from rnnzoo.training.checkpoint_files import whole_file, write_with_digest

MADE = (characters, words, texts, several_labels, tagger, pairs, memory, classes_of_series, forecaster)


def without(content: Any, folder: str) -> Any:
    """The content of a checkpoint without the folder of the machine that wrote it."""
    if isinstance(content, dict):
        return {key: without(value, folder) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(without(value, folder) for value in content)
    return content.replace(f"{folder}/", "").replace(folder, ".") if isinstance(content, str) else content


def main(folder: Path) -> None:
    folder.mkdir(parents=True)
    for make in MADE:
        with tempfile.TemporaryDirectory() as name:
            where = Path(name)
            args = ["fit", *make(where), "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false"]
            assert ended(start(args, where, where / "log")) == [0], (where / "log").read_text()
            path = next(where.glob("runs/*/version_0/checkpoints/last.ckpt"))
            content = torch.load(path, weights_only=True)
            rnn = rnnzoo.load(path).rnn
            x = torch.randn(3, 5, rnn.input_size)
            with torch.no_grad():
                content["of_then"] = {"x": x, "y": rnn(x, **regular(rnn, x))[0]}
            content = without(content, name)
            with whole_file(folder / f"{make.__name__}.ckpt") as file:
                write_with_digest(content, file)
            print(make.__name__, (folder / f"{make.__name__}.ckpt").stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
