"""A cell that reads everything that Python lets a step read, and random changes to each of them.

    python changing_cells.py CHANGES SEED [SEED ...]

makes a cell a seed, changes it CHANGES times, and after each compares `fused` with the reference: outputs, final state
and gradients. It prints how many comparisons it made, and how many traces they took.
"""

import copy
import functools
import random
import sys

import numpy as np
import torch
from torch import nn

from rnnzoo import RNN
from rnnzoo.cells import GatedCell, Hidden
from rnnzoo.kernels.fused import program

H = 5
NUMBERS = (0.25, 0.5, 0.75, 1.25)
FUNCTIONS = (torch.tanh, torch.sin, torch.sigmoid, torch.nn.functional.softsign)

SCALE = 1.0
TABLE = {"low": 0.5, "high": [0.25, 0.75]}
ARRAY = np.full(1500, 0.5)
squash = torch.tanh


def helper(x):
    return SCALE * squash(x)


def other_helper(x):
    return x.cos()


def scaled(factor, x):
    return factor * x


def made(numbers):
    def closed(x):
        return x * numbers[0] + numbers[1]

    return closed


class Called:
    """An object that is called, with attributes and with slots."""

    __slots__ = ("factor", "rest")

    def __init__(self, factor):
        self.factor, self.rest = factor, {"shift": 0.5}

    def __call__(self, x):
        return self.factor * x + self.rest["shift"]


class Changing(GatedCell):
    gates, State = 1, Hidden
    vectors = ("first", "second")
    alpha = 0.5
    choices = ["tanh", "sin"]  # noqa: RUF012  # a list on purpose: its contents change

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.beta, self.options = 0.5, {"gain": [0.5], "names": {"a"}}
        self.inner = nn.Linear(hidden_size, hidden_size)
        self.partial = functools.partial(scaled, 0.5)
        self.closed = made([0.5, 0.25])
        self.called = Called(0.5)
        self.unread = 0
        self.register_buffer("mask", torch.arange(hidden_size) % 2 == 0)
        self.register_buffer("rate", torch.full((hidden_size,), 0.5))

    def gain(self, x, *, slope=0.5):
        return slope * x

    def update(self, wx, rh, s):
        x = helper(wx + rh * self.first) * self.alpha + self.beta * self.second
        x = x + getattr(torch, self.choices[0])(self.inner(s.h)) * self.options["gain"][0]
        x = self.closed(self.called(self.partial(x))) + len(self.options["names"]) * self.gain(s.h)
        x = x * TABLE["high"][1] + TABLE["low"] + float(ARRAY[1234])
        x = torch.where(self.mask, x, x * self.rate) / wx.shape[0]
        return Hidden(x if self.training else x.sin())


class Subclassed(Changing):
    def gain(self, x, *, slope=0.75):
        return slope * x.tanh()


