"""Our forecasters beside neuralforecast's LSTM and GRU and statsforecast's models, on the same windows.

    sh benchmarks/forecast_peers.sh [taylor] [us_employment]     # makes the peers' environment, then runs this

Ours are `rnnzoo fit` and `rnnzoo predict` with the configs as they are. The peers have the same series, the same
windows for training and test, as many values of the past, windows a batch, steps, units and layers, and the same
quantiles; what else they have is their default, the robust scaler of each window, an MLP as decoder and a rate of 1e-3
for example. Validation steps are held out of both trainings; ours chooses its checkpoint and calibrates its quantiles
by them, and neuralforecast by default says its loss there. Its trainings and ours take turns, a seed after the other.
statsforecast's models are fitted anew at each window to all before it.

All are judged by one code (`forecast_figures.py`), scaled by the mean of |y_t - y_{t - season}| before the test. What
was found is written to `results/forecast_peers.json`, and from there to the table in `benchmarks/README.md`. What is
there already is not run again while its settings stay the same (`--again` does).
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from forecast_figures import CELLS, check_windows, figures, scales, table

ROOT = Path(__file__).resolve().parents[1]
RESULTS, README = ROOT / "benchmarks/results/forecast_peers.json", ROOT / "benchmarks/README.md"
MARKS = "<!-- forecast_peers -->\n", "<!-- /forecast_peers -->\n"
# the config of each data set, its parts where the config says nothing of them, and the statistical models beside it,
# each with how many windows it leaves out between two
SETS: dict[str, tuple[str, dict[str, int], dict[str, tuple[dict[str, Any], int]]]] = {
    "taylor": (
        "forecast",
        {"validation_steps": 432, "test_steps": 816},  # behind 3,216 for training and validation
        {
            "SeasonalNaive": ({"season_length": 336}, 1),
            "AutoETS": ({"season_length": 48}, 8),
            "MSTL": ({"season_length": [48, 336]}, 8),
        },
    ),
    "us_employment": (
        "forecast_many",
        {},
        {
            "SeasonalNaive": ({"season_length": 12}, 1),
            "AutoETS": ({"season_length": 12}, 1),
            "MSTL": ({"season_length": 12}, 1),
            # last year's value and the last yearly change
            "ARIMA(0,1,0)(0,1,0)": (
                {"class": "ARIMA", "order": [0, 1, 0], "season_length": 12, "seasonal_order": [0, 1, 0]},
                1,
            ),
            "ARIMA(0,1,1)(0,1,1) of logarithms": (
                {
                    "class": "ARIMA",
                    "order": [0, 1, 1],
                    "season_length": 12,
                    "seasonal_order": [0, 1, 1],
                    "logarithms": True,
                },
                1,
            ),
        },
    ),
}


@dataclass
class Comparison:
    """What is the same for all models of a data set.

    Args:
        name: of the data set.
        config: of ours.
        parts: settings of the data that ours has beyond the config.
        about: for the result: sizes of windows, parts and training.
        frequency: of the times, as the peers want it.
        series: in long form.
        columns: the columns of our predictions with the id and the time, where there are any.
        folder: for what is run.
    """

    name: str
    config: str
    parts: list[str]
    about: dict[str, Any]
    frequency: str | int
    series: pd.DataFrame
    columns: tuple[str, str] | None
    folder: Path

    def judged(self, forecasts: pd.DataFrame, every: int, what: str) -> dict[str, Any]:
        """The figures of forecasts of every so many windows."""
        of = self.about
        count = check_windows(forecasts, self.series, of["test_steps"], of["horizon"], every * of["step"], what)
        scale = scales(self.series, of["season"], of["test_steps"])
        return {**figures(forecasts, self.series, scale, of["quantiles"]), "windows_judged": count, "every": every}


def compare(name: str, folder: Path, steps: int | None) -> Comparison:
    """The comparison on a data set, with its series written for the peers.

    Args:
        name: of the data set.
        folder: for what is run.
        steps: of each training, instead of the config's epochs.
    """
    from rnnzoo.data import SeriesData

    config, parts, _ = SETS[name]
    content = yaml.safe_load((ROOT / f"configs/{config}.yaml").read_text(encoding="utf-8"))
    of_data, model, trainer = content["data"]["init_args"], content["model"]["init_args"], content["trainer"]
    parts = {part: count for part, count in parts.items() if part not in of_data}
    data = SeriesData(**of_data, **parts)
    epoch = len(data.train_dataloader())
    about = {
        "series": len(data.panel),
        **{part: getattr(data, part) for part in ("horizon", "context", "season", "batch_size")},
        **{part: getattr(data, part) for part in ("validation_steps", "test_steps")},
        "step": data.eval_stride,
        "hidden_size": model["hidden_size"],
        "num_layers": model.get("num_layers", 1),
        "quantiles": model.get("quantiles", [0.1, 0.5, 0.9]),
        "steps": steps or trainer["max_epochs"] * epoch,
        "epoch": epoch,
    }
    panel = data.panel
    ids = panel.ids if len(panel.ids) else [name]
    times = pd.Series(range(len(panel.values))) if panel.times is None else panel.as_times(panel.times)
    lengths = panel.lengths.tolist()
    repeated = [one for one, length in zip(ids, lengths, strict=True) for _ in range(length)]
    series = pd.DataFrame({"unique_id": repeated, "ds": times, "y": panel.values})
    folder.mkdir(parents=True, exist_ok=True)
    series.to_parquet(folder / "series.parquet", index=False)
    columns = (data.id_column, data.time_column) if data.id_column and data.time_column else None
    words = [f"--data.{part}={count}" for part, count in parts.items()]
    words += [f"--trainer.max_steps={steps}"] if steps else []
    frequency = 1 if panel.times is None else pd.infer_freq(series["ds"][: lengths[0]])
    return Comparison(name, config, words, about, frequency, series, columns, folder)


def ours(of: Comparison, cell: str, seed: int, threads: int) -> dict[str, Any]:
    """A training of ours and its forecasts of the test part; before the first one a step, which compiles its kernel."""
    folder, first = of.folder / f"rnnzoo-{cell}-{seed}", of.folder / f"rnnzoo-{cell}-first"
    folder.mkdir(parents=True, exist_ok=True)
    words = ["fit", f"--config={ROOT / 'configs' / of.config}.yaml", *of.parts, f"--model.cell={cell}"]
    words += [f"--seed_everything={seed}", "--trainer.enable_progress_bar=false"]
    words += ["--trainer.callbacks+=forecast_pace.Pace", f"--trainer.callbacks.path={folder / 'pace.json'}"]
    if not first.is_dir():
        first.mkdir()
        run([sys.executable, "-m", "rnnzoo", *words, "--trainer.max_steps=1"], first, "fit", threads)
    said = run([sys.executable, "-m", "rnnzoo", *words], folder, "fit", threads)
    checkpoint = re.findall(r"^checkpoint: (.+)$", said, re.MULTILINE)[-1]
    words = ["predict", "--ckpt_path", checkpoint, "--predictions.path=forecasts.parquet"]
    run([sys.executable, "-m", "rnnzoo", *words], folder, "predict", threads)
    made = pd.read_parquet(folder / "forecasts.parquet")
    if of.columns is None:
        made = made.assign(unique_id=of.name, place=made["origin"] + made["step"] - 1)
    else:
        places = of.series.assign(place=of.series.groupby("unique_id").cumcount()).drop(columns="y")
        made = made.rename(columns=dict(zip(of.columns, ("unique_id", "ds"), strict=True)))
        made = made.merge(places, how="left", on=["unique_id", "ds"], validate="many_to_one")
    made["cutoff"] = made["place"] - made["step"]
    took = json.loads((folder / "pace.json").read_text())
    return {**of.judged(made, 1, f"rnnzoo {cell}"), **took}


def theirs(
    of: Comparison, python: str, what: str, model: str, settings: dict[str, Any], seed: int, every: int, threads: int
) -> dict[str, Any]:
    """A peer's forecasts of the test part, and what they took, with the versions of its packages."""
    folder = of.folder / f"{what}-{model}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    about = ("horizon", "quantiles", "test_steps", "validation_steps")
    request = {
        **{name: of.about[name] for name in about},
        **{"what": what, "model": model, "settings": settings, "seed": seed, "step": every * of.about["step"]},
        "frequency": of.frequency,
        "series": str(of.folder / "series.parquet"),
        "forecasts": str(folder / "forecasts.parquet"),
        "pace": str(folder / "pace.json"),
    }
    (folder / "request.json").write_text(json.dumps(request))
    script = ROOT / "benchmarks/nixtla_forecasts.py"
    said = run([python, str(script), str(folder / "request.json")], folder, "run", threads)
    took = json.loads(said.strip().splitlines()[-1])
    return {**of.judged(pd.read_parquet(folder / "forecasts.parquet"), every, model), **took}


