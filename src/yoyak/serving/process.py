"""The process of a server that `yoyak serve` starts: uvicorn imports this module, which loads the model.

    YOYAK_FOLDER=exports/bart uvicorn yoyak.serving.process:app

It imports nothing of MLflow, which takes longer to import than a model to load. `yoyak serve` runs it from the code
that a registered model has; a model whose code has no such module is served by MLflow's own command.
"""

from __future__ import annotations

import os
from pathlib import Path

from yoyak.models.manifest import check_manifest
from yoyak.serving import environment
from yoyak.serving.app import create_app
from yoyak.serving.engine import Engine
from yoyak.serving.guard import Guard
from yoyak.serving.hosting import limit_connections
from yoyak.serving.logs import log_in_json


def load_app() -> Guard:
    """Load the model that the environment names, and return its server.

    Raises UserError where its files are not those that were logged.
    """
    root = os.environ.get(environment.ROOT)
    if root:
        remedy = "download the model again, or restore its files"
        check_manifest(Path(root), os.environ.get(environment.DIGEST), where=root, remedy=remedy)
    engine = Engine(Path(os.environ[environment.FOLDER]), served=True)
    log_in_json()
    limit_connections(max_connections=engine.limits.max_connections, headers={})
    return create_app(engine)


app = load_app()
