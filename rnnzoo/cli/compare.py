"""``rnnzoo compare``: cells on the same budget, each with settings of its own search, over several seeds."""

import argparse
import shlex
import signal
from typing import TYPE_CHECKING, Any

from rnnzoo import __version__
from rnnzoo.cli.parser import Parser
from rnnzoo.cli.tune import (
    PRUNERS,
    SAMPLERS,
    add_storage_options,
    check_worker,
    metric_of,
    parse,
    pruner_of,
    read_section,
    sampler_of,
    shown,
)
from rnnzoo.errors import RnnZooError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from rnnzoo.tuning.comparison import Comparison, Contender

MATCHES = ("parameters", "time", "none")
_COMPARE = ("cells", "match", "seeds", "tune", "metric", "direction", "space", "sampler", "pruner")
_USUAL: dict[str, Any] = {"match": "parameters", "seeds": 5, "tune": 10, "sampler": "tpe", "pruner": "median"}


def run(args: list[str]) -> int:
    """Runs the command."""
    parser = Parser(
        prog="rnnzoo compare",
        description="Train several cells on the same budget: hidden sizes that match the config's own model, a search"
        " over the learning rate for each, then runs with several seeds; and write report.html and report.md. Each run"
        " is a process of its own. The same command, given again, goes on; given at once on several machines with one"
        " --storage, they share the runs. What is not given here stands under `compare:` in the config. Further options"
        " are those of `rnnzoo fit`.",
        allow_abbrev=False,
    )
    parser.add_argument("--cells", metavar="A,B", help="names, or import paths such as my_lab.cells.Leaky")
    parser.add_argument("--match", choices=MATCHES, help="what hidden sizes are matched by (default: parameters)")
    parser.add_argument("--seeds", type=int, help="runs of each cell with its best settings (default: 5)")
    parser.add_argument("--tune", type=int, metavar="TRIALS", help="trials of each cell's search (default: 10)")
    add_storage_options(parser)
    parser.add_argument("--sampler", choices=SAMPLERS, help="what picks settings (default: tpe)")
    parser.add_argument("--pruner", choices=PRUNERS, help="what stops bad trials of a search (default: median)")
    given, others = parse(parser, args)
    check_worker(parser.prog)
    from rnnzoo.tuning.study import interruptible

    try:
        with interruptible():
            return _compare(given, others, args)
    except KeyboardInterrupt:
        print(f"stopped; go on with: {shlex.join(['rnnzoo', 'compare', *args])}", flush=True)
        return 128 + signal.SIGINT


def _taken(given: argparse.Namespace, section: dict[str, Any]) -> dict[str, Any]:
    """The options, as given or as the config has them.

    Raises:
        RnnZooError: one of them is none.
    """
    made = {name: _first(getattr(given, name), section.get(name), usual) for name, usual in _USUAL.items()}
    cells = given.cells.split(",") if given.cells else section.get("cells")
    if not isinstance(cells, list) or not all(isinstance(cell, str) and cell.strip() for cell in cells):
        raise RnnZooError("--cells is missing: it takes names and import paths, as lstm,gru,my_lab.cells.Leaky")
    made["cells"] = [cell.strip() for cell in cells]
    if len(made["cells"]) < 2 or len(set(made["cells"])) < len(made["cells"]):
        raise RnnZooError(f"--cells {','.join(made['cells'])} must name two cells at least, and none of them twice")
    for name, least in (("seeds", 1), ("tune", 0)):
        if not isinstance(made[name], int) or made[name] < least:
            raise RnnZooError(f"--{name}={made[name]} must be at least {least}")
    for name, known in (("match", MATCHES), ("sampler", SAMPLERS), ("pruner", PRUNERS)):
        if made[name] not in known:
            raise RnnZooError(f"compare.{name} is {made[name]!r}; it takes one of {', '.join(known)}")
    return made


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


def _compare(given: argparse.Namespace, others: list[str], args: list[str]) -> int:
    import warnings

    import torch

    from rnnzoo.benchmark.machine import processor
    from rnnzoo.training.messages import relative
    from rnnzoo.tuning.base_config import comparable, resolve, run_root
    from rnnzoo.tuning.compare_report import draw_pictures, row_of, sections, write_report
    from rnnzoo.tuning.comparison import Comparison, pooled
    from rnnzoo.tuning.report import importances
    from rnnzoo.tuning.storage import open_storage

    config = resolve(others)
    section = read_section(config, "compare", _COMPARE)
    options = _taken(given, section)
    metric, direction = metric_of(given.metric, section)
    models, space = _models_and_space(others, config, options)
    sizes = _sizes(models, options)
    root = run_root(config, others)
    name = given.study or root.name
    folder = root / "compare" / name
    shared = {"metric": metric, **comparable(config), "match": options["match"], "space": space.as_text()}
    comparison = Comparison(
        name,
        others,
        space,
        metric,
        direction,
        options["tune"],
        options["seeds"],
        folder,
        open_storage(given.storage, folder),
        shared,
    )
    contenders = [
        comparison.contender(cell, size, cell == models.cell, pruner_of(options["pruner"]))
        for cell, size in _agreed(comparison, sizes, options["match"]).items()
    ]
    warnings.filterwarnings("ignore", module="optuna.*")
    progress = Progress(comparison, contenders)
    comparison.run(contenders, sampler_of(options["sampler"], given.seed), progress.finished, progress.waiting)
    rows = [row_of(contender, metric, options["tune"]) for contender in contenders]
    if not any(row.values for row in rows):
        raise RnnZooError(f"no run of comparison {name!r} came to its end: {rows[0].failures[-1]}")
    matched = "not matched" if options["match"] == "none" else f"matched by {options['match']}"
    about = [
        f"rnnzoo compare {shlex.join(_without_storage(args))}",
        f"{len(contenders)} cells, {matched}; for each {options['tune']} trials of"
        f" {', '.join(space.distributions)}, then {options['seeds']} seeds",
        f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, rnnzoo {__version__}",
    ]
    everything = importances(pooled(contenders, space, direction)) if options["tune"] else {}
    made = sections(rows, contenders, metric, about, everything, draw_pictures(rows, metric))
    paths = write_report(made, folder)
    for kind, content in made:
        if kind == "list" and content is not about:
            print("\n".join(content))
    print(f"report: {', '.join(relative(str(path)) for path in paths)}")
    return 0


