"""`benchmarks/reproduce.py`, on a row that takes seconds; Lightning is loaded once, not by every command of it."""

import contextlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rnnzoo.cli.main import main

SCRIPT = Path(__file__).parents[2] / "benchmarks/reproduce.py"
ROW = """
- name: tiny
  task: the adding problem
  commands:
    - cells gru
    - fit --config {{config}}/long_memory.yaml --model.hidden_size 4 --data.length 5 --data.examples [64,32,32]
      --data.batch_size 16 --trainer.max_steps 2 --seed_everything {{seed}} --trainer.default_root_dir {{folder}}
  metric: mean squared error
  baseline: {baseline}
  target: none
  also: {also}
  seeds: {seeds}
  threads: 1
"""


def in_this_process(words, cwd=None, stdout=None, **options):
    """`subprocess.run`, but for `rnnzoo fit`."""
    if words[:4] != [sys.executable, "-m", "rnnzoo", "fit"]:
        return subprocess.run(words, cwd=cwd, stdout=stdout, **options)
    with contextlib.chdir(cwd), contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stdout):
        return subprocess.CompletedProcess(words, main(words[3:]))


def files(folder, seeds, baseline="a constant prediction's", also="[]"):
    (folder / "rows.yaml").write_text(ROW.format(seeds=seeds, baseline=baseline, also=also))
    return [
        *(f"--rows={folder / 'rows.yaml'}", f"--results={folder / 'results.json'}"),
        *(f"--table={folder / 'TABLE.md'}", f"--folder={folder / 'runs'}"),
    ]


@pytest.fixture
def reproduce(tmp_path, monkeypatch, capsys):
    """Runs the script on the row: whether it ends well, and what it prints."""
    spec = importlib.util.spec_from_file_location("reproduce", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "reproduce", script)  # where dataclasses look for their module
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "subprocess", SimpleNamespace(run=in_this_process, STDOUT=subprocess.STDOUT))
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):  # which a run sets
        monkeypatch.setenv(name, "0")

    def run(*options, seeds="[1, 2]", **row):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *files(tmp_path, seeds, **row), *options])
        ended, _ = "", capsys.readouterr()
        try:
            script.main()
        except SystemExit as error:  # with a text or a status
            ended = str(error.code)
        said = capsys.readouterr()
        return SimpleNamespace(failed=bool(ended), out=said.out, err=said.err + ended)

    return run


def test_a_row_is_run_once_a_seed_goes_on_where_it_stopped_and_becomes_a_table(tmp_path, reproduce):
    first = reproduce(seeds="[1]")
    assert not first.failed, first.err
    one = json.loads((tmp_path / "results.json").read_text())
    assert list(one) == ["tiny/1"]
    second = reproduce()
    assert second.out.count("rnnzoo fit") == 1  # the other seed alone
    common = tmp_path / "runs/tiny/every seed/0.log"  # of a command that is the same for every seed
    assert common.stat().st_mtime < (tmp_path / "runs/tiny/1/1.log").stat().st_mtime
    both = json.loads((tmp_path / "results.json").read_text())
    assert both["tiny/1"] == one["tiny/1"]
    assert both["tiny/2"]["ours"] != both["tiny/1"]["ours"]
    log = (tmp_path / "runs/tiny/2/1.log").read_text()
    assert f"held-out mean squared error: {both['tiny/2']['ours']}" in log
    mean = (both["tiny/1"]["ours"] + both["tiny/2"]["ours"]) / 2
    text = (tmp_path / "TABLE.md").read_text()
    assert f"**{mean:.4g}**" in text
    assert f"a constant prediction's {both['tiny/1']['beside']:.4g}" in text
    words = [sys.executable, str(SCRIPT), *files(tmp_path, "[1, 2]")]
    again = subprocess.run(words, capture_output=True, text=True, check=True)
    assert again.stdout.count("rnnzoo fit") == 0


@pytest.mark.parametrize(
    ("options", "baseline", "wanted"),
    [
        (["tinny"], "none", "there is no row 'tinny': there are tiny"),
        ([], "no such method", "no line 'no such method: '"),
    ],
)
def test_what_cannot_be_run_is_said_and_nothing_is_written(tmp_path, reproduce, options, baseline, wanted):
    failed = reproduce(*options, seeds="[1]", baseline=baseline)
    assert failed.failed
    assert wanted in failed.err
    assert not (tmp_path / "results.json").exists()


def test_a_command_that_has_ended_well_is_not_run_again_unless_asked(tmp_path, reproduce):
    assert reproduce(seeds="[1]", baseline="no such method").failed  # behind its commands, which ended well
    log = tmp_path / "runs/tiny/1/1.log"
    before = log.stat().st_mtime_ns
    assert not reproduce(seeds="[1]").failed
    assert log.stat().st_mtime_ns == before
    assert not reproduce("--again", seeds="[1]").failed
    assert log.stat().st_mtime_ns > before
