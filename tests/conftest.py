"""Fixtures that more than one folder of tests uses."""

import gc
import os
import signal

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker, and every process that it starts, would otherwise have a thread for each core, and threads that wait
    # for each other spin: two trainings side by side then take ten times as long as one after the other.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # What a script starts in the background ignores it, and so do its processes; a person's Ctrl-C arrives.
    signal.signal(signal.SIGINT, signal.default_int_handler)

from lineage_project import finished_pipeline, registered  # noqa: F401
from mlflow_helpers import empty_store, project, store, tiny_bart  # noqa: F401
from sharding import pytest_addoption, pytest_collection_modifyitems  # noqa: F401

# How long an example takes depends on what else runs on the machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep the garbage collector from going through the libraries again and again: a seventh of a training's time."""
    gc.collect()
    gc.freeze()
