"""Installed methods, and networks, experiments, tasks and predictors by name."""
