"""The encoder-decoder against a loop over cells and single steps, and what must not change what it says."""

import pytest
import torch
from torch import nn

from rnnzoo import RNN, RnnZooError
from rnnzoo.models.bridge import Bridge
from rnnzoo.models.encoder_decoder import EncoderDecoder

B, S, T, I, M, H, V_SOURCE, V = 3, 5, 4, 6, 7, 8, 11, 9


def make(attention="general", cell="gru", decoder_cell=None, directions=1, layers=1, size=H, hidden=H, **options):
    encoder = RNN(cell, I, hidden, layers, batch_first=True, bidirectional=directions == 2)
    return EncoderDecoder(
        encoder,
        lambda width: RNN(decoder_cell or cell, width, size, layers, batch_first=True),
        V_SOURCE,
        V,
        embedding_size=M,
        attention=attention,
        **options,
    ).double()


def batch():
    return torch.randint(V_SOURCE, (B, S)), torch.randint(V, (B, T)), torch.tensor([5, 2, 3])


def gru(cell: RNN, x, h):
    """One step of a GRU, gate by gate."""
    W, R = cell.layers[0][0].weight_ih, cell.layers[0][0].weight_hh
    b, d = cell.layers[0][0].bias_ih, cell.layers[0][0].bias_hh
    n = len(h)
    wx, rh = W @ x + b, R @ h + d
    r, z = torch.sigmoid(wx[:n] + rh[:n]), torch.sigmoid(wx[n : 2 * n] + rh[n : 2 * n])
    new = torch.tanh(wx[2 * n :] + r * rh[2 * n :])
    return (1 - z) * new + z * h


def look(model, q, memory):
    """Weights over the rows of memory, from single scores."""
    module = model.attention
    if model.attention_name == "dot":
        scores = [q @ m for m in memory]
    elif model.attention_name == "general":
        scores = [q @ (module.weight.weight @ m) for m in memory]
    else:
        scores = [
            module.score.weight[0] @ torch.tanh(module.query.weight @ q + module.key.weight @ m + module.key.bias)
            for m in memory
        ]
    e = [torch.exp(one) for one in scores]
    weights = [one / sum(e) for one in e]
    return weights, sum(w * m for w, m in zip(weights, memory, strict=True))


def by_hand(model, source, target, lengths):
    """Logits (B, T, V) of a model of one GRU layer each, one sentence and one step after the other."""
    rows = []
    for b in range(B):
        h, memory = torch.zeros(H, dtype=torch.float64), []
        for s in range(lengths[b]):
            h = gru(model.encoder, model.source_embedding.weight[source[b, s]], h)
            memory.append(h)
        o, steps = torch.zeros(H, dtype=torch.float64), []
        for t in range(T):
            x = model.target_embedding.weight[target[b, t]]
            if model.attention_name == "bahdanau":
                _, context = look(model, h, memory)
                h = gru(model.decoder, torch.cat([x, context]), h)
            else:
                h = gru(model.decoder, torch.cat([x, o]) if model.input_feeding else x, h)
                context = None if model.attention is None else look(model, h, memory)[1]
            o = h if context is None else torch.tanh(model.combine.weight @ torch.cat([context, h]))
            steps.append(model.head.weight @ o + model.head.bias)
        rows.append(torch.stack(steps))
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("attention", "feeding"),
    [("dot", False), ("general", False), ("concat", False), ("general", True), ("bahdanau", False), (None, False)],
)
def test_values_and_gradients_are_those_of_a_loop_over_sentences_and_steps(attention, feeding):
    model = make(attention, input_feeding=feeding)
    source, target, lengths = batch()
    got, expected = model(source, target, lengths).logits, by_hand(model, source, target, lengths)
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-12)
    weight = torch.randn(B, T, V, dtype=torch.float64)
    names, parameters = zip(*model.named_parameters(), strict=True)
    ours, theirs = (torch.autograd.grad((y * weight).sum(), parameters) for y in (got, expected))
    for name, a, b in zip(names, ours, theirs, strict=True):
        assert b.abs().max() > 1e-6, f"{name} has no part in it"
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12, msg=name)


