"""The LightningModules."""

from rnnzoo.tasks.base import Judged, Task
from rnnzoo.tasks.checkpoints import load, load_task, read_checkpoint
from rnnzoo.tasks.forecasting import Forecaster
from rnnzoo.tasks.language_modeling import LanguageModel
from rnnzoo.tasks.sequence_to_sequence import SequenceToSequence
from rnnzoo.tasks.sequences import SequenceTask
from rnnzoo.tasks.settings import Settings
from rnnzoo.tasks.tagging import Tagger
from rnnzoo.tasks.text_classification import TextClassifier

__all__ = [
    "Forecaster",
    "Judged",
    "LanguageModel",
    "SequenceTask",
    "SequenceToSequence",
    "Settings",
    "Tagger",
    "Task",
    "TextClassifier",
    "load",
    "load_task",
    "read_checkpoint",
]
