"""Results as tables and as JSON."""

import dataclasses
import json
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnnzoo.benchmark.measure import Mean, Results, Row, geometric_means
from rnnzoo.benchmark.peers import PEERS
from rnnzoo.benchmark.setting import Setting
from rnnzoo.errors import RnnZooError


def title(setting: Setting, cell: str) -> str:
    """A line that says what is timed."""
    B, T, I, H = setting.sizes
    parts = [cell, setting.what, f"B={B} T={T} I={I} H={H}", setting.precision]
    parts += [f"{setting.layers} layers"] if setting.layers > 1 else []
    parts += ["both directions"] if setting.bidirectional else []
    parts += ["lengths T/4 to T"] if setting.lengths and setting.what != "step" else []
    return "  ".join(parts)


def table(rows: Sequence[Row], cells: bool = False) -> str:
    """The rows of one setting; with `cells` one a cell, fastest first, and times relative to `against`."""
    against = rows[0].against
    if cells:
        against, rows = rows[0].setting.cell, sorted(rows, key=lambda row: row.median)
    heads = ["", "ms", "", "first", "GEMM", "MiB", f"time of {against}" if cells else f"vs {against}"]
    lines = [heads]
    for row in rows:
        name = f"{row.setting.cell if cells else row.name}{f' ({row.runs})' if row.runs else ''}"
        share = "-" if row.share is None else f"{100 * row.share:.0f} %"
        memory = "-" if row.memory is None else f"{row.memory:.1f}"
        ratio = 1 / row.speedup if cells else row.speedup
        lines.append([name, number(row.median), f"± {number(row.spread)}", f"+{number(row.first)}"])
        lines[-1] += [share, memory, f"{ratio:.2f}x"]
    shown = [k for k in range(len(heads)) if any(line[k] not in ("", "-") for line in lines[1:])]
    widths = [max(len(line[k]) for line in lines) for k in range(len(heads))]
    return "\n".join(
        "  " + "  ".join(line[k].rjust(widths[k]) if k else line[k].ljust(widths[k]) for k in shown) for line in lines
    )


def number(value: float) -> str:
    """Three digits and more, never an exponent."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.{3 if value < 1 else 2 if value < 100 else 1}f}"


def closing(means: Sequence[Mean]) -> str:
    """The geometric means, one line a cell and measure."""
    groups: dict[tuple[str, str, str, int], list[str]] = {}
    for mean in means:
        if mean.name != mean.against:
            key = (mean.cell, mean.what, mean.against, mean.sizes)
            groups.setdefault(key, []).append(f"{mean.name} {mean.speedup:.2f}x")
    return "\n".join(
        f"{cell} {what}: {', '.join(values)} as fast as {against}, geometric mean of {sizes} sizes"
        for (cell, what, against, sizes), values in groups.items()
        if sizes > 1
    )


def absent(results: Results, asked: bool) -> str:
    """What was not timed, a line a name and reason; peers that nobody asked for only where they could have been."""
    found: dict[tuple[str, str], list[str]] = {}
    for (setting, name), reason in results.left_out:
        if asked or name not in PEERS or "failed" in reason or "needs" in reason:
            of = found.setdefault((name, reason), [])
            of += [] if setting.cell in of else [setting.cell]
    return "\n".join(f"not timed: {name} ({', '.join(of)}): {reason}" for (name, reason), of in found.items())


def document(results: Results, machine: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """All there is to know about a run, for JSON."""

    def flat(setting: Setting) -> dict[str, Any]:
        return dataclasses.asdict(setting)

    rows = []
    for row in results.rows:
        of = flat(row.setting)
        of |= {"name": row.name, "kind": "peer" if row.name in PEERS else "kernel", "runs": row.runs or None}
        of |= {"median_ms": row.median, "spread_ms": row.spread, "first_ms": row.first, "memory_mib": row.memory}
        of |= {"gemm_share": row.share, "against": row.against, "speedup": row.speedup, "samples_ms": row.samples}
        rows.append(of)
    return {
        "machine": machine,
        "options": options,
        "rows": rows,
        "geometric_means": [mean._asdict() for mean in geometric_means(results.rows)],
        "left_out": [{**flat(job.setting), "name": job.name, "reason": why} for job, why in results.left_out],
    }


def plain_name(processor: str) -> str:
    """A processor's name as a file's."""
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((r|tm)\)|@.*", "", processor.lower())).strip("-")


def json_path(given: str, processor: str, day: str) -> Path:
    """Where to write: `given`, or in it, where it is a folder, a file named by the processor and the day.

    Raises:
        RnnZooError: it cannot be written.
    """
    path = Path(given)
    if path.is_dir():
        path = path / f"{plain_name(processor)}-{day}.json"
    if not path.parent.is_dir():
        raise RnnZooError(f"--json {given!r} cannot be written: there is no folder {str(path.parent)!r}")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        raise RnnZooError(f"--json {given!r} cannot be written: {error.strerror}") from None


def write(path: Path, content: dict[str, Any]) -> None:
    """Written aside and renamed: a reader, or a run that is ended, never leaves half a file."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(content, indent=1) + "\n")
    aside.replace(path)
