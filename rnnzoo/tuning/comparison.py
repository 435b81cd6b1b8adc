"""Cells on the same budget: for each a search over the learning rate, then runs of its best setting with several seeds.

Each cell has two studies in one storage, so that a comparison that is stopped goes on, and is shared by machines.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import IntDistribution
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from rnnzoo.errors import RnnZooError
from rnnzoo.tuning.objective import TrainedRun
from rnnzoo.tuning.report import best_of, completed
from rnnzoo.tuning.search_space import SearchSpace, arguments
from rnnzoo.tuning.study import Surplus, counts, open_study, run_trials
from rnnzoo.tuning.trial_process import COMMAND

SEED = "seed_everything"
_POLL = 2.0  # seconds between two looks at what other workers do


@dataclass
class Contender:
    """A cell that is compared.

    Args:
        cell: its name or import path.
        hidden_size: that was matched; None where the search chooses it.
        settings: arguments of ``rnnzoo fit`` that make the model its own.
        search: the study of its settings.
        seeds: the study of its seeds.
    """

    cell: str
    hidden_size: int | None
    settings: Sequence[str]
    search: optuna.Study
    seeds: optuna.Study


@dataclass
class Comparison:
    """What is compared, and where it is kept.

    Args:
        name: of the comparison, with which the names of its studies begin.
        given: arguments of ``rnnzoo fit`` that all runs share.
        space: that is searched for each cell.
        metric, direction: by which a search judges.
        trials: of each search; 0 leaves the settings as they are.
        count: of seeds.
        folder: of the runs.
        storage: of the studies.
        shared: what makes runs comparable.
    """

    name: str
    given: Sequence[str]
    space: SearchSpace
    metric: str
    direction: str
    trials: int
    count: int
    folder: Path
    storage: BaseStorage
    shared: Mapping[str, Any]
    command: Sequence[str] = COMMAND

    def sizes(self) -> optuna.Study:
        """The study, without trials, that keeps the matched sizes."""
        return open_study(self.name, self.storage, self.direction, self.shared)

    def contender(self, cell: str, hidden_size: int | None, own_cell: bool, pruner: BasePruner) -> Contender:
        """The studies of a cell."""
        settings: dict[str, Any] = {"model.cell": cell} | ({} if own_cell else {"model.cell_args": None})
        if hidden_size is not None:
            settings["model.hidden_size"] = hidden_size
        search, seeds = (
            open_study(f"{self.name}/{cell}/{part}", self.storage, self.direction, self.shared)
            for part in ("search", f"seeds after {self.trials}")  # another search may find other settings
        )
        search.pruner, seeds.pruner = pruner, NopPruner()
        return Contender(cell, hidden_size, arguments(settings), search, seeds)

    def run(
        self,
        contenders: Sequence[Contender],
        sampler: Callable[[int], BaseSampler],
        finished: Callable[[Contender, FrozenTrial], None],
        waiting: Callable[[int], None],
    ) -> None:
        """Runs what is missing, while others may do the same."""
        said = False
        while True:
            done = [self._run_one(each, sampler, partial(finished, each)) for each in contenders]
            if all(done):
                return
            studies = [study for each in contenders for study in (each.search, each.seeds)]
            held = sum(len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))) for study in studies)
            if held and not said:
                waiting(held)
                said = True
            time.sleep(_POLL)

    def _run_one(
        self, contender: Contender, sampler: Callable[[int], BaseSampler], finished: Callable[[FrozenTrial], None]
    ) -> bool:
        """Runs what is missing of a cell and is not run by others; whether all of it is there."""
        folder = self.folder / contender.cell
        given = [*self.given, *contender.settings]
        if self.trials:
            search = self._runs(given, self.space.sample, folder / "search", ["--trainer.limit_test_batches=0"])
            options: dict[str, Any] = {"sampler": sampler, "finished": finished, "wait": False}
            try:
                if not run_trials(contender.search, self.trials, search, folder=search.folder, **options):
                    return False
                given += arguments(best_of(contender.search).params)
            except RnnZooError as error:
                raise RnnZooError(f"{contender.cell}: {error}") from error
        runs = self._runs(given, partial(self._seed, contender.seeds), folder / f"seeds_after_{self.trials}")
        return run_trials(
            contender.seeds,
            self.count,
            runs,
            folder=runs.folder,
            prepare=partial(queue_seeds, contender.seeds, self.count),
            finished=finished,
            wait=False,
            most_failures=None,  # the report names them
        )

    def _runs(
        self,
        given: Sequence[str],
        values: Callable[[Trial], Mapping[str, Any]],
        folder: Path,
        closing: Sequence[str] = (),
    ) -> TrainedRun:
        return TrainedRun(given, values, self.metric, self.direction, folder, closing, self.command)

    def _seed(self, study: optuna.Study, trial: Trial) -> dict[str, int]:
        """The seed of a trial, unless an earlier one has it."""
        seed = trial.suggest_int(SEED, 1, self.count)
        for other in study.get_trials(deepcopy=False):
            taken = counts(other) or other.state == TrialState.RUNNING
            if taken and other.number < trial.number and other.params.get(SEED) == seed:
                raise Surplus
        return {SEED: seed}


def queue_seeds(study: optuna.Study, count: int) -> None:
    """Queues the seeds from 1 to `count` that no trial has, or waits for."""
    there = {
        trial.params.get(SEED)
        for trial in study.get_trials(deepcopy=False)
        if counts(trial) or trial.state in (TrialState.RUNNING, TrialState.WAITING)
    }
    for seed in range(1, count + 1):
        if seed not in there:
            study.add_trial(
                optuna.create_trial(
                    state=TrialState.WAITING, params={SEED: seed}, distributions={SEED: IntDistribution(1, count)}
                )
            )


def pooled(contenders: Sequence[Contender], space: SearchSpace, direction: str) -> optuna.Study:
    """The trials of all searches as one study in which the cell is a setting too."""
    from optuna.distributions import CategoricalDistribution

    study = optuna.create_study(direction=StudyDirection[direction.upper()])
    cells = CategoricalDistribution([contender.cell for contender in contenders])
    for contender in contenders:
        for trial in completed(contender.search):
            study.add_trial(
                optuna.create_trial(
                    value=trial.value,
                    params={"model.cell": contender.cell, **trial.params},
                    distributions={"model.cell": cells, **space.distributions},
                )
            )
    return study
