"""The README's table of kernels, from what ``rnnzoo bench --json`` wrote.

    python benchmarks/table.py benchmarks/results/FILE.json [--what backward]

How many times as fast as its peer every kernel is, as the geometric mean over sizes, with the range.
"""

import argparse
import json
import statistics
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--what", default="backward")
    given = parser.parse_args()
    content = json.loads(given.file.read_text())
    machine, options = content["machine"], content["options"]
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in content["rows"]:
        if row["what"] == given.what and row["name"] != row["against"]:
            found.setdefault((row["cell"], row["against"]), {}).setdefault(row["name"], []).append(row["speedup"])
    names = list(dict.fromkeys(name for values in found.values() for name in values))
    print(
        f"{machine['gpu'] or machine['processor']}, {machine['threads']} threads, torch {machine['torch']},"
        f" {options['precision']}, {given.what}, {options['rounds']} rounds, {machine['when'][:10]}:\n"
    )
    lines = [["cell", "times as fast as", *names], ["---"] * (2 + len(names))]
    for (cell, against), values in found.items():
        lines.append([f"`{cell}`", against, *(entry(values.get(name)) for name in names)])
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))


def entry(values: list[float] | None) -> str:
    """The mean and the range."""
    if not values:
        return "-"
    return f"{statistics.geometric_mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
