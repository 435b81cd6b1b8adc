"""How much memory an epoch of short texts takes that are streamed from Parquet files, for more and more of them.

    python benchmarks/streaming_memory.py [TEXTS ...]     # by default 100,000 and 1,000,000
    python benchmarks/streaming_memory.py --train --streaming-alone 1,000,000 10,000,000

Writes a data set of so many texts of two labels in a hub's layout, and reads all training batches of an epoch in a
process of its own, once with ``streaming=True`` and, but for ``--streaming-alone``, once without, where the texts are
tokenized to the disk first; or, with ``--train``, trains a small classifier on them by ``rnnzoo fit``. Prints the most
memory that the process had: in all, and what of it is its own and not a file's that is mapped into it, which the system
takes back when it is short of memory.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

CONFIG = Path(__file__).parents[1] / "configs" / "text_classification.yaml"
SHARD = 100_000
DATA = {"text_column": "text", "label_column": "label", "batch_size": 512, "vocabulary_size": 1000, "max_length": 32}
SETTINGS = [
    *(f"--data.{name}={value}" for name, value in DATA.items()),
    *("--data.crop=null", "--data.validation_split=test", "--data.min_count=1"),
    *("--model.embedding_size=8", "--model.hidden_size=8", "--model.num_layers=1", "--model.bidirectional=false"),
    *("--trainer.max_epochs=1", "--trainer.enable_progress_bar=false"),
]
READ = f"""
import sys
from rnnzoo.data import LabelledTextData
data = LabelledTextData(sys.argv[1], streaming=sys.argv[2] == "True", validation_split="test", **{DATA})
texts = sum(len(batch.lengths) for batch in data.train_dataloader())
assert texts == int(sys.argv[3]), texts
"""


def write(folder: Path, texts: int) -> None:
    """Texts of some words, whose label is whether there are more of one half of them, and 2,000 for a test."""
    draw = random.Random(0)
    words = [f"w{k}" for k in range(500)]
    shards = -(-texts // SHARD)
    for shard in range(shards + 1):
        count = 2000 if shard == shards else min(SHARD, texts - shard * SHARD)
        chosen = [draw.choices(range(500), k=draw.randint(4, 12)) for _ in range(count)]
        table = pa.table(
            {
                "text": [" ".join(words[k] for k in one) for one in chosen],
                "label": [int(sum(k < 250 for k in one) * 2 > len(one)) for one in chosen],
            }
        )
        name = "test-00000-of-00001" if shard == shards else f"train-{shard:05}-of-{shards:05}"
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=10_000)


def peak(command: list[str], cwd: Path) -> tuple[float, float, float]:
    """The most MiB that a command had, in all and of its own, and the seconds that it took."""
    begun, most = time.monotonic(), {"VmRSS": 0, "RssAnon": 0}
    own = {"RNNZOO_CACHE": str(cwd / "cache"), "HF_DATASETS_CACHE": str(cwd / "hf"), "HF_HUB_OFFLINE": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=cwd, env={**os.environ, **own}, **pipes) as run:
        output: list[str] = []
        reader = threading.Thread(target=lambda: output.extend(run.stdout or []))
        reader.start()
        while run.poll() is None:
            try:
                status = Path(f"/proc/{run.pid}/status").read_text()
            except OSError:
                break
            for line in status.splitlines():
                name, _, value = line.partition(":")
                if name in most:
                    most[name] = max(most[name], int(value.split()[0]))
            time.sleep(0.05)
        reader.join()
        if run.wait():
            sys.exit("".join(output))
    return most["VmRSS"] / 1024, most["RssAnon"] / 1024, time.monotonic() - begun


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", type=_number, default=[100_000, 1_000_000])
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--streaming-alone", action="store_true")
    asked = parser.parse_args()
    print(f"{'texts':>12} {'streaming':>10} {'MiB':>7} {'own MiB':>8} {'seconds':>8}")
    for texts in asked.texts:
        with tempfile.TemporaryDirectory() as made:
            data = Path(made) / "data"
            data.mkdir()
            write(data, texts)
            for streaming in (True,) if asked.streaming_alone else (True, False):
                given = [f"--data.dataset={data}", f"--data.streaming={str(streaming).lower()}"]
                command = [sys.executable, "-m", "rnnzoo", "fit", f"--config={CONFIG}", *SETTINGS, *given]
                if not asked.train:
                    command = [sys.executable, "-c", READ, str(data), str(streaming), str(texts)]
                whole, own, seconds = peak(command, Path(made))
                print(f"{texts:>12,} {streaming!s:>10} {whole:>7.0f} {own:>8.0f} {seconds:>8.1f}", flush=True)


if __name__ == "__main__":
    main()
