"""Phased LSTM: the openness of its time gate, the leak, and how it starts."""

import pytest
import torch

from rnnzoo import RNN, RnnZooError, create


def openness(*times, tau=4.0, shift=1.0, training=False, **constants):
    cell = create("phased_lstm", 3, 2, **constants).double().train(training)
    with torch.no_grad():
        cell.tau.fill_(tau)
        cell.shift.fill_(shift)
    time = torch.tensor(times, dtype=torch.float64)[:, None]
    return cell.project(torch.zeros(len(times), 3, dtype=torch.float64), time)[1][:, 0].tolist()


def test_a_unit_rises_falls_and_closes_in_its_rhythm_on_both_sides_of_its_shift():
    wanted = [0.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    assert openness(1, 1.25, 1.5, 1.75, 2, 4, ratio=0.25) == wanted
    assert openness(-3, -2.75, -2.5, -2.25, -2, 0, ratio=0.25) == wanted


def test_a_closed_unit_leaks_in_training_alone():
    assert openness(4.0, ratio=0.25, leak=0.5) == [0.0]
    assert openness(4.0, ratio=0.25, leak=0.5, training=True) == [0.375]
    assert openness(1.5, ratio=0.25, leak=0.5, training=True) == [1.0]


def test_the_gradient_of_a_period_is_that_of_turns():
    cell = create("phased_lstm", 3, 2, ratio=1.0).double()
    with torch.no_grad():
        cell.tau.fill_(4)
        cell.shift.zero_()
    time = torch.full((1, 1), 9.0, dtype=torch.float64)  # two turns and a quarter
    cell.project(torch.zeros(1, 3, dtype=torch.float64), time)[1].sum().backward()
    assert cell.tau.grad.tolist() == [-2 * 9 / 16] * 2
    assert cell.shift.grad.tolist() == [-2 / 4] * 2


def test_periods_start_between_1_and_e3_and_shifts_within_them():
    cell = create("phased_lstm", 3, 4000)
    assert ((cell.tau >= 1) & (cell.tau <= 20.1)).all()
    assert ((cell.shift >= 0) & (cell.shift <= cell.tau)).all()
    assert abs(cell.tau.log().mean() - 1.5) < 0.05
    assert abs((cell.shift / cell.tau).mean() - 0.5) < 0.02


def test_time_is_asked_for_and_resumes_wherever_it_is_cut():
    rnn = RNN("phased_lstm", 3, 5, 2, ratio=0.5, dtype=torch.float64).eval()
    x, time = torch.randn(8, 4, 3, dtype=torch.float64), torch.rand(8, 4, 1, dtype=torch.float64).cumsum(0)
    with pytest.raises(RnnZooError, match=r"PhasedLSTM takes time besides x; \['time'\] is missing"):
        rnn(x)
    y, last = rnn(x, time=time)
    first, middle = rnn(x[:3], time=time[:3])
    second, end = rnn(x[3:], middle, time=time[3:])
    torch.testing.assert_close((torch.cat([first, second]), *end), (y, *last), rtol=0, atol=1e-12)


@pytest.mark.parametrize("ratio", [0.0, 1.5, -0.1])
def test_a_ratio_that_is_no_part_of_a_period_is_refused(ratio):
    with pytest.raises(RnnZooError, match=rf"ratio of phased_lstm must be in \(0, 1\], not {ratio}"):
        create("phased_lstm", 3, 5, ratio=ratio)