def neural_settings(of: Comparison) -> dict[str, Any]:
    """What neuralforecast's models have that is not their default."""
    return {
        "input_size": of.about["context"] + of.about["season"],
        "encoder_n_layers": of.about["num_layers"],
        "encoder_hidden_size": of.about["hidden_size"],
        "max_steps": of.about["steps"],
        "windows_batch_size": of.about["batch_size"],
        "val_check_steps": of.about["epoch"],
        "training_data_availability_threshold": 1.0,  # whole windows, as ours are
    }


def run(words: list[str], folder: Path, name: str, threads: int) -> str:
    """What a command prints that ends well.

    Raises:
        SystemExit: it fails.
    """
    paths = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": paths}
    ended = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    (folder / f"{name}.log").write_text(ended.stdout + ended.stderr)
    if ended.returncode:
        raise SystemExit(
            f"failed with status {ended.returncode}: {' '.join(words)}\n{(ended.stdout + ended.stderr)[-2000:]}"
        )
    return ended.stdout


@dataclass
class Job:
    """A model that is trained and judged.

    Args:
        model: its name in the result.
        seed: of its training.
        settings: while they stay the same, the result holds.
        run: what it reached.
    """

    model: str
    seed: int
    settings: dict[str, Any]
    run: Callable[[], dict[str, Any]]


