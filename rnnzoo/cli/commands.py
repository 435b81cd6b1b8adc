"""The plain commands, ``rnnzoo cells``, ``check``, ``runs`` and so on, which do not wait for Lightning to load."""

import argparse
import json
import sys
import time
from typing import Any

from rnnzoo.cells.registry import create, kind, list_cells, name_of
from rnnzoo.cli.parser import Parser
from rnnzoo.cli.tables import describe, equations, families_table, plain_table, speeds_in, zoo_table
from rnnzoo.errors import RnnZooError

PROMPT = "In the beginning"


class CellArgs(argparse.Action):
    """A cell's own arguments, as a JSON object."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        try:
            found = json.loads(values)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise RnnZooError(f"{option} must be a JSON object such as '{{\"beta\": 0.5}}', not {values!r}")
        setattr(namespace, self.dest, found)


# ---- cells


def cells(args: list[str]) -> int:
    """The table of all cells, or one cell's equations."""
    parser = Parser(prog="rnnzoo cells", description="List the registered cells, or print the equations of one.")
    parser.add_argument("cell", nargs="?", help="a registered name or an import path")
    parser.add_argument("--input-size", type=int, default=64, help="for the number of parameters (default: 64)")
    parser.add_argument("--hidden-size", type=int, default=256, help="for the number of parameters (default: 256)")
    parser.add_argument("--markdown", action="store_true", help="print the table as ZOO.md has it")
    parser.add_argument("--speeds", metavar="FILE", help="for --markdown, what `rnnzoo bench --all --json FILE` wrote")
    parser.add_argument("--families", action="store_true", help="print the table of families as the README has it")
    given = parser.parse_args(args)
    if given.speeds and not given.markdown:
        raise RnnZooError(f"--speeds {given.speeds} is for --markdown, which is not given")
    if given.cell:
        print(equations(given.cell, given.input_size, given.hidden_size))
    elif given.families:
        print(families_table())
    elif given.markdown:
        print(zoo_table(given.input_size, given.hidden_size, speeds_in(given.speeds) if given.speeds else {}))
    else:
        rows = [describe(name, given.input_size, given.hidden_size) for name in list_cells()]
        print(f"{len(rows)} cells; parameters at input size {given.input_size}, hidden size {given.hidden_size}")
        print(plain_table(rows))
        print("`rnnzoo cells NAME` prints the equations of one.")
    return 0


# ---- check


def check(args: list[str]) -> int:
    """Runs the conformance checks on a cell."""
    parser = Parser(prog="rnnzoo check", description="Run the conformance checks on a cell, yours or ours.")
    parser.add_argument("cell", help="a registered name or an import path such as my_lab.cells.Leaky")
    parser.add_argument("--input-size", type=int, default=3)
    parser.add_argument("--hidden-size", type=int, default=5)
    parser.add_argument("--cell-args", action=CellArgs, default={}, help="the cell's own arguments: '{\"beta\": 0.5}'")
    given = parser.parse_args(args)
    from rnnzoo.testing import Case, find_causes, report, run_checks
    from rnnzoo.testing.causes import fused_reason

    cell = create(given.cell, given.input_size, given.hidden_size, **given.cell_args)
    results = run_checks(cell, slow=True)
    failed = [result for result in results if not result.passed]
    causes = find_causes(cell, [result.name for result in failed])
    for line in report(failed, causes, f"{'FAILED':8} "):
        print(line)
    for result in results:
        if result.passed:
            mark = "skipped" if result.skipped else "passed"
            print(f"{mark:8} {result.name}{f': {result.message}' if result.message else ''}")
    if not failed and (reason := fused_reason(Case(cell))):
        print(f"runs by the reference kernel alone, a loop in Python{reason}")
    skipped = sum(result.skipped for result in results)
    passed = len(results) - len(failed) - skipped
    print(f"{name_of(kind(cell))}: {passed} passed, {len(failed)} failed, {skipped} skipped")
    return 1 if failed else 0


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


# ---- runs and plot


def runs(args: list[str]) -> int:
    """The runs in a folder."""
    from rnnzoo.cli import runs

    parser = Parser(
        prog="rnnzoo runs",
        description="List the runs in a folder, the newest last. The figures of validation are those at the lowest"
        " val_loss, which are best.ckpt's.",
    )
    runs.add_runs_options(parser)
    return runs.list_runs(parser.parse_args(args))


