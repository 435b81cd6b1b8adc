"""``rnnzoo cells``, ``check``, ``generate`` and ``bench``: plain commands that do not wait for Lightning to load."""

import argparse
import json
import sys
import time
from typing import Any, NoReturn

import torch

from rnnzoo.cells.contract import Cell, LinearCell, without_start
from rnnzoo.cells.registry import constants_of, create, find, kind, list_cells, name_of
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels.base import Work
from rnnzoo.kernels.choice import likely
from rnnzoo.kernels.layout import Dense


class Parser(argparse.ArgumentParser):
    """argparse whose errors are ours: one line."""

    def error(self, message: str) -> NoReturn:
        raise RnnZooError(f"{self.prog.split()[-1]}: {message}; see `{self.prog} --help`")


# ---- cells


def cells(args: list[str]) -> int:
    """The table of all cells, or one cell's equations."""
    parser = Parser(prog="rnnzoo cells", description="List the registered cells, or print the equations of one.")
    parser.add_argument("cell", nargs="?", help="a registered name or an import path")
    parser.add_argument("--input-size", type=int, default=64, help="for the number of parameters (default: 64)")
    parser.add_argument("--hidden-size", type=int, default=256, help="for the number of parameters (default: 256)")
    parser.add_argument("--markdown", action="store_true", help="print the table as the README has it")
    given = parser.parse_args(args)
    if given.cell:
        print(equations(given.cell, given.input_size, given.hidden_size))
    elif given.markdown:
        print(markdown_table())
    else:
        rows = [describe(name, given.input_size, given.hidden_size) for name in list_cells()]
        print(f"{len(rows)} cells; parameters at input size {given.input_size}, hidden size {given.hidden_size}")
        print(plain_table(rows))
        print("`rnnzoo cells NAME` prints the equations of one.")
    return 0


def describe(name: str, input_size: int, hidden_size: int) -> dict[str, str]:
    """One row of the table of cells."""
    cls = find(name)
    row = {
        "name": name,
        "paper": source(cls),
        "state": " ".join(cls.State._fields),
        "gates": str(cls.gates or "-"),
        "parameters": "-",
        "in time": "parallel" if issubclass(cls, LinearCell) else "sequential",
        "kernel": "-",
    }
    if needed(cls):
        return row
    with without_start():
        cell = create(cls, input_size, hidden_size)
    row["parameters"] = f"{sum(p.numel() for p in cell.parameters()):,}"
    x = torch.empty(128, 32, input_size)
    row["kernel"] = likely(Work([[cell]], x, Dense(x), inputs={n: torch.empty(128, 32, 1) for n in cls.inputs}))
    return row


def needed(cls: type[Cell]) -> list[str]:
    """The arguments that a cell has no default for: it is made with them only."""
    return [name for name, p in constants_of(cls).items() if p.default is p.empty]


def source(cls: type[Cell]) -> str:
    """Authors and year, which every cell's docstring begins with."""
    return (cls.__doc__ or "").strip().split("\n")[0].split(",")[0].split(";")[0]


def plain_table(rows: list[dict[str, str]]) -> str:
    """Rows under their names, in columns as wide as they need."""
    heads = list(rows[0])
    widths = {h: max(len(h), *(len(row[h]) for row in rows)) for h in heads}
    right = {"parameters", "gates"}

    def line(row: dict[str, str]) -> str:
        return "  ".join(row[h].rjust(widths[h]) if h in right else row[h].ljust(widths[h]) for h in heads).rstrip()

    return "\n".join([line({h: h for h in heads}), "  ".join("-" * widths[h] for h in heads), *map(line, rows)])


def markdown_table() -> str:
    """The README's table: what does not depend on a machine."""
    heads = ["name", "paper", "state", "gates", "in time"]
    rows = [describe(name, 64, 256) for name in list_cells()]
    lines = [" | ".join(f"`{row[h]}`" if h == "name" else row[h] for h in heads) for row in rows]
    return "\n".join(f"| {line} |" for line in [" | ".join(heads), " | ".join("---" for _ in heads), *lines])


