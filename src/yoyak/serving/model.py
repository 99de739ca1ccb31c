"""The MLflow model of a member, an ensemble or an exported model: models-from-code, so this file is in the model and
no pickle is.

    mlflow models serve -m models:/yoyak@champion --env-manager local
    curl localhost:5000/invocations -H 'Content-Type: application/json' -d '{"inputs": ["#Person1#: …"]}'

MLflow runs this file to load the model; ``yoyak`` itself comes with it, under ``code/``.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
from mlflow.environment_variables import MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    DEADLINE_EXCEEDED,
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    RESOURCE_EXHAUSTED,
    TEMPORARILY_UNAVAILABLE,
)
from mlflow.pyfunc import PythonModel, PythonModelContext

from yoyak.errors import UserError
from yoyak.serving.batching import (
    Answer,
    Batcher,
    DialogueFailedError,
    QueueFullError,
    QueueTimeoutError,
    WorkerDiedError,
)
from yoyak.serving.requests import COLUMN, check_dialogues, request_generation
from yoyak.serving.settings import load_serving

if TYPE_CHECKING:
    from yoyak.params import Generation

SERVER = "mlflow.pyfunc.scoring_server.app"
"""MLflow's server, whose module loads the model."""
SPARE_THREADS = 16
"""Threads of the server beyond those of requests that are answered or wait: they answer that the queue is full."""
ERROR_CODES = {
    QueueFullError: RESOURCE_EXHAUSTED,
    QueueTimeoutError: DEADLINE_EXCEEDED,
    WorkerDiedError: TEMPORARILY_UNAVAILABLE,
}
"""429, 504 and 503 in HTTP; any other UserError is a 400."""


class DialogueSummarizer(PythonModel):
    """Answers requests with a summary for each dialogue; simultaneous requests share batches."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model's folder."""
        from yoyak.serving.loading import load_summarizer

        folder = Path(context.artifacts["model"])
        self.limits = load_serving(folder)
        self.summarizer = load_summarizer(folder, threads=self.limits.threads)
        self.size = self.summarizer.generation.batch_size
        if isinstance(self.limits.batch_size, int):
            self.size = self.limits.batch_size
        served = SERVER in sys.modules
        if not served:
            # A table that a program passes in may be of any size.
            self.limits = self.limits.model_copy(update={"max_rows": sys.maxsize})
        self.batcher = Batcher(
            self.write,
            batch_size=self.size,
            max_wait=self.limits.max_wait_ms / 1000,
            capacity=self.limits.queue_size,
            timeout=MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT.get() if served else None,
        )
        self.threads = self.limits.queue_size + self.size + SPARE_THREADS if served else 0

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return ``summary`` and ``truncated`` for each row's ``dialogue``; an error is one sentence."""
        if self.threads:
            threads, self.threads = self.threads, 0
            _set_thread_count(threads)
        try:
            texts = check_dialogues(list(model_input[COLUMN]), self.limits)
            settings = request_generation(self.summarizer.generation, params or {}, self.summarizer.new_token_limit)
            answers = self.batcher.ask(texts, settings.model_copy(update={"batch_size": self.size}))
        except UserError as error:
            raise MlflowException(str(error), _error_code(error)) from error
        return pd.DataFrame(answers, columns=list(Answer._fields))

    def write(self, texts: list[str], settings: Generation) -> list[Answer]:
        """Summarize a batch; only the batcher's thread does."""
        summaries = self.summarizer.summarize(texts, generation=settings)
        return [Answer(text, cut) for text, cut in zip(summaries.texts, summaries.cut, strict=True)]


def _error_code(error: UserError) -> int:
    """Return MLflow's code for an error, which becomes its status in HTTP."""
    if isinstance(error, DialogueFailedError) and not isinstance(error.__cause__, UserError):
        return int(INTERNAL_ERROR)
    return int(ERROR_CODES.get(type(error), INVALID_PARAMETER_VALUE))


def _set_thread_count(count: int) -> None:
    """Let the server process that many requests at once, one in each thread.

    MLflow's server uses asyncio's default pool, which has four threads more than there are cores: they would never fill
    a batch. The model is loaded before the server's event loop starts, and called outside of it, so the loop has to be
    searched for.
    """
    for candidate in gc.get_objects():
        if issubclass(type(candidate), asyncio.AbstractEventLoop) and candidate.is_running():
            pool = ThreadPoolExecutor(count, "yoyak-request")
            candidate.call_soon_threadsafe(candidate.set_default_executor, pool)


mlflow.models.set_model(DialogueSummarizer())
