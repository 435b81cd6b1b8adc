"""`benchmarks/reproduce.py` as a process, on a row that takes seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = """
- name: tiny
  task: the adding problem
  commands:
    - check gru
    - fit --config {{config}}/long_memory.yaml --model.hidden_size 4 --data.length 5 --data.examples [64,32,32]
      --data.batch_size 16 --trainer.max_steps 2 --seed_everything {{seed}} --trainer.default_root_dir {{folder}}
  metric: mean squared error
  baseline: {baseline}
  target: none
  also: {also}
  seeds: {seeds}
  threads: 1
"""


def reproduce(folder, *options, seeds="[1, 2]", baseline="a constant prediction's", also="[]"):
    (folder / "rows.yaml").write_text(ROW.format(seeds=seeds, baseline=baseline, also=also))
    files = [f"--rows={folder / 'rows.yaml'}", f"--results={folder / 'results.json'}", f"--table={folder / 'TABLE.md'}"]
    words = [sys.executable, str(ROOT / "benchmarks/reproduce.py"), *files, f"--folder={folder / 'runs'}", *options]
    return subprocess.run(words, capture_output=True, text=True)


def test_a_row_is_run_once_a_seed_goes_on_where_it_stopped_and_becomes_a_table(tmp_path):
    first = reproduce(tmp_path, seeds="[1]")
    assert first.returncode == 0, first.stdout + first.stderr
    one = json.loads((tmp_path / "results.json").read_text())
    assert list(one) == ["tiny/1"]
    second = reproduce(tmp_path)
    assert second.stdout.count("rnnzoo fit") == 1  # the other seed alone
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
    assert reproduce(tmp_path).stdout.count("rnnzoo fit") == 0


@pytest.mark.parametrize(
    ("options", "baseline", "wanted"),
    [
        (["tinny"], "none", "there is no row 'tinny': there are tiny"),
        ([], "no such method", "no line 'no such method: '"),
    ],
)
def test_what_cannot_be_run_is_said_and_nothing_is_written(tmp_path, options, baseline, wanted):
    failed = reproduce(tmp_path, *options, seeds="[1]", baseline=baseline)
    assert failed.returncode != 0
    assert wanted in failed.stderr
    assert not (tmp_path / "results.json").exists()
