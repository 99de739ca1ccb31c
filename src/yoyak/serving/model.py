"""The MLflow model of a member, an ensemble or an exported model: models-from-code, so this file is in the model and
no pickle is.

    mlflow models serve -m models:/yoyak@champion --env-manager local
    curl localhost:5000/invocations -H 'Content-Type: application/json' -d '{"inputs": ["#Person1#: …"]}'

MLflow runs this file to load the model; ``yoyak`` itself comes with it, under ``code/``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    DEADLINE_EXCEEDED,
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    RESOURCE_EXHAUSTED,
    TEMPORARILY_UNAVAILABLE,
)
from mlflow.pyfunc import PythonModel, PythonModelContext

from yoyak.errors import UnavailableError, UserError
from yoyak.models.manifest import check_manifest
from yoyak.serving.environment import DIGEST
from yoyak.serving.hosting import is_served, take_over
from yoyak.serving.queued import Answer, DialogueFailedError, QueueFullError, QueueTimeoutError, WorkerDiedError
from yoyak.serving.requests import COLUMN

ERROR_CODES = {
    QueueFullError: RESOURCE_EXHAUSTED,
    QueueTimeoutError: DEADLINE_EXCEEDED,
    WorkerDiedError: TEMPORARILY_UNAVAILABLE,
    UnavailableError: TEMPORARILY_UNAVAILABLE,
}
"""Any other UserError is a wrong parameter."""


class DialogueSummarizer(PythonModel):
    """Answers a table with a summary for each dialogue; simultaneous calls share batches."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model's folder if its files are those that were logged.

        In the process of a server, take its requests as well (`serving.app`).
        """
        from yoyak.serving.engine import Engine

        folder = Path(context.artifacts["model"])
        # MLflow keeps artifacts in the folder artifacts/ of a model.
        root, remedy = folder.parents[1], "download the model again, or restore its files"
        check_manifest(root, os.environ.get(DIGEST), where=str(root), remedy=remedy)
        self.engine = Engine(folder, served=is_served())
        if is_served():
            from yoyak.serving.app import create_app
            from yoyak.serving.identity import registered_headers
            from yoyak.serving.logs import log_in_json

            log_in_json()
            headers = registered_headers(root)
            take_over(create_app(self.engine), max_connections=self.engine.limits.max_connections, headers=headers)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return ``summary``, ``truncated`` and ``read`` for each row's ``dialogue``; an error is one sentence."""
        try:
            answers = self.engine.ask(*self.engine.prepare(list(model_input[COLUMN]), params or {}))
        except UserError as error:
            raise MlflowException(str(error), _error_code(error)) from error
        return pd.DataFrame(answers, columns=list(Answer._fields))


def _error_code(error: UserError) -> int:
    """Return MLflow's code for an error, which becomes its status in HTTP."""
    if isinstance(error, DialogueFailedError) and not isinstance(error.__cause__, UserError):
        return int(INTERNAL_ERROR)
    return int(ERROR_CODES.get(type(error), INVALID_PARAMETER_VALUE))


mlflow.models.set_model(DialogueSummarizer())
