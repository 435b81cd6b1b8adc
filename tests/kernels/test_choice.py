"""The choice: the cheapest that can, the one asked for, or a sentence that says why not."""

from xml.etree import ElementTree

import pytest
import torch
from torch.nn.utils import parametrizations, prune

from rnnzoo import RNN, RnnZooError, create
from rnnzoo.cells import list_cells
from rnnzoo.cells.lstm import LSTM
from rnnzoo.kernels import KERNELS
from rnnzoo.kernels.choice import Explanation, Row

X = torch.randn(7, 4, 3)


def why(rnn, kernel, **options):
    rnn.kernel = "reference"
    return next(row.why_not for row in rnn.explain(X, **options).rows if row.kernel == kernel)


@pytest.mark.parametrize(("sizes", "lengths"), [((7, 4), None), ((7, 4), [7, 2, 1, 3]), ((1, 1), None)], ids=str)
@pytest.mark.parametrize("name", list_cells())
def test_auto_never_picks_a_kernel_that_cannot(name, sizes, lengths):
    rnn = RNN(name, 3, 5, 2, bidirectional=True)
    x = torch.randn(*sizes, 3)
    inputs = {n: torch.rand(*sizes, 1) for n in rnn.layers[0][0].inputs}
    table = rnn.explain(x, lengths=lengths, **inputs)
    able = {row.kernel: row.milliseconds for row in table.rows if row.why_not is None}
    assert table.chosen in able
    assert {row.kernel for row in table.rows} == set(KERNELS)
    assert "reference" in able, "the reference takes everything"
    if rnn.layers[0][0].pinned is None:
        assert able[table.chosen] == min(able.values())
    rnn(x, lengths=lengths, **inputs)


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        *((name, "native") for name in ("lstm", "gru", "rnn", "rnn_relu", "cudnn_gru")),
        *((name, "reference") for name in ("janet", "cho_gru", "peephole_lstm")),
        ("mingru", "linear_scan"),
    ],
)
def test_auto_picks_what_the_cell_is_known_for(name, chosen):
    assert RNN(name, 3, 5).explain(X).chosen == chosen


def test_each_reason_is_a_sentence_about_this_stack():
    assert why(RNN("janet", 3, 5), "native") == "janet has no torch equivalent"
    assert why(RNN("lstm", 3, 5), "linear_scan") == "lstm is not linear in its state"
    assert why(RNN("mingru", 3, 5), "linear_scan", lengths=[7, 1, 2, 3]) is None
    sizes = iter([5, 6])
    assert why(RNN(lambda i, h: create("gru", i, next(sizes)), 3, 5, 2), "native") == "hidden sizes differ: 5 and 6"
    biases = iter([True, False])
    mixed = RNN(lambda i, h: create("gru", i, h, bias=next(biases)), 3, 5, 2)
    assert why(mixed, "native") == "some layers have biases and some have none"
    names = iter(["gru", "rnn"])
    assert why(RNN(lambda i, h: create(next(names), i, h), 3, 5, 2), "native") == "the stack mixes gru and rnn"


def test_a_subclass_with_other_equations_is_not_given_to_the_vendor():
    class Doubled(LSTM):
        def update(self, wx, rh, s):
            return super().update(2 * wx, rh, s)

    rnn = RNN(Doubled, 3, 5)
    assert rnn.explain(X).chosen == "reference"
    assert why(rnn, "native").endswith("Doubled has no torch equivalent")


def test_a_kernel_that_cannot_run_says_why_and_what_auto_would_use():
    with pytest.raises(RnnZooError) as error:
        RNN("cho_gru", 3, 5, kernel="native")(X)
    assert str(error.value) == (
        "kernel 'native' cannot run this RNN: cho_gru has no torch equivalent; kernel='auto' would use 'reference'"
    )
    with pytest.raises(RnnZooError, match="kernel 'linear_scan' cannot run this RNN: lstm is not linear in its state"):
        RNN("lstm", 3, 5, kernel="linear_scan").explain(X)


def test_an_unknown_kernel_is_refused_where_it_is_given():
    message = r"unknown kernel 'nativ'; did you mean 'native'\? there are: auto, fused, native, linear_scan, reference"
    with pytest.raises(RnnZooError, match=message):
        RNN("lstm", 3, 5, kernel="nativ")
    rnn = RNN("lstm", 3, 5)
    with pytest.raises(RnnZooError, match=message):
        rnn.kernel = "nativ"
    with pytest.raises(RnnZooError, match="unknown kernel None; there are: "):
        rnn.kernel = None
    assert rnn.kernel == "auto"
    rnn.kernel = "reference"
    assert (rnn.kernel, rnn.explain(X).chosen) == ("reference", "reference")


