"""A run in a process of its own, as its metric grows."""

import pytest

from rnnzoo.errors import RnnZooError
from rnnzoo.tuning.trial_process import values_in


def test_a_line_that_is_being_written_does_not_count(tmp_path):
    path = tmp_path / "metrics.csv"
    assert values_in(path, "val_loss", ended=False) == []
    path.write_text("epoch,step,train_loss\n0,9,1.5\n")
    assert values_in(path, "val_loss", ended=False) == []  # validation is still to come
    path.write_text("epoch,step,train_loss,val_loss\n0,9,1.5,\n0,9,,1.25\n1,19,,1.12")
    assert values_in(path, "val_loss", ended=False) == [1.25]
    with path.open("a") as file:
        file.write("5\n")
    assert values_in(path, "val_loss") == [1.25, 1.125]


def test_a_metric_that_is_not_logged_is_known_with_the_first_of_its_kind(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train_loss,val_bpc,test_bpc\n0,9,1.5,,\n")
    assert values_in(path, "val_loss", ended=False) == []
    with pytest.raises(RnnZooError, match=r"^metric 'val_loss' is not logged; .*there are: train_loss$"):
        values_in(path, "val_loss")
    with path.open("a") as file:
        file.write("0,9,,2.5,2.5\n")
    with pytest.raises(RnnZooError, match=r"^metric 'val_loss' is not logged; .*there are: train_loss, val_bpc$"):
        values_in(path, "val_loss", ended=False)
