"""The blocks of Mamba and of Griffin: against scalar loops, step by step, and around any cell."""

import math

import pytest
import torch

from rnnzoo import RNN, RnnZooError
from rnnzoo.data.streams import StreamBatch
from rnnzoo.data.tokenizers import train
from rnnzoo.description import Description
from rnnzoo.models import TokenModel, regular
from rnnzoo.models.blocks import BlockStack
from rnnzoo.tasks import LanguageModel, SequenceTask, SequenceToSequence, Settings
from rnnzoo.training.optimizers import depths_of

T, B, D, H, W, M = 7, 3, 4, 5, 3, 6


def stack_of(kind, cell="mingru", layers=1, **options):
    torch.manual_seed(0)
    cell_args = options.pop("cell_args", {})
    rnns = [RNN(cell, H, H, batch_first=True, dtype=torch.float64, **cell_args) for _ in range(layers)]
    stack = BlockStack(kind, rnns, D, width=W, **options).double()
    for parameter in stack.parameters():
        torch.nn.init.uniform_(parameter, -0.7, 0.7)
    return stack


def normed(x, weight, eps):
    """A list of numbers, root mean square 1."""
    size = sum(a * a for a in x) / len(x)
    return [a / (size + eps) ** 0.5 * w for a, w in zip(x, weight, strict=True)]


def times(linear, x):
    """A product, number by number."""
    weight = linear.weight
    bias = linear.bias if linear.bias is not None else [0.0] * len(weight)
    return [sum(w * a for w, a in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)]


def silu(a):
    return a / (1 + (-a).exp())


def gelu(a):
    return a / 2 * (1 + ((2 / math.pi) ** 0.5 * (a + 0.044715 * a**3)).tanh())


def in_scalars(block, cell_outputs, x, after):
    """One sequence x (T, D) through a block of MambaBlock's or GriffinBlock's equations, one number at a time.

    Args:
        block: its parameters.
        cell_outputs: of what the convolution says at all steps, a list of lists, the cell's outputs.
        x: (T, D).
        after: the function behind the convolution, and that of the gate.
    """
    behind, gate = after
    rows = [times(block.expand, normed(x_t, block.norm.weight, block.norm.eps)) for x_t in x.unbind()]
    v, z = [row[:H] for row in rows], [row[H:] for row in rows]
    c = []
    for t in range(len(x)):
        c.append([])
        for unit in range(H):
            total = block.convolution.bias[unit]
            for j in range(W):
                if t - W + 1 + j >= 0:
                    total = total + block.convolution.weight[unit, 0, j] * v[t - W + 1 + j][unit]
            c[-1].append(behind(total))
    y = cell_outputs(c)
    outputs = []
    for x_t, y_t, z_t in zip(x.unbind(), y, z, strict=True):
        gated = [a * gate(b) for a, b in zip(y_t, z_t, strict=True)]
        outputs.append([a + b for a, b in zip(x_t, times(block.contract, gated), strict=True)])
    return outputs


def through(cell):
    """What a cell says of a list of inputs, step by step from its initial state."""

    def outputs(c):
        s, said = cell.initial_state(1, cell.like(c[0][0])), []
        for c_t in c:
            y, s = cell(torch.stack(c_t)[None], s)
            said.append(list(y[0]))
        return said

    return outputs


def check_equal(ours, theirs, inputs):
    """The same numbers, and the same gradient of some weighted sum of them."""
    torch.testing.assert_close(ours, theirs)
    weigh = torch.randn_like(ours)
    gradients = [torch.autograd.grad((y * weigh).sum(), inputs) for y in (ours, theirs)]
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other)


def test_a_mamba_block_is_its_equations_in_scalars_and_so_is_its_gradient():
    stack = stack_of("mamba", bias=True)
    (block,) = stack.blocks
    x = torch.randn(1, T, D, dtype=torch.float64, requires_grad=True)
    y, _ = stack(x)
    theirs = in_scalars(block, through(block.rnn._cells[0][0]), x[0], (silu, silu))
    theirs = torch.stack([torch.stack(normed(row, stack.norm.weight, stack.norm.eps)) for row in theirs])
    check_equal(y[0], theirs, [x, *stack.parameters()])


