"""A comparison of cells, whose runs are `fake_fit`."""

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.trial import TrialState
from worker import FAKE_FIT, SPACE

from rnnzoo.tuning.compare_report import draw_pictures, row_of, sections, write_report
from rnnzoo.tuning.comparison import SEED, Comparison, pooled, queue_seeds
from rnnzoo.tuning.report import importances
from rnnzoo.tuning.storage import open_storage

CELLS = ["gru", "lstm"]


def comparison_in(folder, trials=4, count=3):
    given = ["--model.learning_rate=0.01"]  # which a search wins over
    comparison = Comparison(
        "tiny", given, SPACE, "val_loss", "minimize", trials, count, folder, open_storage(None, folder), {}, FAKE_FIT
    )
    return comparison, [comparison.contender(cell, 8, False, NopPruner()) for cell in CELLS]


def run(comparison, contenders):
    ended = []
    comparison.run(
        contenders,
        lambda before: RandomSampler(seed=before),
        lambda contender, trial: ended.append((contender.cell, trial.params)),
        lambda count: None,
    )
    return ended


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    comparison, contenders = comparison_in(folder)
    return folder, contenders, run(comparison, contenders)


def test_each_cell_has_a_search_and_then_every_seed_with_the_best_of_it(compared):
    folder, contenders, ended = compared
    assert len(ended) == 2 * (4 + 3)
    for contender in contenders:
        best = contender.search.best_params["model.learning_rate"]
        assert [trial.params[SEED] for trial in contender.seeds.trials] == [1, 2, 3]
        configs = [trial.user_attrs["result"]["config"] for trial in contender.seeds.trials]
        assert {float(re.search(r"learning_rate: (.*)}", text)[1]) for text in configs} == {best}
        assert contender.seeds.best_value == pytest.approx(contender.search.best_value)
    assert len(list(folder.glob("*/*/trial_*.log"))) == 14


def test_a_comparison_that_is_given_again_does_only_what_is_new(tmp_path):
    run(*comparison_in(tmp_path, trials=2, count=1))
    assert run(*comparison_in(tmp_path, trials=2, count=1)) == []
    more = run(*comparison_in(tmp_path, trials=2, count=2))
    assert more == [("gru", {SEED: 2}), ("lstm", {SEED: 2})]


def test_a_seed_that_is_queued_twice_runs_once(tmp_path):
    comparison, contenders = comparison_in(tmp_path, trials=0, count=2)
    study = contenders[0].seeds
    queue_seeds(study, 2)
    queue_seeds(study, 2)
    assert [trial.state for trial in study.trials] == [TrialState.WAITING] * 2
    for trial in list(study.trials):  # as another machine does at the same moment
        study.add_trial(trial)
    ended = run(comparison, contenders)
    assert sorted(params[SEED] for cell, params in ended if cell == "gru") == [1, 2]


def test_the_searches_of_all_cells_are_analysed_as_one(compared):
    _, contenders, _ = compared
    shares = importances(pooled(contenders, SPACE, "minimize"))
    assert set(shares) == {"model.cell", "model.learning_rate"}
    assert shares["model.learning_rate"] > 0.9  # the same trials for both cells, and the loss rests on the rate alone
    assert sum(shares.values()) == pytest.approx(1)


class References(HTMLParser):
    """What a page would load or run."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag in ("script", "link", "iframe", "img", "object"):
            self.found.append(tag)
        self.found += [v for k, v in attrs if k in ("src", "href", "xlink:href") and not str(v).startswith("#")]


def test_the_report_is_one_page_that_loads_nothing(compared, tmp_path):
    _, contenders, _ = compared
    rows = [row_of(contender, "val_loss", 4) for contender in contenders]
    assert [len(row.values) for row in rows] == [3, 3]
    assert rows[0].steps_a_second == 2  # 3 steps in 1.5 s, as `fake_fit` says
    made = sections(rows, contenders, "val_loss", ["a <b> & c"], {"model.cell": 0.25}, draw_pictures(rows, "val_loss"))
    page, markdown = write_report(made, tmp_path)
    text = page.read_text()
    references = References()
    references.feed(text)
    assert references.found == []
    assert "url(http" not in text
    assert "@import" not in text
    assert "a &lt;b&gt; &amp; c" in text
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(pictures) == 2
    for picture in pictures:
        ElementTree.fromstring(picture)
    mean = np.mean(rows[0].values)
    assert f"| gru | {mean:.4g} ± 0 | 3 |" in markdown.read_text()
    assert "- 3 seeds do not tell gru from lstm (p = 1)" in markdown.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "report.md", "report_1.svg", "report_2.svg"}
