"""Where a run's metrics and checkpoints go."""

import os
import time
from argparse import Namespace
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only


class RunLogger(CSVLogger):
    """Lightning's CSVLogger, in a folder that no other run has: of runs that start at once, each gets its own.

    Lightning takes the number behind the highest that is there, and makes the folder later: two runs wrote into one
    file, and over each other's checkpoints. From `start_clock` on each row has `seconds`.
    """

    _since: float | None = None

    @property
    def has_folder(self) -> bool:
        """Whether its folder was made; to ask for `log_dir` makes it."""
        return self._version is not None

    def start_clock(self) -> None:
        """Counts the `seconds` of the rows from now: `RunRecord` calls it when training starts."""
        self._since = time.perf_counter()

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        clock = {} if self._since is None else {"seconds": round(time.perf_counter() - self._since, 3)}
        super().log_metrics({**metrics, **clock}, step)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace | None = None) -> None:
        """Writes hparams.yaml, without the description of the data.

        A description holds the vocabulary, and OmegaConf takes seconds to write 10,000 tokens, at each call of `fit`
        and `test`. Checkpoints have it.
        """
        given = vars(params) if isinstance(params, Namespace) else params or {}
        super().log_hyperparams({name: value for name, value in given.items() if name != "description"})

    def _get_next_version(self) -> int:
        version = super()._get_next_version()
        while getattr(rank_zero_only, "rank", 0) == 0:  # the other processes of a run are told its folder
            try:
                os.makedirs(os.path.join(self.root_dir, f"version_{version}"))
            except FileExistsError:
                version += 1
            else:
                break
        return version
