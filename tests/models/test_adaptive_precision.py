"""The adaptive softmax under autocast, where torch's own fails."""

import pytest
import torch

from rnnzoo.models.heads import AdaptiveHead


@pytest.mark.parametrize("targets", [[0, 3, 9, 11], [0, -100, 9, 11], [-100, -100, -100, -100]])
def test_under_autocast_it_gives_what_it_gives_in_float32(targets):
    head, y, targets = AdaptiveHead(16, 12, [4, 8]), torch.randn(4, 16), torch.tensor(targets)
    exact, log_prob = head.nats(y, targets), head(y)
    with torch.autocast("cpu", torch.bfloat16):
        near, shown = head.nats(y.bfloat16(), targets), head(y)
        near.sum().backward()
    torch.testing.assert_close(near, exact, atol=2e-2, rtol=2e-2)
    torch.testing.assert_close(shown, log_prob)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
