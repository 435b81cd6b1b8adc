"""A worker on a study whose trials are `fake_fit`: STORAGE FOLDER TOTAL ARGUMENTS."""

import sys
from pathlib import Path

from optuna.distributions import FloatDistribution
from optuna.pruners import NopPruner

from rnnzoo.tuning.objective import TrainedRun
from rnnzoo.tuning.search_space import SearchSpace
from rnnzoo.tuning.storage import open_storage
from rnnzoo.tuning.study import open_study, run_trials

FAKE_FIT = (sys.executable, str(Path(__file__).with_name("fake_fit.py")))
SPACE = SearchSpace({"model.learning_rate": FloatDistribution(1e-4, 1.0, log=True)})

if __name__ == "__main__":
    storage, folder, total, *arguments = sys.argv[1:]
    study = open_study("study", open_storage(storage, Path(folder)), "minimize", {})
    study.pruner = NopPruner()
    run = TrainedRun(arguments, SPACE.sample, "val_loss", "minimize", Path(folder), command=FAKE_FIT)
    run_trials(study, int(total), run, folder=Path(folder))
