"""What a study has found: its best trial as a config, which settings matter, and pictures."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from rnnzoo.cache import written_aside
from rnnzoo.errors import RnnZooError
from rnnzoo.tuning.base_config import as_config
from rnnzoo.tuning.study import ERROR, RESULT, answered

BEST = "best.yaml"
LEAST = 4  # trials from which on an analysis of variance says anything


def completed(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that came to their end."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def best_of(study: optuna.Study) -> FrozenTrial:
    """The best trial.

    Raises:
        RnnZooError: none came to its end.
    """
    if not completed(study):
        failed = [trial for trial in answered(study) if ERROR in trial.user_attrs]
        why = f": {failed[-1].user_attrs[ERROR]}" if failed else ""
        raise RnnZooError(f"no trial of study {study.study_name!r} came to its end{why}")
    return study.best_trial


def write_best(trial: FrozenTrial, config: Mapping[str, Any], path: Path) -> None:
    """Writes the config of a trial, which ``rnnzoo fit`` runs."""
    result = trial.user_attrs[RESULT]
    trained = yaml.safe_load(result["config"])
    settings = ", ".join(f"{name}={value}" for name, value in trial.params.items())
    head = f"# Trial {trial.number}: {settings}: {trial.value}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        aside.write_text(head + as_config(trained, config), encoding="utf-8")


def importances(study: optuna.Study) -> dict[str, float]:
    """The share of each setting in the variance of the value, by fANOVA; empty where there are too few trials."""
    done = completed(study)
    varied = {name for trial in done for name in trial.params if len({t.params.get(name) for t in done}) > 1}
    if len(done) < LEAST or not varied or len({trial.value for trial in done}) < 2:
        return {}
    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: float(share) for name, share in found.items()}


def draw(study: optuna.Study, metric: str, folder: Path) -> list[Path]:
    """Draws the history of a study, its importances, each setting alone, and all beside each other."""
    import matplotlib

    matplotlib.use("Agg")
    import numpy as np
    from matplotlib import pyplot as plt
    from optuna.visualization import matplotlib as pictures

    made = []
    kinds: Sequence[tuple[str, Any]] = [
        ("history", lambda: pictures.plot_optimization_history(study, target_name=metric)),
        ("slices", lambda: pictures.plot_slice(study, target_name=metric)),
        ("parallel", lambda: pictures.plot_parallel_coordinate(study, target_name=metric)),
    ]
    if importances(study):
        kinds = [*kinds, ("importances", lambda: _importances_picture(study, metric))]
    for name, plot in kinds:
        with warnings.catch_warnings(), plt.style.context("default"):
            warnings.simplefilter("ignore")
            figure = np.ravel(plot())[0].figure
            path = folder / f"{name}.png"
            with written_aside(path) as aside:
                figure.savefig(aside, format="png", dpi=120, bbox_inches="tight")
            plt.close(figure)
            made.append(path)
    return made


def _importances_picture(study: optuna.Study, metric: str) -> Any:
    from optuna.visualization import matplotlib as pictures

    evaluator = FanovaImportanceEvaluator(seed=0)
    return pictures.plot_param_importances(study, evaluator=evaluator, target_name=metric)
