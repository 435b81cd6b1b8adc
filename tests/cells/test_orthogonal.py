"""The orthogonal and unitary cells: what they start from, and that Q stays orthogonal."""

import math

import pytest
import torch

from rnnzoo import RNN, RnnZooError, create

H = 6


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=str)
@pytest.mark.parametrize("name", ["orthogonal_rnn", "exprnn", "unitary_rnn"])
def test_the_matrix_is_orthogonal_at_the_start_and_after_a_step_of_training(name, dtype, near):
    rnn = RNN(name, 3, 33, kernel="reference", dtype=dtype)
    (cell,) = rnn.layers[0]
    optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
    for _ in range(2):
        Q = cell.matrix()
        torch.testing.assert_close(Q.mH @ Q, torch.eye(33, dtype=Q.dtype), rtol=0, atol=near)
        rnn(torch.randn(5, 4, 3, dtype=dtype))[0].square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("negative", [0, 1, 4, H])
def test_the_determinant_is_minus_one_to_the_negative_entries_of_d(negative):
    Q = create("orthogonal_rnn", 3, H, negative=negative).matrix()
    torch.testing.assert_close(torch.linalg.det(Q), torch.tensor((-1.0) ** negative))
    assert torch.linalg.det(create("exprnn", 3, H).matrix()) > 0


@pytest.mark.parametrize(("name", "most"), [("orthogonal_rnn", math.pi / 2), ("exprnn", math.pi)])
@pytest.mark.parametrize("size", [1, 40, 41])
def test_q_starts_as_rotations_of_pairs_and_an_odd_unit_stays(name, most, size):
    Q = create(name, 3, size).matrix().detach()
    pairs = torch.block_diag(
        *(torch.ones(2, 2) for _ in range(size // 2)), *(torch.ones(1, 1) for _ in range(size % 2))
    )
    assert not Q[pairs == 0].any()
    angles = torch.atan2(Q.diagonal(-1)[::2], Q.diagonal()[: 2 * (size // 2) : 2])
    if size > 1:
        assert 0.8 * most < angles.abs().max() <= most
    if size % 2:
        assert Q[-1, -1] == 1


def test_offsets_and_input_weights_start_as_the_authors_code():
    cell = create("orthogonal_rnn", 20, 50)
    assert not cell.offset.any()
    assert 0.009 < cell.weight_ih.abs().max() <= 0.01
    cell = create("exprnn", 20, 50)
    assert 0.009 < cell.offset.abs().max() <= 0.01
    torch.testing.assert_close(cell.weight_ih.std(), torch.tensor((2 / 20) ** 0.5), rtol=0.1, atol=0)
    cell = create("unitary_rnn", 20, 50)
    assert not cell.offset.any()
    assert 0.9 < cell.phases.abs().max() / math.pi <= 1
    assert 0.9 < cell.reflections.abs().max() <= 1
    assert 0.9 < cell.weight_ih.abs().max() / (6 / 70) ** 0.5 <= 1
    assert sorted(cell.permutation.tolist()) == list(range(50))


def test_the_permutation_is_drawn_anew_and_kept_in_the_state_dict():
    torch.manual_seed(1)
    one = create("unitary_rnn", 3, 30)
    other = create("unitary_rnn", 3, 30)
    assert not torch.equal(one.permutation, other.permutation)
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other.matrix(), one.matrix(), rtol=0, atol=0)


def test_negative_entries_beyond_the_units_are_refused():
    with pytest.raises(RnnZooError, match="negative of orthogonal_rnn must lie in 0 to 6 units, not 7"):
        create("orthogonal_rnn", 3, H, negative=7)