def jobs(of: Comparison, peers: str, seeds: list[int], threads: int, longer: int | None) -> list[list[Job]]:
    """All models of a data set; those in one list take turns, and are run together."""
    config = yaml.safe_load((ROOT / f"configs/{of.config}.yaml").read_text(encoding="utf-8"))
    made: list[list[Job]] = []
    own, its = {"config": config, "more": of.parts}, neural_settings(of)
    for seed in seeds:
        for cell, peer in CELLS.items():
            pair = [
                Job(f"rnnzoo {cell}", seed, own, partial(ours, of, cell, seed, threads)),
                Job(
                    f"neuralforecast {peer}",
                    seed,
                    its,
                    partial(theirs, of, peers, "neural", peer, its, seed, 1, threads),
                ),
            ]
            made.append(pair if seed % 2 else pair[::-1])
    if longer:
        more = {**its, "max_steps": longer}
        for seed in seeds:
            for peer in CELLS.values():
                alone = partial(theirs, of, peers, "neural", peer, more, seed, 1, threads)
                made.append([Job(f"neuralforecast {peer}, {longer:,} steps", seed, more, alone)])
    for model, (settings, every) in SETS[of.name][2].items():
        judged = partial(theirs, of, peers, "statistical", model, settings, 0, every, threads)
        windows = {part: of.about[part] for part in ("horizon", "test_steps", "step", "quantiles")}
        made.append([Job(f"statsforecast {model}", 0, {**settings, "every": every, **windows}, judged)])
    return made


def write(content: dict[str, Any], path: Path) -> None:
    """Writes what was found, aside first: a run that is stopped leaves the one before."""
    aside = path.with_name(f"{path.name}.new")
    aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)


def write_table(content: dict[str, Any]) -> None:
    """Puts the table in its place in the README."""
    begin, end = MARKS
    before, _, rest = README.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    README.write_text(before + begin + table(content) + end + after, encoding="utf-8")


def main() -> None:
    """Runs what is to be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", metavar="DATA", help=f"of {', '.join(SETS)}; by default all")
    parser.add_argument("--peers", metavar="PYTHON", required=True, help="of the environment with the peers")
    parser.add_argument("--again", action="store_true", help="run also what is done")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, help="of each training, to try it: writes no table")
    parser.add_argument("--longer", type=int, metavar="STEPS", help="train neuralforecast's models this long too")
    parser.add_argument("--folder", type=Path, default=Path("runs/forecast_peers"), help="default: %(default)s")
    given = parser.parse_args()
    if unknown := [name for name in given.data if name not in SETS]:
        parser.error(f"there is no data set {unknown[0]!r}: there are {', '.join(SETS)}")
    from rnnzoo.benchmark.machine import describe

    folder = given.folder.absolute()
    results = folder / "tried.json" if given.steps else RESULTS
    content = json.loads(results.read_text()) if results.is_file() else {"about": {}, "data": {}, "runs": {}}
    for name in given.data or SETS:
        of = compare(name, folder / name, given.steps)
        content["data"][name] = of.about
        for group in jobs(of, given.peers, given.seeds, given.threads, given.longer):
            keys = [f"{name}/{job.model}/{job.seed}" for job in group]
            before = [content["runs"].get(key, {}).get("settings") for key in keys]
            if before == [job.settings for job in group] and not given.again:
                continue
            for key, job in zip(keys, group, strict=True):
                print(f"{key} ...", flush=True)
                made = job.run()
                packages = {package: version(package) for package in ("rnnzoo", "lightning")} | made.pop("versions", {})
                machine = describe("cpu")["processor"]
                content["about"] = {
                    "processor": machine,
                    "day": date.today().isoformat(),
                    "versions": content["about"].get("versions", {}) | packages,
                }
                content["runs"][key] = {"data": name, "model": job.model, "seed": job.seed, **made}
                content["runs"][key]["settings"] = job.settings
                print(", ".join(f"{k} {v:.4g}" for k, v in made.items() if isinstance(v, float)), flush=True)
            write(content, results)
    if given.steps:
        print(table(content))
    else:
        write(content, results)
        write_table(content)


if __name__ == "__main__":
    main()