def plot(args: list[str]) -> int:
    """Several runs in one picture; or the forecasts of a checkpoint."""
    if args[:1] == ["forecast"]:
        from rnnzoo.cli import plot_forecast

        parser = Parser(
            prog="rnnzoo plot forecast",
            description="Draw the last windows of a forecaster's data: the past, what came, the median and the bands.",
        )
        plot_forecast.add_options(parser)
        return plot_forecast.run(parser.parse_args(args[1:]))
    from rnnzoo.cli import runs

    parser = Parser(
        prog="rnnzoo plot",
        description="Draw a metric of several runs into one picture, each labelled by what differs among their"
        " configs, with a dot at its best value. `rnnzoo plot forecast CHECKPOINT` draws forecasts; a folder of that"
        " name is ./forecast.",
    )
    runs.add_plot_options(parser)
    return runs.plot_runs(parser.parse_args(args))


# ---- import


def import_(args: list[str]) -> int:
    """A pretrained model of another library, as a checkpoint of ours."""
    from rnnzoo.cli import import_

    return import_.run(args)


# ---- backtest


def backtest(args: list[str]) -> int:
    """Forecasts from rolling origins, beside what came."""
    from rnnzoo.cli import backtest

    return backtest.run(args)


# ---- tune and compare


def tune(args: list[str]) -> int:
    """Searches the settings that a config names."""
    from rnnzoo.cli import tune

    return tune.run(args)


def compare(args: list[str]) -> int:
    """Trains several cells on the same budget, and reports on them."""
    from rnnzoo.cli import compare

    return compare.run(args)


# ---- generate


def generate(args: list[str]) -> int:
    """Streams text from a language model, a token at a time."""
    parser = Parser(prog="rnnzoo generate", description="Sample text from a language model, streamed as it is made.")
    parser.add_argument("checkpoint", nargs="?", help="of a language model: <run>/checkpoints/best.ckpt")
    parser.add_argument("--ckpt_path", metavar="CHECKPOINT", help="the same, as the other commands have it")
    parser.add_argument(
        "--prompt",
        action="append",
        help=f"what to go on from (default: {PROMPT!r}, or what the model knows); may be given several times",
    )
    parser.add_argument("--length", type=int, default=400, help="tokens to make at most, or characters")
    parser.add_argument(
        "--temperature", type=float, help="below 1 is more sure of itself, 0 takes the likeliest (default: 0.7)"
    )
    parser.add_argument("--top-k", "--top_k", type=int, help="choose among so many of the likeliest (default: all)")
    parser.add_argument("--top-p", "--top_p", type=float, help="in (0, 1]; the share that is kept (default: 0.9)")
    parser.add_argument("--beam", type=int, help="go on with so many texts at a time, and give the likeliest")
    parser.add_argument("--stop", action="append", help="a text before which to end; may be given several times")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default: 1)")
    given = parser.parse_args(args)
    from rnnzoo.tasks.checkpoints import load_task
    from rnnzoo.tasks.generation import Sampling
    from rnnzoo.tasks.language_modeling import LanguageModel, check_request

    if given.checkpoint and given.ckpt_path:
        raise RnnZooError(f"two checkpoints are given, {given.checkpoint!r} and {given.ckpt_path!r}; give one")
    checkpoint = given.checkpoint or given.ckpt_path
    if not checkpoint:
        parser.error("a checkpoint is missing: <run>/checkpoints/best.ckpt")
    usual = {} if given.beam is not None else {"temperature": 0.7, "top_p": 0.9}
    typed = {name: getattr(given, name) for name in ("temperature", "top_k", "top_p", "beam", "stop")}
    settings: dict[str, Any] = {**usual, **{name: value for name, value in typed.items() if value is not None}}
    settings["stop"] = tuple(settings.get("stop", ()))
    Sampling(**settings)
    check_request(given.prompt or [PROMPT], given.length)
    model = load_task(checkpoint)
    if not isinstance(model, LanguageModel):
        raise RnnZooError(f"checkpoint {checkpoint!r} holds a {type(model).__name__}, not a language model")
    prompts = given.prompt or [
        model.text.begins_with(PROMPT)
    ]  # a text of another language may have none of its letters
    if len(prompts) == 1 and given.beam is None and not model.text.backward:
        write(prompts[0], model.stream(prompts[0], given.length, seed=given.seed, **settings))
        return 0
    for prompt, text in zip(prompts, model.generate(prompts, given.length, seed=given.seed, **settings), strict=True):
        print(f"{text}{prompt}" if model.text.backward else f"{prompt}{text}")
    return 0


def write(prompt: str, pieces: Any) -> None:
    """Prints the prompt, and each piece as it comes; the rate goes to a terminal's standard error."""
    sys.stdout.write(prompt)
    sys.stdout.flush()
    start, count = time.perf_counter(), 0
    for piece in pieces:
        count += len(piece)
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    if sys.stderr.isatty():
        print(f"[{count / (time.perf_counter() - start):,.0f} characters/s]", file=sys.stderr)
