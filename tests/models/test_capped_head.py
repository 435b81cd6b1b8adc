"""A head whose logits are soft-capped."""

import math

import pytest
import torch

from rnnzoo import RNN, RnnZooError
from rnnzoo.models import TokenModel
from rnnzoo.models.heads import CappedLinear, head_nats

B, T, H = 2, 3, 4


@pytest.mark.parametrize("outputs", [5, 5000])  # of many tokens the logits of a plain head are never whole
@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_the_loss_of_a_capped_head_is_of_capped_logits_and_so_is_its_gradient(outputs, reduction):
    torch.manual_seed(0)
    head = CappedLinear(H, outputs, 1.5).double()
    y = (4 * torch.randn(B, T, H, dtype=torch.float64)).requires_grad_()
    targets = torch.tensor([[0, 3, -100], [4, -100, 2]])
    nats = head_nats(head, y, targets, reduction)
    logits = torch.stack([1.5 * torch.tanh(head.weight @ row / 1.5 + head.bias / 1.5) for row in y.view(-1, H)])
    theirs = torch.stack(
        [
            -row[t] + row.exp().sum().log() if t >= 0 else row[0] * 0
            for row, t in zip(logits, targets.flatten(), strict=True)
        ]
    )
    theirs = theirs.sum() if reduction == "sum" else theirs
    torch.testing.assert_close(nats.double(), theirs, rtol=1e-5, atol=1e-5)
    weigh = torch.randn(nats.shape, dtype=nats.dtype)
    mine, others = (torch.autograd.grad((a * weigh).sum(), [y, *head.parameters()]) for a in (nats, theirs))
    for one, other in zip(mine, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_token_model_has_one_where_it_is_asked_for_and_may_be_tied():
    model = TokenModel(RNN("gru", H, H, batch_first=True), 7, logit_cap=0.5, tied=True)
    with torch.no_grad():
        model.embedding.weight.mul_(100)
        logits, _ = model(torch.arange(6)[None])
    assert logits.abs().max() <= 0.5
    assert logits.abs().max() > 0.4
    assert model.head.weight is model.embedding.weight


@pytest.mark.parametrize("cap", [0, -1, math.inf])
def test_a_cap_out_of_range_is_one_line(cap):
    with pytest.raises(RnnZooError, match="logit_cap must be"):
        TokenModel(RNN("gru", H, H, batch_first=True), 7, logit_cap=cap)


def test_a_cap_and_an_adaptive_softmax_exclude_each_other():
    with pytest.raises(RnnZooError, match=r"logit_cap=3 and adaptive_softmax=\[2\] exclude each other"):
        TokenModel(RNN("gru", H, H, batch_first=True), 7, logit_cap=3, adaptive_softmax=[2])
