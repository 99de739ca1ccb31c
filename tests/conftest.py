"""Fixtures that more than one folder of tests uses."""

from hypothesis import settings

from lineage_project import finished_pipeline, registered  # noqa: F401
from mlflow_helpers import empty_store, project, store, tiny_bart  # noqa: F401

# How long an example takes depends on what else runs on the machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