@pytest.mark.parametrize("cell", ["mingru", "rg_lru"])
def test_a_griffin_block_is_its_equations_in_scalars_and_so_is_its_gradient(cell):
    stack = stack_of("griffin", cell, mlp_size=M)
    (block,) = stack.blocks

    def released(c):  # rg_lru, from h_1 = σ(i) v without the factor
        inner, h, said = block.rnn._cells[0][0], None, []
        for c_t in map(torch.stack, c):
            r, i = (torch.stack(times_matrix(inner.weight_gates[k, 0], c_t)) + inner.bias_gates[k] for k in range(2))
            a = (8 / (1 + (-r).exp()) * torch.log(1 / (1 + (-inner.Lambda).exp()))).exp()
            gated = c_t / (1 + (-i).exp())
            h = gated if h is None else a * h + (1 - a * a).sqrt() * gated
            said.append(list(h))
        return said

    x = torch.randn(1, T, D, dtype=torch.float64, requires_grad=True)
    y, _ = stack(x)
    run = released if cell == "rg_lru" else through(block.rnn._cells[0][0])
    theirs = []
    for r in in_scalars(block, run, x[0], (lambda a: a, gelu)):
        both = times(block.up, normed(r, block.mlp_norm.weight, block.mlp_norm.eps))
        down = times(block.down, [u * gelu(g) for u, g in zip(both[:M], both[M:], strict=True)])
        row = [a + b for a, b in zip(r, down, strict=True)]
        theirs.append(torch.stack(normed(row, stack.norm.weight, stack.norm.eps)))
    theirs = torch.stack(theirs)
    check_equal(y[0], theirs, [x, *stack.parameters()])


def times_matrix(matrix, x):
    return [sum(w * a for w, a in zip(row, x, strict=True)) for row in matrix]


@pytest.mark.parametrize("kind", ["mamba", "griffin"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "mingru", "janet", "s6", "rg_lru", "ltc", "lstmp", "phased_lstm"])
def test_any_cell_stands_in_a_block_and_its_steps_and_pieces_are_the_whole(kind, cell):
    args = {"lstmp": {"proj_size": 2}}.get(cell, {})
    stack = stack_of(kind, cell, layers=2, cell_args=args)
    x = torch.randn(B, T, D, dtype=torch.float64)
    with torch.no_grad():
        whole, last = stack(x, **regular(stack, x))
        assert whole.shape == (B, T, D)
        hx, steps = None, []
        for t in range(T):
            y, hx = stack.step(x[:, t], hx, **regular(stack, x[:, t], t))
            steps.append(y)
        torch.testing.assert_close(torch.stack(steps, 1), whole)
        if cell != "phased_lstm":  # whose clock the pieces do not know
            first, hx = stack(x[:, :3], **regular(stack, x[:, :3]))
            second, hx = stack(x[:, 3:], hx, **regular(stack, x[:, 3:]))
            torch.testing.assert_close(torch.cat([first, second], 1), whole)
    for mine, other in zip(torch.utils._pytree.tree_leaves(hx), torch.utils._pytree.tree_leaves(last), strict=True):
        torch.testing.assert_close(mine, other)
        assert mine.shape[:2] == (1, B)


@pytest.mark.parametrize("kind", ["mamba", "griffin"])
@pytest.mark.parametrize("cell", ["gru", "rg_lru"])
def test_a_padded_sequence_is_as_it_is_alone_and_ends_in_the_same_state(kind, cell):
    stack = stack_of(kind, cell, layers=2)
    x, lengths = torch.randn(B, T, D, dtype=torch.float64), torch.tensor([T, 1, 4])
    with torch.no_grad():
        y, hx = stack(x, lengths=lengths)
        spoilt = x.clone()
        for row, n in enumerate(lengths):
            spoilt[row, n:] = 1e3
        again, _ = stack(spoilt, lengths=lengths)
        for row, n in enumerate(lengths):
            alone, end = stack(x[row : row + 1, :n])
            torch.testing.assert_close(y[row, :n], alone[0])
            assert torch.equal(again[row, :n], y[row, :n])
            for block, own in zip(hx, end, strict=True):
                torch.testing.assert_close(block.window[:, row], own.window[:, 0])
                torch.testing.assert_close(block.cell[:, row], own.cell[:, 0])


def test_a_change_behind_a_step_does_not_reach_it():
    stack = stack_of("mamba", "gru", layers=3)
    x = torch.randn(1, T, D, dtype=torch.float64)
    later = x.clone()
    later[:, 4:] += 1
    with torch.no_grad():
        (one, _), (other, _) = stack(x), stack(later)
    torch.testing.assert_close(one[:, :4], other[:, :4], rtol=0, atol=0)
    assert (one[:, 4:] != other[:, 4:]).any(-1).all()


