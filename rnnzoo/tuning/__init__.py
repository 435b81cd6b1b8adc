"""Searches over settings: each trial is a ``rnnzoo fit`` in a process of its own, and its result is kept by Optuna."""
