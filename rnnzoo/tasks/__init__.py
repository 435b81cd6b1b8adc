"""The LightningModules."""

from rnnzoo.tasks.base import Task
from rnnzoo.tasks.checkpoints import load_task, read_checkpoint
from rnnzoo.tasks.forecasting import Forecaster
from rnnzoo.tasks.language_modeling import LanguageModel

__all__ = ["Forecaster", "LanguageModel", "Task", "load_task", "read_checkpoint"]