@pytest.mark.parametrize("kind", ["mamba", "griffin"])
def test_dropout_acts_on_what_a_block_adds(kind):
    stack = stack_of(kind, "gru", dropout=0.5)
    x = torch.randn(1, T, D, dtype=torch.float64)
    torch.manual_seed(1)
    one, other = stack(x)[0], stack(x)[0]
    assert not torch.equal(one, other)
    assert torch.equal(stack.eval()(x)[0], stack(x)[0])


def test_a_token_model_takes_a_stack_of_blocks_in_the_place_of_an_rnn():
    stack = stack_of("griffin", "rg_lru", layers=2, mlp_size=M)
    model = TokenModel(stack, 11, tied=True).double()
    tokens = torch.randint(0, 11, (B, T))
    logits, _ = model(tokens)
    assert logits.shape == (B, T, 11)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_settings_make_blocks_of_the_sizes_asked_for():
    settings = Settings(cell="mingru", hidden_size=H, num_layers=3, block="mamba", block_args={"width": 2})
    stack = settings.rnn(D)
    assert (stack.input_size, stack.output_size, stack.hidden_size, stack.num_layers) == (D, D, H, 3)
    assert [block.width for block in stack.blocks] == [2] * 3
    assert stack(torch.zeros(B, T, D))[0].shape == (B, T, D)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"block": "mambo"}, "block 'mambo' is unknown; did you mean 'mamba'? there are: mamba, griffin"),
        ({"block": "mamba", "block_args": {"widht": 3}}, "block_args has 'widht'; did you mean 'width'?"),
        ({"block": "mamba", "block_args": {"width": 0}}, "width of a block's convolution must be a whole number"),
        ({"block": "mamba", "bidirectional": True}, "block='mamba' and bidirectional=True exclude each other"),
        ({"block": "griffin", "connect": "residual"}, "block='griffin' and connect='residual' exclude each other"),
        ({"block": "mamba", "hidden_size": [4, 5]}, "takes one hidden_size for all layers, not [4, 5]"),
        ({"block_args": {"width": 3}}, "are for a block, and block is null"),
    ],
)
def test_what_does_not_go_together_is_one_line(settings, says):
    with pytest.raises(RnnZooError) as error:
        Settings(**settings).rnn(D)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_sequence_to_sequence_takes_none():
    words = train("words", ["a b"])
    about = {"vocabulary": words.vocabulary, "tokenizer": words.to_json()}
    about |= {"target_vocabulary": words.vocabulary, "target_tokenizer": words.to_json()}
    with pytest.raises(RnnZooError, match=r"SequenceToSequence takes no block='mamba': its decoder starts from"):
        SequenceToSequence(Description(**about), cell="gru", block="mamba")


@pytest.mark.parametrize("kind", ["mamba", "griffin"])
def test_a_task_over_sequences_of_numbers_is_made_of_blocks_and_padding_has_no_effect(kind):
    about = Description(input_size=3, classes=4, answers=1)
    model = SequenceTask(about, cell="gru", hidden_size=H, num_layers=2, block=kind).eval()
    x, lengths = torch.randn(B, T, 3), torch.tensor([T, 2, 5])
    with torch.no_grad():
        y = model.model(x, lengths)
        for row, n in enumerate(lengths):
            torch.testing.assert_close(y[row : row + 1], model.model(x[row : row + 1, :n]))


def test_a_language_model_of_blocks_learns_and_says_what_it_is():
    torch.manual_seed(0)
    settings = {"cell": "s6", "cell_args": {"state_size": 2}, "block": "mamba", "hidden_size": 12, "num_layers": 2}
    model = LanguageModel(Description(vocabulary=list("abc")), embedding_size=6, **settings)
    assert model.report().startswith("s6, 2 x 12 units, ")
    batch = StreamBatch(torch.tensor([[0, 1, 2] * 4]), torch.tensor([[1, 2, 0] * 4]), torch.zeros(1, dtype=torch.int64))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        model._carried.reset("train")
        loss = model.judge(batch, "train").loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.2 < 0.9 < losses[0]


def test_a_lower_block_learns_slower_with_layer_decay_and_is_frozen_by_its_name():
    settings = Settings(cell="gru", hidden_size=H, num_layers=2, block="mamba", layer_decay=0.5, freeze=["blocks.0"])
    model = TokenModel(settings.rnn(D), 11)
    depths = depths_of(model)
    assert {depths[name] for name in depths if ".blocks.0." in name} == {2}
    assert {depths[name] for name in depths if ".blocks.1." in name} == {1}
    assert (depths["embedding.weight"], depths["head.weight"], depths["rnn.norm.weight"]) == (3, 0, 0)
    settings.freeze_(model)
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == {
        n for n in depths if depths[n] == 2
    }