def equations(name: str, input_size: int, hidden_size: int) -> str:
    """What a cell computes, what it takes, and how many numbers it learns."""
    cls = find(name)
    doc = "\n".join(line.removeprefix("    ") for line in (cls.__doc__ or "").strip().split("\n")).rstrip()
    constants = ", ".join(f"{n}={p.default!r}" if p.default is not p.empty else n for n, p in constants_of(cls).items())
    lines = [
        f"{name_of(cls)}: {doc}",
        "",
        f"state: {', '.join(cls.State._fields)}",
        f"arguments: {constants or 'none'}",
    ]
    if not needed(cls):
        parameters = create(cls, input_size, hidden_size).named_parameters()
        shapes = ", ".join(f"{n} {tuple(p.shape)}" for n, p in parameters)
        lines.append(f"parameters at input size {input_size}, hidden size {hidden_size}: {shapes}")
    return "\n".join(lines)


# ---- check


def check(args: list[str]) -> int:
    """Runs the conformance checks on a cell."""
    parser = Parser(prog="rnnzoo check", description="Run the conformance checks on a cell, yours or ours.")
    parser.add_argument("cell", help="a registered name or an import path such as my_lab.cells.Leaky")
    parser.add_argument("--input-size", type=int, default=3)
    parser.add_argument("--hidden-size", type=int, default=5)
    parser.add_argument("--cell-args", type=json.loads, default={}, help="the cell's own arguments: '{\"beta\": 0.5}'")
    given = parser.parse_args(args)
    from rnnzoo.testing import run_checks

    cell = create(given.cell, given.input_size, given.hidden_size, **given.cell_args)
    results = run_checks(cell, slow=True)
    counts = {"passed": 0, "FAILED": 0, "skipped": 0}
    for result in results:
        mark = "skipped" if result.skipped else "passed" if result.passed else "FAILED"
        counts[mark] += 1
        print(f"{mark:8} {result.name}{f': {result.message}' if result.message else ''}")
    print(f"{name_of(kind(cell))}: {', '.join(f'{n} {mark.lower()}' for mark, n in counts.items())}")
    return 1 if counts["FAILED"] else 0


# ---- bench


def bench(args: list[str]) -> int:
    """Times kernels and peers on the same work."""
    from rnnzoo.cli import bench

    parser = Parser(
        prog="rnnzoo bench",
        description="Time kernels and peers on the same work, by turns: medians, and half the distance of the"
        " quartiles. `first` is what the first call takes beyond the median, GEMM the share of the speed of a large"
        " product.",
    )
    bench.add_options(parser)
    return bench.run(parser.parse_args(args))


# ---- generate


def generate(args: list[str]) -> int:
    """Streams text from a language model, a character at a time."""
    parser = Parser(prog="rnnzoo generate", description="Sample text from a language model, streamed as it is made.")
    parser.add_argument("checkpoint", help="of a language model: <run>/checkpoints/best.ckpt")
    parser.add_argument("--prompt", default="In the beginning", help="what to go on from")
    parser.add_argument("--length", type=int, default=400, help="characters to make")
    parser.add_argument("--temperature", type=float, default=0.7, help="above 0; below 1 is more sure of itself")
    parser.add_argument("--top-p", type=float, default=0.9, help="in (0, 1]; how much of the distribution is kept")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(args)
    from rnnzoo.tasks.checkpoints import load_task
    from rnnzoo.tasks.language_modeling import LanguageModel, check_sampling

    check_sampling(given.prompt, given.length, given.temperature, given.top_p)
    model = load_task(given.checkpoint)
    if not isinstance(model, LanguageModel):
        raise RnnZooError(f"checkpoint {given.checkpoint!r} holds a {type(model).__name__}, not a language model")
    write(
        given.prompt,
        model.generate(
            given.prompt,
            given.length,
            temperature=given.temperature,
            top_p=given.top_p,
            generator=torch.Generator().manual_seed(given.seed),
        ),
    )
    return 0


def write(prompt: str, characters: Any) -> None:
    """Prints the prompt, and each character as it comes; the rate goes to a terminal's standard error."""
    sys.stdout.write(prompt)
    sys.stdout.flush()
    start, count = time.perf_counter(), 0
    for count, character in enumerate(characters, 1):  # noqa: B007  # counted, and used below
        sys.stdout.write(character)
        sys.stdout.flush()
    sys.stdout.write("\n")
    if sys.stderr.isatty():
        print(f"[{count / (time.perf_counter() - start):,.0f} characters/s]", file=sys.stderr)