def _without_storage(words: list[str]) -> list[str]:
    """The words of a command without its storage, whose URL may hold a password."""
    pairs = zip(["", *words], words, strict=False)
    return [word for before, word in pairs if word.partition("=")[0] != "--storage" and before != "--storage"]


def _models_and_space(others: list[str], config: dict[str, Any], options: dict[str, Any]) -> Any:
    """The models of the config, and what is searched for each cell: the learning rate, unless the config says more."""
    from rnnzoo.training.run_files import flat
    from rnnzoo.tuning.base_config import check_space, without_typed
    from rnnzoo.tuning.matching import Models
    from rnnzoo.tuning.search_space import read_space

    models = Models(others)
    rate = models.learning_rate
    usual = {"model.learning_rate": {"low": rate / 10, "high": rate * 10, "log": True}}
    wanted = read_space((config.get("compare") or {}).get("space") or usual, flat(config))
    for name in ("model.cell", *(["model.hidden_size"] if options["match"] != "none" else [])):
        if name in wanted.distributions:
            raise RnnZooError(f"compare.space.{name} cannot be searched: the comparison sets it")
    space = without_typed(others, wanted)
    if options["tune"] and not space.distributions:
        given = ", ".join(f"--{name}" for name in wanted.distributions)
        raise RnnZooError(f"{given} given, so that nothing is left to search: --tune 0 compares without a search")
    check_space(others, space)
    return models, space


def _sizes(models: Any, options: dict[str, Any]) -> dict[str, tuple[int, float]]:
    """The matched sizes; every cell that cannot run is named at once.

    Raises:
        RnnZooError: a cell cannot run in this task.
    """
    from rnnzoo.tuning.matching import matched_size

    made, wrong = {}, []
    for cell in options["cells"]:
        try:
            made[cell] = matched_size(models, cell, options["match"])
        except RnnZooError as error:
            wrong.append(f"{cell}: {error}")
        except Exception as error:  # whatever a cell of somebody's own raises
            wrong.append(f"{cell}: {type(error).__name__}: {error} (`rnnzoo check {cell}` says more)")
    if wrong:
        raise RnnZooError(f"--cells cannot all be compared here: {'; '.join(wrong)}")
    return made


def _agreed(comparison: "Comparison", sizes: dict[str, tuple[int, float]], match: str) -> dict[str, int | None]:
    """The hidden sizes that all workers take: a size that was measured by another stays as it is."""
    study = comparison.sizes()
    agreed: dict[str, int | None] = {}
    for cell, (size, measure) in sizes.items():
        key = f"hidden_size of {cell}"
        if key not in study.user_attrs:
            study.set_user_attr(key, size)
        agreed[cell] = study.user_attrs[key] if match != "none" else None
        what = {"parameters": f"{measure:,.0f} parameters", "time": f"{measure:.2f} times the reference's step"}
        if match != "none":
            print(f"{cell}: {agreed[cell]} units, {what[match]}", flush=True)
    return agreed


class Progress:
    """A line for each run that ends.

    Args:
        comparison: that runs.
        contenders: its cells.
    """

    def __init__(self, comparison: "Comparison", contenders: "list[Contender]"):
        self._comparison, self._contenders = comparison, contenders
        if done := self._done():
            print(f"comparison {comparison.name!r} has {done} of {self._total()} runs; it goes on", flush=True)

    def _total(self) -> int:
        return (self._comparison.trials + self._comparison.count) * len(self._contenders)

    def _done(self) -> int:
        from rnnzoo.tuning.study import answered

        parts = [
            (answered(contender.search)[: self._comparison.trials], answered(contender.seeds)[: self._comparison.count])
            for contender in self._contenders
        ]
        return sum(len(search) + len(seeds) for search, seeds in parts)

    def finished(self, contender: "Contender", trial: "FrozenTrial") -> None:
        """Says how a run ended."""
        from rnnzoo.tuning.study import ERROR

        if ERROR in trial.user_attrs:
            result = f"failed: {trial.user_attrs[ERROR]}"
        else:
            result = "pruned" if trial.state.name == "PRUNED" else f"{self._comparison.metric} {trial.value:.6g}"
        settings = ", ".join(f"{name} {shown(value)}" for name, value in trial.params.items())
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        done, total = self._done(), self._total()
        print(f"{contender.cell}: {result}; {settings}; {seconds:.0f} s; {done} of {total} runs", flush=True)

    def waiting(self, count: int) -> None:
        """Says that other workers have the last runs."""
        print(f"waiting for {count} run{'s' * (count != 1)} of other workers", flush=True)
