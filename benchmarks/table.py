"""The README's table of kernels, from what ``rnnzoo bench --json`` wrote.

    python benchmarks/table.py benchmarks/results/FILE.json [--what backward] [--beside lstm]

How many times as fast as its peer every kernel is, as the geometric mean over sizes, with the range; or how many times
as long as the cell `--beside` each cell takes by the same kernel.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--what", default="backward")
    parser.add_argument("--beside", metavar="CELL")
    given = parser.parse_args()
    content = json.loads(given.file.read_text())
    machine, options = content["machine"], content["options"]
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    rows = [row for row in content["rows"] if row["what"] == given.what]
    others = {place(row): row["median_ms"] for row in rows if row["cell"] == given.beside}
    for row in rows:
        if given.beside and row["cell"] != given.beside and place(row) in others:
            key, ratio = (row["cell"], given.beside), row["median_ms"] / others[place(row)]
        elif not given.beside and row["name"] != row["against"]:
            key, ratio = (row["cell"], row["against"]), row["speedup"]
        else:
            continue
        found.setdefault(key, {}).setdefault(row["name"], []).append(ratio)
    names = list(dict.fromkeys(name for values in found.values() for name in values))
    print(
        f"{machine['gpu'] or machine['processor']}, {machine['threads']} threads, torch {machine['torch']},"
        f" {options['precision']}, {given.what}, {options['rounds']} rounds, {machine['when'][:10]}:\n"
    )
    lines = [["cell", "times as long as" if given.beside else "times as fast as", *names], ["---"] * (2 + len(names))]
    for (cell, against), values in found.items():
        lines.append([f"`{cell}`", against, *(entry(values.get(name)) for name in names)])
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))


def place(row: dict[str, Any]) -> tuple[Any, ...]:
    """What two cells have in common that are timed by one kernel on one size."""
    return tuple(row[n] for n in ("B", "T", "I", "H", "name"))


def entry(values: list[float] | None) -> str:
    """The mean and the range."""
    if not values:
        return "-"
    return f"{statistics.geometric_mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