OPTIONS = [
    {"attention": "general"},
    {"attention": "concat", "directions": 2, "input_feeding": True, "copying": True, "size": 5},
    {"attention": "bahdanau", "directions": 2, "coverage": True, "copying": True, "tied": True},
    {"attention": "dot", "cell": "lstm", "layers": 2, "tied": True},
    {"attention": None, "cell": "lstm", "directions": 2, "size": 5},
    {"attention": "general", "cell": "lem", "decoder_cell": "lstm", "hidden": 5},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_one_step_after_the_other_says_what_all_at_once_say(options):
    model = make(**options)
    source, target, lengths = batch()
    whole = model(source, target, lengths)
    memory, state = model.encode(source, lengths)
    for t in range(T):
        one, state = model.step(target[:, t], state, memory)
        for name, a, b in zip(one._fields, one, whole, strict=True):
            assert (a is None) == (b is None), name
            if a is not None:
                torch.testing.assert_close(a, b[:, t], rtol=1e-11, atol=1e-12, msg=name)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_padding_and_neighbours_change_nothing_to_the_last_bit_of_what_is_seen(options):
    model = make(**options)
    source, target, lengths = batch()
    whole = model(source, target, lengths)
    noisy = torch.where(torch.arange(S) < lengths[:, None], source, (source + 3) % V_SOURCE)
    assert not torch.equal(noisy, source)
    more = torch.nn.functional.pad(noisy, (0, 4), value=2)
    for a, b in zip(whole, model(more, target, lengths), strict=True):
        if a is not None:
            b = b[..., :S] if a.dim() == 3 and a.shape[-1] == S and b.shape[-1] == S + 4 else b
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
    alone = model(source[1:2, :2], target[1:2])
    torch.testing.assert_close(alone.logits[0], whole.logits[1], rtol=1e-11, atol=1e-12)
    later = torch.cat([target[:, :2], (target[:, 2:] + 1) % V], 1)
    torch.testing.assert_close(model(source, later, lengths).logits[:, :2], whole.logits[:, :2])


CELLS = [
    "lstm",
    "mingru",
    "janet",
    "ltc",
    "cfc",
    "gru_d",
    "slstm",
    "s4d",
    "lru",
    "clockwork_rnn",
    "lem",
    "lstmp",
    "phased_lstm",
    "nested_lstm",
    "mc_lstm",
    "sru",
]


@pytest.mark.parametrize("cell", CELLS)
def test_any_cell_encodes_and_decodes_and_learns(cell):
    """Forward and step by step, on both sides and with another one on the other."""
    pairs = [(cell, "general"), (cell, "bahdanau"), ("lstm", "general")]
    for decoder_cell, attention in [*pairs, ("gru", None)] if cell not in ("s4d", "lru") else pairs:
        arguments = {"proj_size": 3} if cell == "lstmp" else {}
        encoder = RNN(cell, I, 4, batch_first=True, bidirectional=True, **arguments)
        own = arguments if decoder_cell == cell else {}

        def decoder(width, own=own, kind=decoder_cell):
            return RNN(kind, width, 6, batch_first=True, **own)

        model = EncoderDecoder(encoder, decoder, V_SOURCE, V, embedding_size=M, attention=attention).double()
        source, target, lengths = batch()
        whole = model(source, target, lengths).logits
        memory, state = model.encode(source, lengths)
        for t in range(T):
            one, state = model.step(target[:, t], state, memory)
            torch.testing.assert_close(one.logits, whole[:, t], rtol=1e-8, atol=1e-10)
        whole.square().sum().backward()
        assert model.source_embedding.weight.grad.isfinite().all()
        assert model.source_embedding.weight.grad.abs().max() > 0


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_steps_that_are_asked_for_are_those_of_all(options):
    model = make(**options)
    source, target, lengths = batch()
    where = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1]], dtype=torch.bool)
    for a, b in zip(model(source, target, lengths, where), model(source, target, lengths), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b[where], rtol=1e-11, atol=1e-12)


