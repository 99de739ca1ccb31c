"""Optuna studies: many trials of other params, in parallel worker processes, pruned, resumable, recorded in MLflow."""