def test_a_pinned_cell_that_its_kernel_cannot_run_is_an_error_and_no_fallback():
    names = iter(["cudnn_gru", "gru"])
    rnn = RNN(lambda i, h: create(next(names), i, h), 3, 5, 2)
    message = (
        "cell 'cudnn_gru' is pinned to kernel 'native', which cannot run this RNN: the stack mixes cudnn_gru and gru"
    )
    with pytest.raises(RnnZooError, match=message):
        rnn(X)
    rnn.kernel = "reference"  # unless another is asked for
    assert rnn(X)[0].shape == (7, 4, 5)


def test_a_pinned_cell_gives_what_its_plain_twin_gives():
    for pinned, plain in (("cudnn_lstm", "lstm"), ("cudnn_gru", "gru"), ("cudnn_rnn", "rnn")):
        a, b = RNN(pinned, 3, 5, 2), RNN(plain, 3, 5, 2, kernel="reference")
        b.load_state_dict(a.state_dict())
        assert a.explain(X).chosen == "native"
        torch.testing.assert_close(a(X)[0], b(X)[0])


def test_the_table_shows_every_kernel_and_marks_the_one_that_runs():
    lines = str(RNN("mingru", 3, 5).explain(X)).split("\n")
    assert lines[0].startswith("runs by 'linear_scan'")
    lines = [line for line in lines if line.split()[0] != "triton"]  # it is there where it can be
    assert [line.split()[0] for line in lines[1:]] == ["fused", "native", "->", "reference"]
    assert "cannot: mingru has no torch equivalent" in lines[2]
    assert "can, about" in lines[3]


def test_a_notebook_shows_the_table_with_what_a_cell_is_called_escaped():
    explanation = Explanation("reference", (Row("fused", "a < b"), Row("reference", None, 0.3612, "slow & sure")))
    shown = ElementTree.fromstring(explanation._repr_html_().replace("'", '"'))
    rows = [["".join(cell.itertext()) for cell in row] for row in shown.iter("tr")]
    assert rows[1:] == [["fused", "", "cannot: a < b"], ["reference", "0.361 ms", "can; slow & sure"]]
    assert [cell.tag for cell in list(shown.iter("tr"))[2]] == ["th"] * 3  # bold: it runs
    assert shown.find("caption").text == "runs by reference"


def test_why_the_loop_in_python_runs_is_said_of_the_kernel_that_would_be_faster():
    rows = (Row("fused", "it branches"), Row("native", "no equivalent"), Row("reference", None, 0.3))
    said = Explanation("reference", rows).why_reference("fused")
    assert said == "kernel 'reference' is a loop in Python; fused cannot: it branches"
    assert "there is no triton here" in Explanation("reference", rows).why_reference("triton")
    able = (Row("fused", None, 0.4), Row("reference", None, 0.3))
    assert "estimated to be slower" in Explanation("reference", able).why_reference("fused")
    assert Explanation("fused", able).why_reference("fused") == ""


def test_weights_that_are_derived_reach_whatever_kernel_runs():
    rnn = RNN("lstm", 3, 5, dtype=torch.float64)
    parametrizations.weight_norm(rnn.layers[0][0], "weight_hh")  # of another class from now on
    x = X.double()
    assert rnn.explain(x).chosen == "native"
    rnn(x)[0].sum().backward()
    assert rnn.layers[0][0].parametrizations.weight_hh.original1.grad.any()
    pruned = RNN("gru", 3, 5, dtype=torch.float64)
    prune.l1_unstructured(pruned.layers[0][0], "weight_hh", amount=0.5)
    by = {}
    for kernel in ("native", "reference"):
        pruned.kernel = kernel
        by[kernel] = pruned(x)[0]
    assert (pruned.layers[0][0].weight_hh == 0).float().mean() == pytest.approx(0.5, abs=0.02)
    torch.testing.assert_close(by["native"], by["reference"])


def test_a_stack_of_different_cells_runs_and_has_a_list_of_states():
    names = iter(["gru", "lstm", "mingru"])
    rnn = RNN(lambda i, h: create(next(names), i, h), 3, 5, 3, dtype=torch.float64)
    x = X.double()
    y, last = rnn(x)
    assert [type(layer) for layer in last] == [torch.Tensor, rnn.layers[1][0].State, torch.Tensor]
    y1, middle = rnn(x[:3])
    y2, _ = rnn(x[3:], middle)
    torch.testing.assert_close(torch.cat([y1, y2]), y)