def test_a_state_like_the_encoders_goes_over_as_it_is():
    for cell in ("lstm", "gru", "lem", "slstm", "lru"):
        encoder, decoder = (RNN(cell, size, 5, 2) for size in (3, 4))
        hx = encoder(torch.randn(7, 2, 3))[1]
        bridge = Bridge(encoder, decoder)
        assert not list(bridge.parameters())
        before, after = (a if isinstance(a, tuple) else (a,) for a in (hx, bridge(hx)))
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_states_of_other_sizes_go_through_a_linear_map_of_both_directions():
    encoder, decoder = RNN("lstm", 3, 5, 2, bidirectional=True), RNN("lstm", 4, 6)
    _, (h, c) = encoder(torch.randn(7, 2, 3))
    bridge = Bridge(encoder, decoder)
    new_h, new_c = bridge((h, c))
    for new, old, name in ((new_h, h, "0_h"), (new_c, c, "0_c")):
        last = torch.cat([old[2], old[3]], -1)  # of the second layer
        torch.testing.assert_close(new[0], bridge.maps[name](last))


def test_a_field_that_is_no_vector_starts_as_its_cell_starts_it():
    encoder, decoder = RNN("gru", 3, 5), RNN("s4d", 4, 6)
    start = Bridge(encoder, decoder)(encoder(torch.randn(7, 2, 3))[1])
    assert (start == 0).all()
    assert not list(Bridge(encoder, decoder).parameters())
    with pytest.raises(RnnZooError, match="the states of these cells cannot be handed over"):
        make(None, "gru", "s4d")


def test_layers_are_matched_from_the_last_one_down():
    encoder, decoder = RNN("gru", 3, 5, 2), RNN("gru", 4, 5, 3)
    h = encoder(torch.randn(7, 2, 3))[1]
    assert torch.equal(Bridge(encoder, decoder)(h), h[[0, 0, 1]])
    decoder = RNN("gru", 4, 5)
    assert torch.equal(Bridge(encoder, decoder)(h), h[[1]])


def test_tied_and_shared_embeddings_are_one_matrix():
    encoder = RNN("gru", M, H, batch_first=True)
    model = EncoderDecoder(
        encoder, lambda n: RNN("gru", n, H, batch_first=True), V, V, embedding_size=M, tied=True, shared=True
    )
    assert model.source_embedding.weight is model.target_embedding.weight is model.head.weight
    assert sum(p.shape == (V, M) for p in model.parameters()) == 1


def test_parts_that_do_not_go_together_are_one_line():
    for options, message in (
        ({"attention": None, "copying": True}, "copying needs attention"),
        ({"attention": "bahdanau", "input_feeding": True}, "input_feeding needs attention dot, general or concat"),
        ({"attention": "general", "coverage": True}, "coverage needs attention 'bahdanau', not general"),
        ({"shared": True}, "a shared embedding needs one vocabulary"),
    ):
        with pytest.raises(RnnZooError, match=message):
            make(**options)
    with pytest.raises(RnnZooError, match="must not be bidirectional"):
        EncoderDecoder(
            RNN("gru", 3, 4, batch_first=True),
            lambda n: RNN("gru", n, 4, batch_first=True, bidirectional=True),
            5,
            6,
            embedding_size=3,
        )


@pytest.mark.slow
def test_it_learns_to_reverse():
    model = make("dot", size=32, hidden=32).float()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(400):
        source = torch.randint(3, V, (32, S))
        target = source.flip(1)
        begun = nn.functional.pad(target[:, :-1], (1, 0), value=1)
        loss = nn.functional.cross_entropy(model(source, begun).logits.transpose(1, 2), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1
