"""What torch's own operations cannot do is asked of them; a kernel that fails all the same is set aside, once."""

import itertools
import warnings

import pytest
import torch
from torch import nn

from rnnzoo import RNN, RnnZooError
from rnnzoo.kernels import KERNELS, choice, vendor
from rnnzoo.kernels.fused.build import BuildError

X = torch.randn(7, 4, 3)


@pytest.fixture(autouse=True)
def _anew():
    kept = dict(vendor._ANSWERS), dict(choice._SET_ASIDE)
    vendor._ANSWERS.clear(), choice._SET_ASIDE.clear()
    yield
    for table, before in zip((vendor._ANSWERS, choice._SET_ASIDE), kept, strict=True):
        table.clear(), table.update(before)


def why(rnn, kernel="native", x=X, **options):
    rnn.kernel = "reference"
    return next(row.why_not for row in rnn.explain(x, **options).rows if row.kernel == kernel)


LAYOUTS = {"whole": None, "even": [7] * 4, "uneven": [7, 3, 1, 2]}
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}


NARROW = {None: [*DTYPES], "bfloat16": ["float32", "float64", "bfloat16"], "float16": ["float32", "float64", "float16"]}


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "rnn_relu"])
@pytest.mark.parametrize(("narrow", "dtype"), [(n, d) for n, dtypes in NARROW.items() for d in dtypes])
def test_what_it_says_of_a_call_is_what_torchs_own_module_does(name, narrow, dtype):
    """On this processor, whichever it is."""
    module = {"lstm": nn.LSTM, "gru": nn.GRU}.get(name, nn.RNN)
    options = {"nonlinearity": "relu"} if name == "rnn_relu" else {}
    dtype = DTYPES[dtype]
    x = X.to(dtype)
    for layout, bias, backward in itertools.product(LAYOUTS.values(), (True, False), (True, False)):
        theirs, ours = module(3, 5, 2, bias=bias, dtype=dtype, **options), RNN(name, 3, 5, 2, bias, dtype=dtype)
        given = x if layout is None else nn.utils.rnn.pack_padded_sequence(x, layout, enforce_sorted=False)
        with (
            torch.autocast("cpu", DTYPES[narrow or "bfloat16"], enabled=narrow is not None),
            torch.set_grad_enabled(backward),
        ):
            try:
                y = theirs(given)[0]
                if backward:
                    (y if layout is None else y.data).float().sum().backward()
                able = True
            except RuntimeError:
                able = False
            # by lengths they would be seen to be even
            given = {"x": given} if layout == LAYOUTS["even"] else {"x": x, "lengths": layout}
            assert (why(ours, **given) is None) == able, (layout, bias, backward)
            ours.kernel = "auto"
            y = ours(**given)[0]
        if backward:
            (y if isinstance(y, torch.Tensor) else y.data).float().sum().backward()


def test_it_is_asked_once_for_every_kind_of_call(monkeypatch):
    asked = []
    true = vendor._try
    monkeypatch.setattr(vendor, "_try", lambda *call: asked.append(call) or true(*call))
    rnn = RNN("lstm", 3, 5, kernel="native")
    for _ in range(3):
        rnn(X)
        rnn(torch.randn(2, 9, 3))
        RNN("lstm", 3, 8, 2, bidirectional=True, kernel="native")(X)
    assert len(asked) == 1
    with torch.no_grad():
        rnn(X), rnn(X)
    assert len(asked) == 2
    with torch.autocast("cpu", torch.bfloat16):
        why(rnn), why(rnn)
    assert len(asked) == 3


def test_asking_leaves_everything_as_it_is():
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    with torch.inference_mode():
        why(RNN("gru", 3, 5))
    torch.manual_seed(3)
    rnn = RNN("gru", 3, 5)
    torch.manual_seed(3)
    why(rnn)
    assert torch.equal(torch.rand(1), wanted)
    assert torch.is_grad_enabled()
    assert all(p.grad is None for p in rnn.parameters())


def test_without_the_instruction_another_kernel_is_chosen(monkeypatch):
    """As on a processor with AVX2 alone, for which oneDNN has no LSTM of bfloat16."""
    true = vendor._try

    def narrower(mode, *call):
        if mode == "LSTM" and torch.is_autocast_enabled("cpu"):
            raise RuntimeError("could not create a primitive descriptor for it. Run workload with environment")
        true(mode, *call)

    monkeypatch.setattr(vendor, "_try", narrower)
    rnn = RNN("lstm", 3, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert why(rnn) == (
            "torch's LSTM of torch.float32 under autocast to torch.bfloat16 fails on this processor: could not create"
            " a primitive descriptor for it"
        )
        rnn.kernel = "auto"
        assert rnn.explain(X).chosen in ("fused", "reference")
        assert rnn.explain(X[:1]).chosen in ("fused", "reference")
        rnn(X)[0].float().sum().backward()
        rnn.kernel = "native"
        with pytest.raises(RnnZooError, match=r"kernel 'native' cannot run this RNN: torch's LSTM .* would use 'ref"):
            rnn(X)
    assert why(rnn) is None


def failing(monkeypatch, kernel, error):
    calls = []

    def run(work):
        calls.append(work)
        raise error

    monkeypatch.setattr(KERNELS[kernel], "run", run)
    return calls


PRIMITIVE = RuntimeError("could not create a primitive")


@pytest.mark.parametrize(
    ("kernel", "error"),
    [
        ("native", PRIMITIVE),
        ("native", RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if")),
        ("native", RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'")),
        ("fused", BuildError("the C compiler gcc fails: internal compiler error")),
    ],
)
def test_a_kernel_that_fails_at_run_time_is_set_aside_and_the_next_one_runs(monkeypatch, kernel, error):
    x = torch.randn(3, 4, 3) if kernel == "native" else torch.randn(90, 4, 3)
    rnn = RNN("gru", 3, 5)
    wanted = rnn(x)[0]
    assert rnn.explain(x).chosen == kernel
    calls = failing(monkeypatch, kernel, error)
    message = f"kernel '{kernel}' is set aside, and '.*' runs in its place: it failed"
    with pytest.warns(UserWarning, match=message) as told:
        torch.testing.assert_close(rnn(x)[0], wanted)
    assert len(told) == 1
    assert "\n" not in str(told[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(rnn(x)[0], wanted)
        RNN("gru", 3, 5, checkpoint_every=2)(x)
    assert len(calls) == 1
    assert why(rnn, kernel, x).startswith("it failed: ")
    assert rnn.explain(x).chosen == "reference"


def test_one_that_was_asked_for_by_its_name_is_an_error_of_one_line(monkeypatch):
    failing(monkeypatch, "native", PRIMITIVE)
    message = r"^kernel 'native' cannot run this RNN: it failed: could not create a primitive; kernel='auto' would use "
    with pytest.raises(RnnZooError, match=message):
        RNN("lstm", 3, 5, kernel="native")(X)
    with pytest.raises(RnnZooError, match="cell 'cudnn_lstm' is pinned to kernel 'native', which cannot run this RNN"):
        RNN("cudnn_lstm", 3, 5)(X)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("cuDNN error: out of memory"), ValueError("anything")])
def test_any_other_error_is_the_users_to_see(monkeypatch, error):
    failing(monkeypatch, "native", error)
    with pytest.raises(type(error)):
        RNN("lstm", 3, 5)(X[:2])
    assert not choice._SET_ASIDE
