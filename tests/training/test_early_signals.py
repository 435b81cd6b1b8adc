"""Signals that come before the training has handlers of its own."""

import signal

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from rnnzoo.training.checkpoints import LastCheckpoint
from rnnzoo.training.stopping import StopBetweenSteps, Stopped, no_interruption_lost


class Finalised:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_ctrl_c_that_a_finaliser_swallows_ends_the_training_before_its_first_step():
    before, callback = signal.getsignal(signal.SIGINT), StopBetweenSteps()
    with no_interruption_lost():
        Finalised()  # gone at once: what its __del__ raises is printed and no more
        callback.on_train_start(Trainer(logger=False, enable_progress_bar=False), LightningModule())
        assert callback.received == signal.SIGINT
        callback._give_back()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_ctrl_c_before_the_training_is_a_keyboard_interrupt_as_ever():
    with pytest.raises(KeyboardInterrupt), no_interruption_lost():
        signal.raise_signal(signal.SIGINT)


class Interrupts(Callback):
    def on_train_batch_end(self, *_: object) -> None:
        signal.raise_signal(signal.SIGINT)


def test_a_trial_of_a_few_steps_that_is_stopped_leaves_nothing(tmp_path):
    trainer = Trainer(
        fast_dev_run=5,
        default_root_dir=tmp_path,
        accelerator="cpu",
        callbacks=[Interrupts(), StopBetweenSteps(), LastCheckpoint()],
        enable_progress_bar=False,
    )
    with pytest.raises(Stopped) as stopped:
        trainer.fit(BoringModel())
    assert stopped.value.checkpoint is None
    assert not list(tmp_path.rglob("*"))