def changes():
    """Functions (cell, draw, undo) that change one thing; what is not the cell's is put back by `undo`."""

    def attribute(cell, draw, undo):
        cell.beta = draw(NUMBERS)

    def class_attribute(cell, draw, undo):
        undo.append(functools.partial(setattr, Changing, "alpha", Changing.alpha))
        Changing.alpha = draw(NUMBERS)

    def class_list(cell, draw, undo):
        Changing.choices[0] = draw(("tanh", "sin", "cos", "sigmoid"))

    def shadow(cell, draw, undo):
        cell.alpha = draw(NUMBERS)

    def a_global(cell, draw, undo):
        globals()["SCALE"] = draw(NUMBERS)

    def function_of_the_module(cell, draw, undo):
        globals()["squash"] = draw(FUNCTIONS)

    def replaced_helper(cell, draw, undo):
        globals()["helper"] = draw((_HELPER, other_helper))

    def dictionary(cell, draw, undo):
        TABLE["low"] = draw(NUMBERS)

    def nested_list(cell, draw, undo):
        TABLE["high"][1] = draw(NUMBERS)

    def array(cell, draw, undo):
        ARRAY[1234] = draw(NUMBERS)

    def own_dictionary(cell, draw, undo):
        cell.options["gain"][0] = draw(NUMBERS)

    def own_set(cell, draw, undo):
        cell.options["names"].add(draw("abcd"))

    def keyword_default(cell, draw, undo):
        undo.append(functools.partial(setattr, Changing.gain, "__kwdefaults__", {"slope": 0.5}))
        Changing.gain.__kwdefaults__ = {"slope": draw(NUMBERS)}

    def method_of_the_class(cell, draw, undo):
        undo.append(functools.partial(setattr, Changing, "gain", Changing.gain))
        slope, f = draw(NUMBERS), draw(FUNCTIONS)
        Changing.gain = lambda self, x: slope * f(x)

    def method_of_the_cell(cell, draw, undo):
        f = draw(FUNCTIONS)
        cell.gain = lambda x: f(x)

    def new_partial(cell, draw, undo):
        cell.partial = functools.partial(scaled, draw(NUMBERS))

    def closure(cell, draw, undo):
        cell.closed = made([draw(NUMBERS), draw(NUMBERS)])

    def closure_contents(cell, draw, undo):
        cell.closed.__closure__[0].cell_contents[0] = draw(NUMBERS)

    def slots(cell, draw, undo):
        cell.called.factor = draw(NUMBERS)

    def inside_an_object(cell, draw, undo):
        cell.called.rest["shift"] = draw(NUMBERS)

    def tie(cell, draw, undo):
        cell.second = cell.first

    def tie_matrices(cell, draw, undo):
        cell.inner.weight = cell.weight_hh

    def untie(cell, draw, undo):
        cell.second = nn.Parameter(torch.randn(H, dtype=torch.float64))
        cell.inner.weight = nn.Parameter(torch.randn(H, H, dtype=torch.float64))

    def buffer_contents(cell, draw, undo):
        cell.mask.logical_not_()

    def buffer(cell, draw, undo):
        cell.rate = torch.full((draw((1, H)),), draw(NUMBERS), dtype=torch.float64)

    def child(cell, draw, undo):
        cell.inner = draw((nn.Identity, nn.Tanh, functools.partial(nn.Linear, H, H, dtype=torch.float64)))()

    def hook(cell, draw, undo):
        f = draw(FUNCTIONS)
        undo.append(cell.inner.register_forward_hook(lambda module, given, out: f(out)).remove)

    def mode(cell, draw, undo):
        cell.train(draw((False, True)))

    def subclass(cell, draw, undo):
        cell.__class__ = draw((Changing, Subclassed))

    def nothing_that_matters(cell, draw, undo):
        cell.unread += 1

    return [value for name, value in sorted(locals().items())]


_HELPER = helper


def compared(rnn, x):
    """Outputs, final state and gradients by both kernels; an error where they differ."""
    results = []
    for kernel in ("fused", "reference"):
        rnn.kernel = kernel
        y, last = rnn(x)
        parameters = [p for p in rnn.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(y.square().sum() + last.sum(), parameters, allow_unused=True)
        none = torch.zeros((), dtype=x.dtype)
        results.append([y, last, *(none if g is None else g for g in gradients)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def as_they_are():
    """A function that puts everything outside the cell back, so that a seed stands for the same changes everywhere."""
    numbers, table, array, choices = SCALE, copy.deepcopy(TABLE), ARRAY.copy(), list(Changing.choices)
    functions = {"squash": squash, "helper": helper}

    def back():
        globals().update(SCALE=numbers, **functions)
        TABLE.update(table)
        ARRAY[:] = array
        Changing.choices[:] = choices

    return back


def run(seed, count):
    """`count` changes to one cell, each compared; the names of the changes."""
    generator, undo, names = random.Random(seed), [as_they_are()], []
    torch.manual_seed(seed)
    rnn = RNN(Changing, 3, H, dtype=torch.float64)
    possible = changes()
    try:
        for k in range(count):
            change = generator.choice(possible)
            names.append(change.__name__)
            change(rnn.layers[0][0], generator.choice, undo)
            try:
                compared(rnn, torch.randn(4, 2 + generator.randrange(2), 3, dtype=torch.float64))
            except Exception as error:
                raise AssertionError(f"seed {seed}, change {k}: {' '.join(names)}") from error
    finally:
        for back in reversed(undo):
            back()
    return names


def main(count, *seeds):
    traces = []
    program.trace = lambda *given, trace=program.trace: (traces.append(1), trace(*given))[1]
    made = sum(len(run(seed, count)) for seed in seeds)
    print(made, len(traces))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
