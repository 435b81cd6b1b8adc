"""An epoch of `rnnzoo fit` beside one of PyTorch's own example of a word language model, each run as its user would.

    git clone https://github.com/pytorch/examples
    python benchmarks/word_language_model.py examples/word_language_model                        # one layer of 256
    python benchmarks/word_language_model.py examples/word_language_model --units 650 --layers 2 --epochs 1

Both read the same three files: the King James text by words with blanks between, split by chapter, of which every
word is known. Both have the same sizes, batches and dropout; the rest is what each has by default: the example's full
softmax and SGD at a rate of 20, and configs/word_lm.yaml's adaptive softmax and AdamW. They run by turns, an epoch
each, the other one stopped (SIGSTOP), and an epoch is timed from outside, its validation and checkpoint with it. The
first epoch, which has the start-up of both, is left out of the median where there are more.
"""

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from torch import __version__ as torch_version

from rnnzoo.benchmark.machine import describe
from rnnzoo.data import TokenTextData

ROOT = Path(__file__).resolve().parents[1]
WORDS = Regex(r"\w+|[^\w\s]")
PARTS = {"train": "train.txt", "validation": "valid.txt", "test": "test.txt"}


def write_text(folder: Path) -> Path:
    """Writes the three files, and a tokenizer of their words and line ends; returns the tokenizer's file."""
    data, seen = TokenTextData("kjv"), {"\n": 0}
    split = pre_tokenizers.Split(WORDS, "isolated")
    for part, name in PARTS.items():
        lines = []
        for verse in data.pieces(part):
            words = [word.strip() for word, _ in split.pre_tokenize_str(verse) if word.strip()]
            lines.append(" ".join(words))
            for word in words:
                seen.setdefault(word, len(seen))
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    tokenizer = Tokenizer(models.WordLevel(seen, unk_token="\n"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split("\n", "isolated")]
    )
    path = folder / "words" / "tokenizer.json"
    path.parent.mkdir()
    tokenizer.save(str(path))
    return path


class Turn:
    """A training in a process of its own, which runs an epoch at a time.

    Args:
        words: of its command line.
        folder: where it runs.
        epoch_end: what a line at the end of an epoch holds, its perplexity as the first group.
        threads: of torch.
    """

    def __init__(self, words: list[str], folder: Path, epoch_end: str, threads: int) -> None:
        folder.mkdir(parents=True)
        self.epoch_end = re.compile(epoch_end)
        self.seconds: list[float] = []
        self.perplexities: list[float] = []
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        # a session of its own: Linux continues what is stopped in a group whose terminal or shell has gone
        self.process = subprocess.Popen(
            words,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.process.send_signal(signal.SIGSTOP)

    def epoch(self) -> None:
        """Lets it run until its epoch has ended.

        Raises:
            SystemExit: it ends before.
        """
        out, start = [], time.perf_counter()
        self.process.send_signal(signal.SIGCONT)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            out.append(line)
            if found := self.epoch_end.search(line):
                self.seconds.append(time.perf_counter() - start)
                self.process.send_signal(signal.SIGSTOP)
                self.perplexities.append(float(found[1]))
                return
        raise SystemExit(f"{self.process.args!r} ended within an epoch:\n{''.join(out)[-2000:]}")

    def end(self) -> None:
        """Kills it: what it reaches on the test part is not asked for."""
        self.process.kill()
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("example", type=Path, help="the folder of the example, with its main.py")
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=20, help="default: %(default)s, the example's")
    parser.add_argument("--dropout", type=float, default=0.2, help="default: %(default)s, the example's")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if not (options.example / "main.py").is_file():
        parser.error(f"there is no main.py in {options.example}")
    print(f"{describe('cpu')['processor']}, {options.threads} threads, torch {torch_version}", flush=True)
    sizes = f"{options.layers} x {options.units} units, batches of {options.batch} x 35, dropout {options.dropout}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "text"
        text.mkdir()
        tokenizer = write_text(text)
        example = f"""main.py --data {text} --emsize {options.units} --nhid {options.units} --nlayers {options.layers}
            --epochs {options.epochs} --batch_size {options.batch} --dropout {options.dropout}"""
        ours = f"""fit --config {ROOT}/configs/word_lm.yaml --data.dataset {text} --data.tokenizer {tokenizer}
            --model.embedding_size {options.units} --model.hidden_size {options.units}
            --model.num_layers {options.layers} --model.dropout {options.dropout}
            --data.batch_size {options.batch} --trainer.max_epochs {options.epochs}
            --seed_everything 1"""
        script, *settings = example.split()
        turns = {
            "the example": Turn(
                [sys.executable, str(options.example.resolve() / script), *settings],
                folder / "example",
                r"end of epoch.*valid ppl +([\d.]+)",
                options.threads,
            ),
            "rnnzoo fit": Turn(
                [sys.executable, "-m", "rnnzoo", *ours.split()],
                folder / "ours",
                r"^epoch .*val_perplexity ([\d.]+)",
                options.threads,
            ),
        }
        try:
            for epoch in range(options.epochs):
                for who, turn in list(turns.items())[:: 1 if epoch % 2 else -1]:
                    turn.epoch()
                    print(
                        f"epoch {epoch + 1}, {who}: {turn.seconds[-1]:.1f} s, perplexity {turn.perplexities[-1]:.2f}",
                        flush=True,
                    )
        finally:
            for turn in turns.values():
                turn.end()
    theirs, mine = turns.values()
    ratios = [a / b for a, b in zip(mine.seconds, theirs.seconds, strict=True)]
    later = ratios[1:] or ratios
    print(
        f"{sizes}: {statistics.median(later):.2f}x the example's time an epoch ({min(later):.2f} to {max(later):.2f})"
    )
    print(f"validation perplexity: rnnzoo fit {min(mine.perplexities)}, the example {min(theirs.perplexities)}")


if __name__ == "__main__":
    main()
