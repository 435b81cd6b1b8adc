"""`rnnzoo compare` as a user meets it."""

import csv
import re

import pytest
from command_line import TINY_MEMORY, shell

TINY = [*TINY_MEMORY, "--model.kernel=reference"]
LEAKY = """
from rnnzoo.cells import GatedCell, Hidden


class Leaky(GatedCell):
    gates, State, vectors = 1, Hidden, ("rate",)

    def update(self, wx, rh, s):
        a = self.rate.sigmoid()
        return Hidden((1 - a) * s.h + a * (wx + rh).tanh())


class Broken(Leaky):
    def update(self, wx, rh, s):
        return Hidden(s.h @ s.h)
"""


def test_what_cannot_be_compared_is_said_in_one_line_before_a_run(tmp_path, zoo, monkeypatch):
    (tmp_path / "their_cells.py").write_text(LEAKY)
    monkeypatch.syspath_prepend(tmp_path)

    def complaint(*given: str) -> str:
        return zoo("compare", *TINY, *given).complaint

    said = complaint("--cells=gru,lsmt,their_cells.Broken")
    assert said.startswith("--cells cannot all be compared here: lsmt: unknown cell 'lsmt'; did you mean 'lstm'?")
    assert "; their_cells.Broken: " in said
    assert complaint() == "--cells is missing: it takes names and import paths, as lstm,gru,my_lab.cells.Leaky"
    assert complaint("--cells=gru") == "--cells gru must name two cells at least, and none of them twice"
    assert complaint("--cells=gru,gru").endswith("and none of them twice")
    assert complaint("--cells=gru,lstm", "--seeds=0") == "--seeds=0 must be at least 1"
    assert complaint("--cells=gru,lstm", "--match=size").startswith("compare: argument --match: invalid choice")
    assert complaint("--cells=gru,lstm", "--model.learning_rate=0.1") == (
        "--model.learning_rate given, so that nothing is left to search: --tune 0 compares without a search"
    )
    (tmp_path / "more.yaml").write_text("compare: {space: {model.hidden_size: [8, 16]}}")
    assert complaint("--cells=gru,lstm", "--config=more.yaml") == (
        "compare.space.model.hidden_size cannot be searched: the comparison sets it"
    )
    (tmp_path / "more.yaml").write_text("compare: {cels: [gru]}")
    assert complaint("--config=more.yaml").startswith("compare.cels is unknown; did you mean 'cells'?")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_two_cells_of_which_one_is_the_users_are_compared_and_reported_on(tmp_path):
    (tmp_path / "their_cells.py").write_text(LEAKY)
    given = ["compare", *TINY, "--cells=gru,their_cells.Leaky", "--seeds=2", "--tune=1"]
    answer = shell(*given, cwd=tmp_path)
    assert answer.status == 0, answer
    assert re.search(r"^2 seeds do not tell \S+ from \S+ \(p = |^\S+ is better than ", answer.out, re.M)
    folder = tmp_path / "runs" / "long_memory" / "compare" / "long_memory"
    report = (folder / "report.md").read_text()
    for cell in ("gru", "their_cells.Leaky"):
        finals = []
        for path in (folder / cell / "seeds_after_1").glob("trial_*/metrics.csv"):
            (row,) = [row for row in csv.DictReader(path.open()) if row["test_loss"]]
            finals.append(float(row["test_loss"]))
        mean, seeds = re.search(rf"^\| {re.escape(cell)} \| (\S+) ± \S+ \| (\d) \|", report, re.M).groups()
        assert int(seeds) == len(finals) == 2
        assert float(mean) == pytest.approx(sum(finals) / 2, rel=1e-3)
        parameters = int(
            re.search(rf"^\| {re.escape(cell)} .*\| ([\d,]+) \| \S+ \| \d+ MiB", report, re.M)[1].replace(",", "")
        )
        assert parameters == pytest.approx(977, rel=0.03)  # of the config's own gru
    again = shell(*given, cwd=tmp_path)
    assert "has 6 of 6 runs; it goes on" in again.out
    assert len(list(folder.rglob("trial_*.log"))) == 6
