"""Problems that ask for a long memory, for comparing cells."""

from typing import Any, Literal, get_args

import numpy as np

from rnnzoo.data.base import ExampleData
from rnnzoo.data.effects import warn_without_effect
from rnnzoo.data.generated import GENERATED, GeneratedExamples
from rnnzoo.data.pictures import HUB, PictureExamples, Pictures, digits, mnist
from rnnzoo.data.sharing import Fetched
from rnnzoo.data.splits import PARTS, check_parts, cut, own_splits
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError, did_you_mean

Problem = Literal["adding", "copying", "temporal_order", "digits", "permuted_digits", "mnist", "permuted_mnist"]

_LENGTH, _EXAMPLES = 200, (20_000, 1_000, 2_000)  # of what is generated, unless told
_SPLIT = (0.7, 0.1, 0.2)  # of pictures that have no splits of their own
_SHUFFLE, _PERMUTE = 3, 4  # what the seed draws, besides the examples of parts 0 to 2


class LongMemoryData(ExampleData):
    """Sequences whose answer, at their end, needs what stood far back in them; the same ones in every process.

    Generated: "adding", "copying", "temporal_order" (Hochreiter & Schmidhuber 1997; see `rnnzoo.data.generated`).
    Pixel by pixel (Le et al. 2015): "digits", scikit-learn's of 8 x 8, and "mnist" through `datasets`; "permuted_...":
    the pixels in an order drawn once. Pictures are shuffled, but stay in the splits that their data set has; one that
    is missing is the end of the one before it.

    Args:
        task: the problem.
        length: steps of a sequence; 200 by default. Of pictures, the steps that their pixels are shared out over: all
            by default, one pixel at a time; for the digits, 8 gives a row at a time.
        examples: of training, validation and test; 20,000, 1,000 and 2,000 by default, or all pictures.
        seed: of the examples, of which picture lies in which part, and of the order of permuted pixels.
        batch_size: examples in a batch, over all processes.
        dataset: where mnist comes from: a name on the HuggingFace hub, or a folder that `save_to_disk` wrote, of
            pictures of one size in a column `image` and classes from 0 in a column `label`.
        num_workers: processes that load data, for each loader.
        predict_split: what `predict` reads.
        cache_dir: folder for what `datasets` prepares; by default its own.

    Raises:
        RnnZooError: for whatever is wrong with an argument or the pictures, where it is first used.
    """

    provides = ("input_size", "classes", "answers", "constant")

    def __init__(
        self,
        task: Problem = "adding",
        length: int | None = None,
        examples: tuple[int, int, int] | None = None,
        seed: int = 0,
        batch_size: int = 64,
        dataset: str = HUB,
        num_workers: int = 0,
        predict_split: Literal["train", "validation", "test"] = "test",
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        if task not in get_args(Problem):
            near = did_you_mean(task, get_args(Problem))
            raise RnnZooError(f"task={task!r} is unknown{near} there are: {', '.join(get_args(Problem))}")
        if examples is not None and (len(examples) != 3 or min(examples) < 1):
            raise RnnZooError(
                f"examples={list(examples)} must be three numbers of at least 1: of training, validation and test"
            )
        if not 0 <= seed < 2**32:
            raise RnnZooError(f"seed={seed} must lie in 0 to {2**32 - 1}")
        least = GENERATED[task].least if task in GENERATED else 1
        if length is not None and length < least:
            raise RnnZooError(f"length={length} is too short: {task} takes at least {least} steps")
        if dataset != HUB and not task.endswith("mnist"):
            raise RnnZooError(
                f"dataset={dataset!r} has no effect with task={task!r}, which is {_origin(task)}: it is where mnist and"
                " permuted_mnist come from"
            )
        self.task, self.length, self.examples, self.seed = task, length, examples, seed
        self.batch_size, self.dataset, self.num_workers = batch_size, dataset, num_workers
        self.predict_split, self.cache_dir = predict_split, cache_dir
        self.check_at_least(batch_size=1, num_workers=0)
        self.check_predict_split()
        if not task.endswith("mnist"):
            warn_without_effect(self, ("cache_dir",), f"task={task!r} is {_origin(task)}")
        self._parts: dict[str, Any] | None = None

    @property
    def problem(self) -> dict[str, Any]:
        """What a model has to know; reads the pictures, and can be asked for before `setup`.

        `input_size` of a step; `classes`, 0 where answers are numbers; `answers`, of the last so many steps;
        `constant`: what is predicted without looking, the mean of numbers, or the same logit for every class.
        """
        if self.task in GENERATED:
            it = GENERATED[self.task]
            return {"input_size": it.input_size, "classes": it.classes, "answers": it.answers, "constant": it.constant}
        part = self._load()["train"]
        size = part.pixels.shape[1] // part.length
        return {"input_size": size, "classes": int(part.classes.max()) + 1, "answers": 1, "constant": 0.0}

    @property
    def description(self) -> Description:
        """What a task has to know, `problem`."""
        return Description(source=type(self).__name__, **self.problem)

    def setup(self, stage: str | None = None) -> None:
        self._load()

    def read(self, part: str, training: bool) -> Fetched:
        found: Fetched = self._load()[part]
        return found

    def _what(self) -> str:
        return f"task={self.task!r}"

    def _load(self) -> dict[str, Any]:
        if self._parts is None:
            self._parts = self._generated() if self.task in GENERATED else self._pictures()
        return self._parts

    def _generated(self) -> dict[str, GeneratedExamples]:
        make, length = GENERATED[self.task], self.length or _LENGTH
        counts = enumerate(self.examples or _EXAMPLES)
        return {PARTS[k]: GeneratedExamples(make, length, self.seed, k, count) for k, count in counts}

    def _pictures(self) -> dict[str, PictureExamples]:
        name = self.task.removeprefix("permuted_")
        splits = self._read_pictures(name)
        pixels, classes = (np.concatenate(side) for side in zip(*splits.values(), strict=True))
        count = pixels.shape[1]
        length = count if self.length is None else self.length
        if count % length:
            steps = ", ".join(str(n) for n in range(1, count + 1) if count % n == 0)
            raise RnnZooError(f"length={length} does not fit {name}: their {count} pixels go into {steps} steps")
        shuffle, start = np.random.default_rng([self.seed, _SHUFFLE]), 0
        places = []
        for _, own in splits.values():
            places.append(start + shuffle.permutation(len(own)))
            start += len(own)
        place = np.concatenate(places)
        parts = cut({part: len(own) for part, (_, own) in splits.items()}, _SPLIT)
        check_parts(parts, name, "pictures")
        order = np.arange(count)
        if name != self.task:
            order = np.random.default_rng([self.seed, _PERMUTE]).permutation(count)
        taken = {}
        for part, wanted in zip(PARTS, self.examples or (None, None, None), strict=True):
            where = parts[part]
            if wanted is not None and wanted > len(where):
                raise RnnZooError(
                    f"examples={list(self.examples or ())} is more than {name} has:"
                    f" {', '.join(f'{len(w):,} of {p}' for p, w in parts.items())}"
                )
            there = place[where.start : where.stop][:wanted]
            taken[part] = PictureExamples((pixels, classes), there, length, order)
        return taken

    def _read_pictures(self, name: str) -> dict[str, Pictures]:
        """For each part that the data set has a split for, the pictures of that split."""
        if name == "digits":
            return {"train": digits()}
        splits = mnist(self.dataset, self.cache_dir)
        return {part: splits[own] for part, own in own_splits(list(splits), self.dataset).items()}


def _origin(task: str) -> str:
    return "made of random numbers" if task in GENERATED else "of scikit-learn"
