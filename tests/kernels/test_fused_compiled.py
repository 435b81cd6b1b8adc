"""To torch.compile and torch.export the kernel `fused` is one operation a layer and direction."""

import pytest
import torch

from rnnzoo import RNN, RnnZooError
from rnnzoo.kernels.fused import prepared
from rnnzoo.kernels.fused.ops import PROGRAMS
from rnnzoo.kernels.fused.products import in_tiles

CALL = torch.ops.rnnzoo.scan.default


@pytest.fixture(autouse=True)
def _reset():
    torch.compiler.reset()  # every RNN shares its code, so the limit of recompiling would be shared too
    yield
    torch.compiler.reset()


def trained(run, rnn, x):
    """The output, and the gradients of a loss."""
    x.grad = None
    rnn.zero_grad()
    y, _ = run(x)
    y.square().sum().backward()
    return [y.detach(), x.grad.clone(), *(p.grad.clone() for p in rnn.parameters())]


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("name", ["lstm", "janet"])
def test_a_stack_compiles_whole_and_trains_as_it_does_uncompiled(name, backend):
    rnn = RNN(name, 3, 5, 2, bidirectional=True, kernel="fused")
    x = torch.randn(9, 4, 3, requires_grad=True)
    wanted = trained(rnn, rnn, x)
    compiled = torch.compile(rnn, fullgraph=True, backend=backend)
    for a, b in zip(trained(compiled, rnn, x), wanted, strict=True):
        torch.testing.assert_close(a, b)
    other = torch.randn(6, 7, 3)
    torch.testing.assert_close(compiled(other)[0], rnn(other)[0])


@pytest.mark.skipif(not in_tiles(), reason="this processor has no tiles of bfloat16 (AMX)")
def test_products_of_bfloat16_are_compiled_too():
    rnn = RNN("janet", 20, 36, kernel="fused")

    def narrow(x):
        with torch.autocast("cpu", torch.bfloat16):
            return rnn(x)

    x = torch.randn(9, 4, 20, requires_grad=True)
    wanted = trained(narrow, rnn, x)
    assert not torch.equal(wanted[0], rnn(x)[0])
    for a, b in zip(trained(torch.compile(narrow, fullgraph=True, backend="aot_eager"), rnn, x), wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_a_cell_that_has_never_run_is_traced_while_it_is_compiled():
    rnn = RNN("cho_gru", 3, 13, kernel="fused")
    x = torch.randn(9, 4, 3)
    assert not any(name.startswith("ChoGRU") and PROGRAMS[name].fields == ((13,),) for name in PROGRAMS)
    got = torch.compile(rnn, fullgraph=True, backend="eager")(x)[0]
    assert any(name.startswith("ChoGRU") and PROGRAMS[name].fields == ((13,),) for name in PROGRAMS)
    torch.testing.assert_close(got, rnn(x)[0])


@pytest.mark.slow
def test_inductor_compiles_it():
    rnn = RNN("janet", 3, 5, kernel="fused")
    x = torch.randn(9, 4, 3, requires_grad=True)
    wanted = trained(rnn, rnn, x)
    for a, b in zip(trained(torch.compile(rnn, fullgraph=True), rnn, x), wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_an_exported_stack_has_one_operation_a_layer_and_direction():
    rnn = RNN("lstm", 3, 6, 2, bidirectional=True, kernel="fused")
    x = torch.randn(9, 4, 3)
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(rnn, (x,), dynamic_shapes=({1: batch},))
    assert sum(node.target is CALL for node in program.graph.nodes) == 4
    for other in (x, torch.randn(9, 7, 3)):
        torch.testing.assert_close(program.module()(other)[0], rnn(other)[0])


def test_what_auto_exports_needs_no_rnnzoo():
    rnn = RNN("janet", 3, 6)
    x = torch.randn(9, 4, 3)
    assert rnn.explain(torch.randn(90, 4, 3)).chosen == "fused"
    program = torch.export.export(rnn, (x,))
    assert not any("rnnzoo" in str(node.target) for node in program.graph.nodes)
    torch.testing.assert_close(program.module()(x)[0], rnn(x)[0])


@pytest.mark.parametrize("packed", [False, True])
def test_opcheck_passes(packed):
    rnn = RNN("lstm", 3, 5, kernel="fused")
    rnn(torch.randn(4, 2, 3))
    (cell,) = rnn.layers[0]
    program = PROGRAMS[prepared.prepared(cell, torch.float32, 1, {}, None).key]
    u, s = torch.randn(8, 3, requires_grad=True), [torch.randn(4, 5, requires_grad=True) for _ in "hc"]
    constants = [p.detach().clone().requires_grad_() for p in program.early(*(getattr(cell, n) for n in program.names))]
    sizes = torch.tensor([4, 3, 1]) if packed else None
    torch.library.opcheck(CALL, (program.key, u, s, constants, sizes, False))
    plain = [[a.detach() for a in group] for group in ([u], s, constants)]
    out = CALL(program.key, *plain[0], *plain[1:], sizes, True)
    assert len(out) == 1 + 2 + 1 + len(program.plan.saved)  # h, the final states, c, and what is kept
    last, new, kept = out[1:3], [out[0], out[3]], out[4:]
    wanted = [True] * (3 + len(constants))
    torch.library.opcheck(
        torch.ops.rnnzoo.scan_backward.default,
        (program.key, out[0], last, *plain[0], *plain[1:], new, kept, sizes, wanted),
    )


def test_the_operation_refuses_what_it_would_read_beyond_its_end():
    rnn = RNN("gru", 3, 5, kernel="fused")
    rnn(torch.randn(4, 2, 3))
    (cell,) = rnn.layers[0]
    program = PROGRAMS[prepared.prepared(cell, torch.float32, 1, {}, None).key]
    constants = [p.detach() for p in program.early(*(getattr(cell, n) for n in program.names))]
    with pytest.raises(RnnZooError, match=r"made for u of shape \(8, 3\) in torch.float32, and got \(8, 2\)"):
        CALL(program.key, torch.randn(8, 2), [torch.randn(4, 5)], constants, None, False)
    with pytest.raises(RnnZooError, match=r"made for state 0 of shape \(4, 5\)"):
        CALL(program.key, torch.randn(8, 3), [torch.randn(4, 5).double()], constants, None, False)
    with pytest.raises(RnnZooError, match="no program 'nobody' in this process"):
        CALL("nobody", torch.randn(8, 3), [torch.randn(4, 5)], constants, None, False)
