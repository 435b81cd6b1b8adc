"""What is lost with rows of a series: gru_d, which is told of them, beside gru on what was filled forward.

    python benchmarks/missing_rows.py [--shares 0 0.3 0.6] [--seeds 1 2 3] [--epochs 4]

Half-hourly electricity demand, of which a share of the rows is removed at random, whole rows, the temperature and the
working day with the demand. Each model is trained by configs/forecast_covariates.yaml but for its cell and for what
becomes of the rows that are missing: a mask and time gaps, or the row before. Both forecast from every origin of the
test part, and are judged by the whole truth, that of the removed rows too; errors are scaled by those of repeating the
week before in the whole training part.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint

from rnnzoo.benchmark.machine import describe
from rnnzoo.data import SeriesData
from rnnzoo.data.rdatasets_series import elecdemand
from rnnzoo.tasks import Forecaster

ROOT = Path(__file__).resolve().parents[1]
WAYS = {"gru_d": "mask", "gru": "forward_fill"}  # what each cell gets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.3, 0.6])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()
    config = yaml.safe_load((ROOT / "configs" / "forecast_covariates.yaml").read_text())
    whole = elecdemand()["train"].to_pandas()
    season = SeriesData("elecdemand").season
    found: dict[float, dict[str, list[float]]] = {}
    for share in given.shares:
        for seed in given.seeds:
            gone = np.random.default_rng(seed).random(len(whole)) < share
            gone[[0, len(whole) - 1]] = False  # so that the parts lie where they lie in the whole series
            for cell, missing in WAYS.items():
                epochs = given.epochs or config["trainer"]["max_epochs"]
                error = trained(config, whole, whole[~gone], season, cell, missing, seed, epochs)
                found.setdefault(share, {}).setdefault(cell, []).append(error)
                print(f"{share:.0%} removed, seed {seed}, {cell}: MASE {error:.4f}", flush=True)
    print(f"\n{describe('cpu')['processor']}\n")
    print(f"| rows removed | {' | '.join(f'`{cell}`, `missing: {how}`' for cell, how in WAYS.items())} |")
    print(f"| --- |{' --- |' * len(WAYS)}")
    for share, errors in found.items():
        cells = [f"{statistics.mean(own):.3f}{spread(own)}" for own in errors.values()]
        print(f"| {share:.0%} | {' | '.join(cells)} |")


def spread(errors: list[float]) -> str:
    """The least and the largest, where there are several."""
    return f" ({min(errors):.3f} to {max(errors):.3f})" if len(errors) > 1 else ""


def trained(
    config: dict[str, Any],
    whole: pd.DataFrame,
    rows: pd.DataFrame,
    season: int,
    cell: str,
    missing: str,
    seed: int,
    epochs: int,
) -> float:
    """The mean absolute scaled error of a model of `rows` in the test part of the whole series."""
    seed_everything(seed, verbose=False)
    settings = {**config["data"]["init_args"], "dataset": rows.reset_index(drop=True), "missing": missing}
    data = SeriesData(**settings, target_column="demand", time_column="time", season=season)
    model = Forecaster(data.description, **{**config["model"]["init_args"], "cell": cell})
    with tempfile.TemporaryDirectory() as folder:
        best = ModelCheckpoint(folder, monitor="val_loss", save_weights_only=True)
        trainer = Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            callbacks=[best],
            enable_progress_bar=sys.stderr.isatty(),
            enable_model_summary=False,
        )
        trainer.fit(model, data)
        batches = trainer.predict(model, data.test_dataloader(), ckpt_path="best", weights_only=False)
    assert batches is not None
    truth, part = whole["demand"].to_numpy(), data.parts["train"]
    assert len(truth) == len(data.series)
    errors: list[float] = []
    for batch in batches:
        place = (batch["origin (of the order)"] + batch["step"] - 1).numpy()
        errors += np.abs(truth[place] - batch["q0.5"].numpy()).tolist()
    known = truth[part.start : part.stop]
    return float(np.mean(errors) / np.abs(known[season:] - known[:-season]).mean())


if __name__ == "__main__":
    main()
