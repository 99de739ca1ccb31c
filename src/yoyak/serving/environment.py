"""The variables by which `yoyak serve` and `yoyak demo` tell a server more than its settings (`serving.settings`).

Code of an older registered model ignores them.
"""

from __future__ import annotations

MODEL = "YOYAK_MODEL"
"""What clients call the model, under /v1."""
ALLOWED_HOSTS = "YOYAK_ALLOWED_HOSTS"
"""Names by which the server may be called, separated by commas; ``*`` for any."""
FOLDER = "YOYAK_FOLDER"
"""The folder of the model that `serving.process` loads: of its weights, not that with MLmodel."""
ROOT = "YOYAK_MLFLOW_FOLDER"
"""MLflow's folder around it, whose files `serving.process` checks; nothing if there is none."""
TIMEOUT = "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT"
"""Seconds in which a request is answered; MLflow's option --timeout sets it."""
DEFAULT_TIMEOUT = 60
"""MLflow's own."""
DIGEST = "YOYAK_MODEL_SHA256"
"""The digest that the model's files must have (`models.manifest`); without it they have to agree with one another."""
WORKERS = "YOYAK_WORKERS"
"""How many processes share the memory."""
PAGE = "YOYAK_PAGE"
"""What the demo's page says about the model, in JSON; no variable, no page."""
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Where several processes add up what they count; it is prometheus_client that reads it."""
