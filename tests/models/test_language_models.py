"""What a language model's network may have: tied weights, dropouts, an adaptive softmax, penalties on its outputs."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rnnzoo import RNN, RnnZooError
from rnnzoo.models import TokenModel
from rnnzoo.models.dropouts import LockedDropout, WordDropout, activation_penalty
from rnnzoo.models.heads import AdaptiveHead, head_nats
from rnnzoo.models.linear_cross_entropy import linear_cross_entropy

V, B, T, E, H = 11, 3, 7, 4, 6


def model(**options) -> TokenModel:
    torch.manual_seed(0)
    sizes = {"input": options.pop("input_size", E), "hidden": options.pop("hidden_size", H)}
    rnn = RNN(options.pop("cell", "lstm"), sizes["input"], sizes["hidden"], batch_first=True)
    return TokenModel(rnn, V, **options).double()


def tokens() -> torch.Tensor:
    return torch.randint(V, (B, T), generator=torch.Generator().manual_seed(1))


# ---- tied weights


def test_tied_weights_are_one_parameter_with_the_gradients_of_both_places():
    tied, free = model(tied=True, input_size=H), model(input_size=H)
    assert tied.head.weight is tied.embedding.weight
    assert sum(p.numel() for p in tied.parameters()) == sum(p.numel() for p in free.parameters()) - V * H
    free.load_state_dict(tied.state_dict())
    given, targets = tokens(), tokens().flip(0)
    for one in (tied, free):
        one.nats(one.read(given)[1], targets, "sum").backward()
    both = free.embedding.weight.grad + free.head.weight.grad
    torch.testing.assert_close(tied.embedding.weight.grad, both, rtol=0, atol=1e-12)


def test_tied_weights_of_another_size_have_a_matrix_between():
    tied = model(tied=True)
    y, last, _ = tied.read(tokens())
    assert (y.shape, last.shape) == ((B, T, H), (B, T, E))
    torch.testing.assert_close(tied(tokens())[0], y @ tied.project.weight.T @ tied.embedding.weight.T + tied.head.bias)
    hx, logits = None, []
    for t in range(T):
        one, hx = tied.step(tokens()[:, t], hx, t)
        logits.append(one)
    torch.testing.assert_close(torch.stack(logits, 1), tied(tokens())[0])


def test_tied_weights_start_small_enough_for_a_softmax_that_knows_nothing():
    torch.manual_seed(3)
    large = TokenModel(RNN("lstm", 200, 200, batch_first=True), 300, tied=True)
    logits, _ = large(torch.randint(300, (4, 9)))
    nats = F.cross_entropy(logits.flatten(0, 1), torch.randint(300, (36,)))
    assert abs(nats.item() - math.log(300)) < 0.05


def test_a_tied_head_and_an_adaptive_one_exclude_each_other():
    with pytest.raises(RnnZooError, match=r"^tied and adaptive_softmax=\[4\] exclude each other: give one$"):
        model(tied=True, adaptive_softmax=[4])


# ---- dropouts


def test_locked_dropout_zeroes_the_same_units_of_a_row_at_all_steps():
    y = LockedDropout(0.4)(torch.ones(50, T, 40))
    assert (y == y[:, :1]).all()
    assert not torch.equal(y[0], y[1])
    assert abs((y == 0).float().mean() - 0.4) < 0.03
    torch.testing.assert_close(y[y > 0], torch.full_like(y[y > 0], 1 / 0.6))
    kept = LockedDropout(0.4).eval()
    assert torch.equal(kept(y), y)


def test_word_dropout_zeroes_a_word_at_all_its_places_and_keeps_the_rest_in_proportion():
    torch.manual_seed(0)
    embedding = WordDropout(200, 5, p=0.3)
    given = torch.arange(200).repeat(3, 1)
    x, whole = embedding(given), embedding.weight.expand(3, 200, 5)
    zeroed = (x == 0).all(-1)
    assert (zeroed == zeroed[0]).all()
    assert 0.2 < zeroed.float().mean() < 0.4
    torch.testing.assert_close(x[~zeroed], whole[~zeroed] / 0.7)
    x.sum().backward()
    assert (embedding.weight.grad[zeroed[0]] == 0).all()
    assert torch.equal(embedding.eval()(given), whole)


def test_the_dropouts_of_a_model_act_where_they_are_named_and_nowhere_in_evaluation():
    given = tokens()
    for places in ({"input_dropout": 0.5}, {"output_dropout": 0.5}, {"dropout": 0.5}, {"embedding_dropout": 0.5}):
        one = model(**places)
        plain = model()
        plain.load_state_dict(one.state_dict())
        y, before_head, _ = one.read(given)
        known, _, _ = plain.read(given)
        assert torch.equal(y, known) == (list(places) == ["output_dropout"])
        assert torch.equal(before_head, y) == (list(places) in (["input_dropout"], ["embedding_dropout"]))
        assert torch.equal(one.eval()(given)[0], plain(given)[0])


def test_a_probability_out_of_range_is_named():
    for name in ("input_dropout", "output_dropout", "embedding_dropout"):
        with pytest.raises(RnnZooError, match=rf"^{name} must be in \[0, 1\), not 1.5$"):
            model(**{name: 1.5})


# ---- the losses of large vocabularies


def test_the_cross_entropy_in_pieces_and_its_gradients_are_those_of_a_loop(monkeypatch):
    monkeypatch.setattr("rnnzoo.models.linear_cross_entropy._LOGITS", 2 * V)  # two rows at a time, the last one alone
    torch.manual_seed(2)
    y, weight, bias = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((9, H), (V, H), (V,)))
    targets = torch.randint(V, (9,))
    targets[4] = -100
    total = linear_cross_entropy(y, weight, bias, targets)
    by_hand = 0.0
    for n in range(9):
        if targets[n] >= 0:
            logits = [(y[n] * weight[v]).sum() + bias[v] for v in range(V)]
            by_hand = by_hand - (logits[targets[n]].exp() / sum(one.exp() for one in logits)).log()
    torch.testing.assert_close(total, by_hand)
    ours = torch.autograd.grad(3 * total, (y, weight, bias))
    for mine, theirs in zip(ours, torch.autograd.grad(3 * by_hand, (y, weight, bias)), strict=True):
        torch.testing.assert_close(mine, theirs)
    with torch.no_grad():
        torch.testing.assert_close(
            linear_cross_entropy(y, weight, None, targets), F.cross_entropy(y @ weight.T, targets, reduction="sum")
        )


def test_a_head_that_is_frozen_gets_no_gradient_and_passes_it_on(monkeypatch):
    torch.manual_seed(2)
    y = torch.randn(5, H, requires_grad=True)
    head = nn.Linear(H, V).requires_grad_(False)
    linear_cross_entropy(y, head.weight, head.bias, torch.randint(V, (5,))).backward()
    assert y.grad.abs().sum() > 0
    assert head.weight.grad is None


@pytest.mark.parametrize("missing", [False, True])
def test_the_losses_of_a_large_head_are_those_of_a_small_one(monkeypatch, missing):
    monkeypatch.setattr("rnnzoo.models.heads._MANY", 5)
    torch.manual_seed(2)
    head, y, targets = nn.Linear(H, V).double(), torch.randn(B, T, H, dtype=torch.float64), tokens()
    if missing:
        targets[1, 3:] = -100
    each = head_nats(head, y, targets)
    assert (each.shape, (each == 0).sum()) == ((B * T,), 4 * missing)
    total = head_nats(head, y, targets, "sum")
    torch.testing.assert_close(total, each.sum(), check_dtype=False, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("missing", [False, True])
def test_an_adaptive_head_has_the_probabilities_of_its_two_steps_written_out(missing):
    torch.manual_seed(4)
    head, y, targets = AdaptiveHead(16, V, [3, 7]).double(), torch.randn(B, T, 16, dtype=torch.float64), tokens()
    if missing:
        targets[1, 3:] = -100
    first = head.softmax.head(y).softmax(-1)  # three tokens, and two clusters
    p = [first[..., v] for v in range(3)]
    for k, size in enumerate((4, 4)):
        within = head.softmax.tail[k](y).softmax(-1)
        p += [first[..., 3 + k] * within[..., v] for v in range(size)]
    p = torch.stack(p, -1)
    torch.testing.assert_close(head(y).exp(), p)
    torch.testing.assert_close(p.sum(-1), torch.ones(B, T, dtype=torch.float64))
    expected = [-math.log(p[b, t, targets[b, t]]) if targets[b, t] >= 0 else 0.0 for b in range(B) for t in range(T)]
    each = head_nats(head, y, targets).double()
    torch.testing.assert_close(each, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(head_nats(head, y, targets, "sum").double(), each.sum())


def test_every_weight_of_an_adaptive_head_has_a_gradient_whatever_the_targets_are():
    torch.manual_seed(4)
    for targets in (torch.tensor([0, 1, 2]), torch.tensor([0, -100, 9]), torch.full((3,), -100)):
        head, y = AdaptiveHead(16, V, [3, 7]), torch.randn(3, 16, requires_grad=True)
        head.nats(y, targets).sum().backward()
        assert all(p.grad is not None for p in (y, *head.parameters()))
        used = [bool((targets >= 0).any()), *(bool(((targets >= a) & (targets < a + 4)).any()) for a in (3, 7))]
        parts = [head.softmax.head, *head.softmax.tail]
        assert [any(p.grad.any() for p in part.parameters()) for part in parts] == used


@pytest.mark.parametrize("cutoffs", [[0], [3, 3], [7, 3], [V - 1], [2, V]])
def test_cutoffs_that_are_no_clusters_are_named(cutoffs):
    with pytest.raises(
        RnnZooError, match=rf"must rise from 1 at least to {V - 2} at most: the vocabulary has {V} tokens"
    ):
        AdaptiveHead(16, V, cutoffs)


def test_too_many_clusters_for_the_features_are_named():
    with pytest.raises(RnnZooError, match="6 are too few for 2 clusters"):
        model(adaptive_softmax=[3, 7])


# ---- penalties


def test_the_penalties_are_the_loops_of_the_paper_and_so_are_their_gradients():
    torch.manual_seed(5)
    y = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    dropped = y * torch.tensor([0.0, 2.0, 2.0, 0.0], dtype=torch.float64)
    penalty = activation_penalty(y, dropped, 2.0, 0.5)
    squares = sum(dropped[b, t, h] ** 2 for b in range(2) for t in range(3) for h in range(4)) / 24
    slow = sum((y[b, t + 1, h] - y[b, t, h]) ** 2 for b in range(2) for t in range(2) for h in range(4)) / 16
    torch.testing.assert_close(penalty, 2.0 * squares + 0.5 * slow)
    (ours,) = torch.autograd.grad(penalty, y, retain_graph=True)
    (theirs,) = torch.autograd.grad(2.0 * squares + 0.5 * slow, y)
    torch.testing.assert_close(ours, theirs)
    assert activation_penalty(y, dropped, 0.0, 0.0) == 0
    assert torch.isfinite(activation_penalty(y[:, :1], dropped[:, :1], 0.0, 1.0))  # one step has none before it


@pytest.mark.parametrize("cell", ["lstm", "gru", "mingru", "janet", "ltc"])
def test_every_option_runs_around_every_cell(cell):
    one = model(
        cell=cell,
        dropout=0.2,
        embedding_dropout=0.1,
        locked_dropout=True,
        tied=True,
        weight_drop=0.2 * (cell == "lstm"),
    )
    y, dropped, _ = one.read(tokens())
    (one.nats(dropped, tokens(), "sum") + activation_penalty(y, dropped, 2.0, 1.0)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in one.parameters())
