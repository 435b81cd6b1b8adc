"""Problems whose answer needs what stood far back in a sequence, made an example at a time out of random numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from rnnzoo.data.examples import Examples

ITEMS, SYMBOLS = 10, 8  # copying: how many are recalled, out of how many different ones
BLANK, DELIMITER = SYMBOLS, SYMBOLS + 1
START, X, Y, END = 0, 1, 2, 7  # temporal order; 3 to 6 mean nothing


def adding(draw: np.random.Generator, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Hochreiter & Schmidhuber 1997, the adding problem, in the form of Arjovsky et al. 2016: (T, 2) -> (1,).

    x_t = (v_t, m_t),   v_t from U(0, 1); m_t = 1 at one step of the first half and at one of the second, else 0
    y = Σ m_t v_t,      with a mean of 1 and a variance of 1/6
    """
    x = np.zeros((length, 2), np.float32)
    x[:, 0] = draw.random(length, np.float32)
    marked = [draw.integers(length // 2), draw.integers(length // 2, length)]
    x[marked, 1] = 1
    return x, x[marked, 0].sum(keepdims=True)


def copying(draw: np.random.Generator, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Hochreiter & Schmidhuber 1997, copying, in the form of Arjovsky et al. 2016: (T, 10) one-hot -> (10,) classes.

    Ten of eight symbols, each as likely as another; blanks; a delimiter; ten blanks, at which the ten are recalled in
    their order. The paper's T is our length - 20.
    """
    symbols = np.full(length, BLANK)
    items = draw.integers(SYMBOLS, size=ITEMS)
    symbols[:ITEMS] = items
    symbols[length - ITEMS - 1] = DELIMITER
    return _one_hot(symbols, SYMBOLS + 2), items


def temporal_order(draw: np.random.Generator, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Hochreiter & Schmidhuber 1997, temporal order with two relevant symbols: (T, 8) one-hot -> (1,), class 0 to 3.

    A start, an end, and between them symbols that mean nothing, but for an X or Y in the second tenth of the sequence
    and another in the sixth; the class is XX, XY, YX or YY. At 100 steps they lie at 10 to 19 and 50 to 59, as in the
    paper, whose sequences differ in length by up to a tenth.
    """
    symbols = draw.integers(Y + 1, END, size=length)
    symbols[0], symbols[-1] = START, END
    first, second = draw.integers(2, size=2)
    symbols[draw.integers(length // 10, 2 * length // 10)] = (X, Y)[first]
    symbols[draw.integers(5 * length // 10, 6 * length // 10)] = (X, Y)[second]
    return _one_hot(symbols, END + 1), np.array([2 * first + second])


def _one_hot(symbols: np.ndarray, count: int) -> np.ndarray:
    return np.eye(count, dtype=np.float32)[symbols]


@dataclass(frozen=True)
class Generated:
    """A problem that is made from random numbers: how, of how many steps, and what goes in and comes out."""

    make: Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
    least: int  # steps that it takes
    input_size: int
    classes: int = 0  # 0 for a number
    answers: int = 1  # of the last so many steps
    constant: float = 0.0  # what is predicted without looking: a number's mean, or the same logit for every class


GENERATED = {
    "adding": Generated(adding, least=2, input_size=2, constant=1.0),
    "copying": Generated(copying, least=2 * ITEMS + 1, input_size=SYMBOLS + 2, classes=SYMBOLS, answers=ITEMS),
    "temporal_order": Generated(temporal_order, least=10, input_size=END + 1, classes=4),
}


class GeneratedExamples(Dataset[Examples]):
    """Examples made when they are asked for: each depends on the seed, its part and its number alone.

    So every process makes the same ones, those of different parts are different draws, and none is kept in memory.

    Args:
        problem: what is made.
        length: T, steps of every sequence.
        seed: at least 0.
        part: a number for the training, validation or test part.
        count: how many there are.
    """

    def __init__(self, problem: Generated, length: int, seed: int, part: int, count: int) -> None:
        self.problem, self.length, self.seed, self.part, self.count = problem, length, seed, part, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> Examples:
        x, y, number = self.__getitems__([k])
        return Examples(x[0], y[0], number[0])

    def __getitems__(self, places: Sequence[int]) -> Examples:
        """A batch, which is what torch's loader asks for where it can."""
        draws = (np.random.default_rng([self.seed, self.part, k]) for k in places)
        xs, ys = zip(*(self.problem.make(draw, self.length) for draw in draws), strict=True)
        return Examples(torch.from_numpy(np.stack(xs)), torch.from_numpy(np.stack(ys)), torch.tensor(places))
