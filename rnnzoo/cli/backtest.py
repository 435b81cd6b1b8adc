"""``rnnzoo backtest``: what a forecaster would have said at each of its last origins, beside what came."""

from pathlib import Path
from typing import Any

from rnnzoo.cli.parser import Parser
from rnnzoo.errors import RnnZooError


def run(args: list[str]) -> int:
    """Runs the command: predictions from rolling origins, by the checkpoint as it is or by models trained anew."""
    parser = Parser(
        prog="rnnzoo backtest",
        description="Forecast the last windows of each series from rolling origins, and judge them beside what came."
        " Further options are those of `rnnzoo predict`: --ckpt_path, --data.*, --predictions.path.",
    )
    parser.add_argument("--windows", type=int, default=1, help="origins of each series (default: 1)")
    parser.add_argument("--step", type=int, help="steps from one origin to the next (default: the horizon)")
    parser.add_argument("--refit", action="store_true", help="train anew at each origin, on what was known by then")
    given, others = parser.parse_known_args(args)
    for name in ("windows", "step"):
        value = getattr(given, name)
        if value is not None and value < 1:
            raise RnnZooError(f"--{name}={value} must be at least 1")
    from rnnzoo.cli.lightning import run_lightning

    settings = ["--data.predict_split", "backtest", "--data.backtest_windows", str(given.windows)]
    settings += [] if given.step is None else ["--data.backtest_step", str(given.step)]
    if not any(argument.split("=")[0] == "--predictions.path" for argument in others):
        settings += ["--predictions.path", "backtest.parquet"]
    return run_lightning("predict", [*others, *settings], after=lambda cli: _judge(cli, given.refit))


def _judge(cli: Any, refit: bool) -> None:
    """Prints the figures of a backtest that was written, or of another with models that are trained anew."""
    import pandas as pd
    import pyarrow as pa

    from rnnzoo.data.series import SeriesData
    from rnnzoo.tasks.backtesting import figures_by_cutoff, lines_of, refitted
    from rnnzoo.tasks.forecasting import Forecaster
    from rnnzoo.training.messages import say
    from rnnzoo.training.predictions import write_table

    model, data = cli.model, cli.datamodule
    if not isinstance(model, Forecaster) or not isinstance(data, SeriesData):
        raise RnnZooError(f"backtest is for a Forecaster of SeriesData, not for a {type(model).__name__}")
    config = cli.config["predict"]
    path = Path(config.predictions.path)
    if refit:
        settings = dict(config.data.init_args)
        table = refitted(model, data, settings, _epochs(config.ckpt_path), accelerator="auto", devices=1)
        write_table(pa.Table.from_pandas(table, preserve_index=False), path)
    else:
        table = pd.read_csv(path) if path.suffix.lower() == ".csv" else pd.read_parquet(path)
    for line in lines_of(figures_by_cutoff(table, data, model.quantiles), model.quantiles):
        say(line)


def _epochs(checkpoint: str) -> int:
    """The epochs that a checkpoint's run was to have; as many as it has, where its config does not say."""
    import yaml

    from rnnzoo.tasks.checkpoints import read_checkpoint

    config = Path(checkpoint).absolute().parent.parent / "config.yaml"
    epochs = None
    if config.is_file():
        epochs = ((yaml.safe_load(config.read_text(encoding="utf-8")) or {}).get("trainer") or {}).get("max_epochs")
    return int(epochs) if epochs and epochs > 0 else int(read_checkpoint(checkpoint).get("epoch", 0)) + 1
