"""Every registered cell learns: one that is consistent but dead, or forgets at once, ends where a constant does."""

import functools
import math
import random
from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from rnnzoo import RNN
from rnnzoo.cells import Cell, Hidden, list_cells
from rnnzoo.data.generated import GENERATED, GeneratedExamples
from rnnzoo.models import SequenceModel, TokenModel

B, T, H = 64, 30, 32
ADDING_STEPS, TEXT_STEPS, EVERY = 1200, 300, 50  # a slow learner needs 800 or more, by how the processor rounds
LEARNING_RATE = {"adding": 5e-3, "text": 1e-2}
WORDS = "banana ananas nab sabbath bass ants stan bats tabs bananas".split()  # noqa: SIM905

# cells that predict the next character instead, each with the reason that it is not made to carry a number 15 steps far
TEXT = {
    "rnn": "its gradient vanishes over the 15 steps between a mark and the end",
    "cudnn_rnn": "as rnn",
    "cfc": "its gates rest on the elapsed time, which is 1 at every step here",
    "clockwork_rnn": "its slow modules are read at their own ticks alone, and marks come at any step",
    "ctrnn": "it leaks by a share of its state at every step",
    "ema": "its state is a fixed average of what it reads: it cannot choose the marked numbers",
    "fastrnn": "it starts close to the identity, and its step is learned slowly",
    "indrnn": "it is made to be stacked: units meet in the next layer alone",
    "irnn": "it wants rates of its own, a hundredth of what the others learn at",
    "cfc_no_gate": "as cfc",
    "cfc_pure": "as cfc",
    "cornn": "its units oscillate around 0 and are damped",
    "leaky_rnn": "it leaks by a share of its state at every step",
    "lipschitz_rnn": "its steps are small, and what it holds decays",
    "ltc": "its time constants are of one step's length here",
    "mc_lstm": "what it holds is mass: it comes from one feature, whose negative numbers it was not made for",
    "ode_rnn": "its state drifts between steps as if time had passed",
    "scrn": "its context forgets at one fixed rate, and its hidden units are plain",
    "sub_lstm": "its gates subtract, and what they let through is found slowly",
    "unicornn": "as cornn, and its units meet in the next layer alone",
    "s4d": "as lru",
    "s5": "as lru",
    "lru": "it is linear: what a mark does to a number, a product, is for the layers around it",
}

# cells whose own arguments are by default another task's: name -> the arguments to try them with
ARGUMENTS: dict[str, dict[str, float]] = {
    "antisymmetric_rnn": {"epsilon": 0.1},
    "gated_antisymmetric_rnn": {"epsilon": 0.3},
    "lipschitz_rnn": {"epsilon": 0.3},
    "cornn": {"dt": 0.3, "gamma": 1.0, "epsilon": 1.0},
    "unicornn": {"dt": 2.0, "alpha": 2.0},
}


@functools.cache
def numbers():
    """Batches of the adding problem, held-out examples last."""
    train = GeneratedExamples(GENERATED["adding"], T, seed=0, part=0, count=B * ADDING_STEPS)
    held_out = GeneratedExamples(GENERATED["adding"], T, seed=0, part=2, count=512)
    batches = [train.__getitems__(range(k * B, k * B + B)) for k in range(ADDING_STEPS)]
    return batches, held_out.__getitems__(range(512))


@functools.cache
def characters():
    """A text whose next character rests on several before it, as streams: what comes in, and what comes next."""
    draw = random.Random(0)
    text = " ".join(draw.choices(WORDS, k=TEXT_STEPS * B * T // 5))
    known = sorted(set(text))
    tokens = torch.tensor([known.index(c) for c in text])[: (TEXT_STEPS + 4) * B * T + 1]
    x, y = (a.view(B, -1, T).transpose(0, 1) for a in (tokens[:-1], tokens[1:]))
    return list(zip(x[:TEXT_STEPS], y[:TEXT_STEPS], strict=True)), (x[TEXT_STEPS:].flatten(0, 1), y[TEXT_STEPS:])


def end_of_adding(cell) -> tuple[float, float]:
    """The held-out squared error that a cell comes to, and that of a constant."""
    batches, held_out = numbers()
    model = SequenceModel(RNN(cell, 2, H, batch_first=True, **ARGUMENTS.get(cell, {})), 1)
    torch.nn.init.ones_(model.head.bias)  # the mean: how to find a constant is not the question
    constant = held_out.y.var(correction=0).item()
    losses = (F.mse_loss(model(batch.x)[..., 0], batch.y) for batch in batches)
    reached = train(model, losses, lambda: F.mse_loss(model(held_out.x)[..., 0], held_out.y), constant / 2, "adding")
    return reached, constant


def end_of_text(cell) -> tuple[float, float]:
    """The held-out nats a character that a cell comes to, and those of the best constant, the characters' shares."""
    batches, (x, y) = characters()
    shares = Counter(y.flatten().tolist())
    constant = -sum(n / y.numel() * math.log(n / y.numel()) for n in shares.values())
    model = TokenModel(RNN(cell, 16, H, batch_first=True, **ARGUMENTS.get(cell, {})), len(shares))

    def loss(x, y):
        return F.cross_entropy(model(x)[0].flatten(0, 1), y.flatten())

    reached = train(model, (loss(*batch) for batch in batches), lambda: loss(x, y), constant / 2, "text")
    return reached, constant


def train(model, losses, held_out, enough, task) -> float:
    """The held-out loss at the end, which is when the budget is, or when it is low enough."""
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE[task])
    for k, loss in enumerate(losses, 1):
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if k % EVERY == 0:
            model.eval()
            with torch.no_grad():
                reached = held_out().item()
            model.train()
            if reached < enough:
                break
    return reached


@pytest.mark.slow
@pytest.mark.parametrize("name", list_cells())
def test_a_registered_cell_learns(name):
    reached, constant = end_of_text(name) if name in TEXT else end_of_adding(name)
    assert reached < constant / 2, f"{name} ends at {reached:.4f}, a constant prediction at {constant:.4f}"


class Forgetful(Cell):
    """Nobody 2026: consistent, with gradients everywhere, and without a memory; h_t = tanh(W x + b)."""

    gates = 1

    def step(self, u, s):
        return Hidden(u.tanh() + 0 * s.h)


@pytest.mark.slow
@pytest.mark.parametrize("end", [end_of_adding, end_of_text])
def test_a_cell_that_forgets_at_once_is_seen(end):
    reached, constant = end(Forgetful)
    assert reached > 0.6 * constant


def test_cells_that_are_tried_otherwise_are_registered():
    assert {*TEXT, *ARGUMENTS} <= set(list_cells())
