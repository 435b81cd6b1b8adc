"""Where a run's metrics and checkpoints go."""

import csv
import os
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from rnnzoo.cache import written_aside


class MetricsFile(ExperimentWriter):
    """Lightning's writer of metrics.csv, which loses nothing of a file that is there.

    Lightning's takes away the metrics of a run that goes on, and writes the file anew, over the old one, where a metric
    is logged for the first time: what is killed then has lost it.
    """

    def cut(self, rows: int) -> list[dict[str, str]]:
        """Keeps the first rows of the file alone, and returns them."""
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            kept = [row for _, row in zip(range(rows), csv.DictReader(file), strict=False)]
        names = {name for row in kept for name, value in row.items() if value not in (None, "")}
        self.metrics_keys = sorted(names)
        if kept:
            self._write_whole([{name: row.get(name) for name in names} for row in kept])
        else:
            path.unlink()
        return kept

    def _check_log_dir_exists(self) -> None:
        """Takes nothing away."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        with open(self.metrics_file_path, newline="", encoding="utf-8") as file:
            self._write_whole(list(csv.DictReader(file)))

    def _write_whole(self, rows: list[dict[str, Any]]) -> None:
        path = Path(self.metrics_file_path)
        with written_aside(path) as made, made.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)


class RunLogger(CSVLogger):
    """Lightning's CSVLogger, in a folder that no other run has: of runs that start at once, each gets its own.

    Lightning takes the number behind the highest that is there, and makes the folder later: two runs wrote into one
    file, and over each other's checkpoints. From `start_clock` on each row has `seconds`.
    """

    _since: float | None = None
    _seconds_before = 0.0
    rows = 0  # logged so far

    @property
    def experiment(self) -> MetricsFile:
        """What writes metrics.csv; elsewhere than on the first process one that writes nothing."""
        if self._experiment is None and getattr(rank_zero_only, "rank", 0) == 0:
            self._fs.makedirs(self.root_dir, exist_ok=True)
            self._experiment = MetricsFile(log_dir=self.log_dir)
        made: MetricsFile = super().experiment
        return made

    def go_on(self, folder: Path, rows: int) -> None:
        """Writes into the folder of a run that goes on, behind the first rows of its metrics.

        Args:
            folder: below ``save_dir`` and `name`.
            rows: that were logged when the checkpoint was written that the run goes on from.
        """
        self._version = folder.name
        if getattr(rank_zero_only, "rank", 0) == 0:
            kept = self.experiment.cut(rows)
            self.rows = len(kept)
            self._seconds_before = float(kept[-1].get("seconds") or 0.0) if kept else 0.0

    @property
    def has_folder(self) -> bool:
        """Whether its folder was made; to ask for `log_dir` makes it."""
        return self._version is not None

    def start_clock(self) -> None:
        """Counts the `seconds` of the rows from now: `RunRecord` calls it when training starts."""
        self._since = time.perf_counter()

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        passed = self._seconds_before + time.perf_counter() - (self._since or 0.0)
        clock = {} if self._since is None else {"seconds": round(passed, 3)}
        self.rows += 1
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
