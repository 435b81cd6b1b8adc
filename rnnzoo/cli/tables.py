"""The tables of cells, and one cell's equations."""

import inspect
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from rnnzoo.cells.contract import Cell, LinearCell, without_start
from rnnzoo.cells.registry import constants_of, create, find, list_cells, name_of
from rnnzoo.errors import RnnZooError
from rnnzoo.kernels.base import Work
from rnnzoo.kernels.choice import likely
from rnnzoo.kernels.layout import Dense


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
    line = (cls.__doc__ or "").strip().split("\n")[0]
    found = re.match(r".*?\b(?:19|20)\d\d\b(?: \(arXiv v\d\))?", line)
    return found[0] if found else line.split(",")[0].split(";")[0]


def plain_table(rows: list[dict[str, str]]) -> str:
    """Rows under their names, in columns as wide as they need."""
    heads = list(rows[0])
    widths = {h: max(len(h), *(len(row[h]) for row in rows)) for h in heads}
    right = {"parameters", "gates"}

    def line(row: dict[str, str]) -> str:
        return "  ".join(row[h].rjust(widths[h]) if h in right else row[h].ljust(widths[h]) for h in heads).rstrip()

    return "\n".join([line({h: h for h in heads}), "  ".join("-" * widths[h] for h in heads), *map(line, rows)])


def families_table() -> str:
    """The README's table: the cells of every file, under what its first line says it holds."""
    families: dict[str, list[str]] = {}
    for name, cls in list_cells().items():
        families.setdefault(cls.__module__, []).append(f"`{name}`")
    rows = [
        [(sys.modules[module].__doc__ or module).strip().split("\n")[0].rstrip("."), ", ".join(names)]
        for module, names in sorted(families.items())
    ]
    return _markdown(["family", "cells"], rows)


def zoo_table(input_size: int, hidden_size: int, speeds: Mapping[str, float]) -> str:
    """Every cell with its source, where its equations stand, its kernel, and its speed beside lstm's."""
    heads = ["cell", "source", "equations", "state", "in time", "parameters", "kernel", "speed"]
    rows = []
    for name, cls in list_cells().items():
        row = describe(name, input_size, hidden_size)
        path, line = place(cls)
        link = f"[{path}:{line}]({path}#L{line})"
        speed = f"{speeds[name]:.2f}" if name in speeds else "-"
        facts = [row[h] for h in ("state", "in time", "parameters", "kernel")]
        rows.append([f"`{name}`", row["paper"], link, *facts, speed])
    return _markdown(heads, rows)


def speeds_in(path: str) -> dict[str, float]:
    """How many times as fast as lstm each cell was, from what ``rnnzoo bench --all`` wrote.

    Raises:
        RnnZooError: there is no such file, or it holds something else.
    """
    try:
        rows = json.loads(Path(path).read_text())["rows"]
        times = {row["cell"]: row["median_ms"] for row in rows if row["name"] == "auto"}
        return {cell: times["lstm"] / ms for cell, ms in times.items()}
    except OSError as error:
        raise RnnZooError(f"--speeds {path!r} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise RnnZooError(f"--speeds {path!r} is not what `rnnzoo bench --all --json FILE` writes") from None


def place(cls: type[Cell]) -> tuple[str, int]:
    """The file of a cell's equations, from the folder that holds its package, and the line of its class."""
    path = Path(inspect.getsourcefile(cls) or "")
    depth = cls.__module__.count(".") + 1
    return "/".join(path.parts[-depth:]), inspect.getsourcelines(cls)[1]


def _markdown(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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
