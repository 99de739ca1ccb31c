"""Fixtures that more than one folder of tests uses."""

from mlflow_helpers import empty_store, project, store, tiny_bart  # noqa: F401
