"""A project with rnnzoo."""
