"""What the tasks share while they run."""

from rnnzoo.training.carried_state import CarriedState

__all__ = ["CarriedState"]
