"""The LightningModules."""

from rnnzoo.tasks.base import Task
from rnnzoo.tasks.checkpoints import load_task, read_checkpoint
from rnnzoo.tasks.forecasting import Forecaster
from rnnzoo.tasks.language_modeling import LanguageModel
from rnnzoo.tasks.sequences import SequenceTask

__all__ = ["Forecaster", "LanguageModel", "SequenceTask", "Task", "load_task", "read_checkpoint"]
