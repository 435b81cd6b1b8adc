"""Draws cases and runs them: ``python tests/fuzz/fuzz.py --cases 10000``. Goes on where it was stopped."""

import argparse
import hashlib
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]
os.environ.setdefault("HF_HUB_OFFLINE", "1")
KINDS = ("settings", "configs", "data_files", "checkpoints")


def draw_and_run(strategy: object, count: int, seed: int, see: Callable[[object], None]) -> None:
    """Hands cases that a seed draws to `see`."""
    import hypothesis

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def one(case: object) -> None:
        see(case)

    one()


class Session:
    """What was done and found, in a folder, piece by piece: a piece that was not finished is done again."""

    def __init__(self, folder: Path, seed: int, piece: int = 50) -> None:
        self.folder, self.seed, self.piece = folder, seed, piece
        self.found: Counter[str] = Counter()
        self.done = self.run_now = 0
        self.started = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, kinds: tuple[str, ...], total: int, process: bool) -> None:
        import drawing
        import judge

        fault_of = judge.fault_of_process if process else judge.fault_of
        state = self.folder / f"{'processes' if process else 'cases'}-{self.seed}.json"
        pieces = json.loads(state.read_text()) if state.exists() else {}
        with tempfile.TemporaryDirectory() as made:
            checkpoints = drawing.make_checkpoints(Path(made)) if "checkpoints" in kinds else {}
        number = 0
        while self.done < total:
            kind = kinds[number % len(kinds)]
            key = f"{kind}-{number}"
            if key in pieces:
                self.done += pieces[key]["cases"]
                self.found.update(pieces[key]["faults"])
                number += 1
                continue
            faults: Counter[str] = Counter()
            seen = [0]

            def see(case: object, faults: Counter[str] = faults, seen: list[int] = seen) -> None:
                with tempfile.TemporaryDirectory() as folder:
                    fault = fault_of(case, Path(folder))
                seen[0] += 1
                self.run_now += 1
                if fault:
                    first = fault.splitlines()[0]
                    faults[first] += 1
                    self._keep(case, fault, first)
                self._show(self.done + seen[0], total, len(self.found | faults))

            strategy = drawing.checkpoints(checkpoints) if kind == "checkpoints" else getattr(drawing, kind)()
            draw_and_run(strategy, min(self.piece, total - self.done), self.seed * 1_000_003 + number, see)
            self.done += seen[0]
            self.found.update(faults)
            pieces[key] = {"cases": seen[0], "faults": faults}
            aside = state.with_suffix(".part")
            aside.write_text(json.dumps(pieces))
            aside.replace(state)
            number += 1

    def _keep(self, case: object, fault: str, first: str) -> None:
        """Keeps the smallest case of each fault."""
        folder = self.folder / hashlib.sha256(first.encode()).hexdigest()[:10]
        size = sum(map(len, case.files.values())) + sum(map(len, case.args))  # type: ignore[attr-defined]
        before = folder / "size"
        if before.exists() and int(before.read_text()) <= size:
            return
        folder.mkdir(exist_ok=True)
        case.write(folder)  # type: ignore[attr-defined]
        before.write_text(str(size))
        (folder / "fault").write_text(fault)

    def _show(self, done: int, total: int, kinds: int) -> None:
        rate = self.run_now / (time.monotonic() - self.started)
        left = (total - done) / rate
        line = f"{done}/{total} cases, {rate:.1f} a second, {left / 60:.0f} min left, {kinds} kinds of fault"
        if sys.__stderr__ is not None and (sys.__stderr__.isatty() or done % 100 == 0):
            end = "\r" if sys.__stderr__.isatty() else "\n"
            print(line, end=end, file=sys.__stderr__, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="in this process")
    parser.add_argument("--processes", type=int, default=200, help="cases more, by `python -m rnnzoo`")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--folder", type=Path, default=Path("fuzz"), help="what was done and found")
    given = parser.parse_args()
    import lightning.pytorch  # noqa: F401  # its log handler keeps the stderr that it is imported under
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    kinds = tuple(given.kinds.split(","))
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["RNNZOO_CACHE"], os.environ["HF_DATASETS_CACHE"] = f"{cache}/rnnzoo", f"{cache}/datasets"
        for count, process in ((given.cases, False), (given.processes, True)):
            session = Session(given.folder, given.seed)
            session.run(kinds, count, process)
            found += session.found
    for fault, times in found.most_common():
        print(f"{times:5} {hashlib.sha256(fault.encode()).hexdigest()[:10]} {fault}")
    print(f"{given.cases} cases and {given.processes} processes: {len(found)} kinds of fault, in {given.folder}")
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
