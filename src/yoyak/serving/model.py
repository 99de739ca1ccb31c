"""The MLflow model of a member or an ensemble: models-from-code, so that this file is in the model and no pickle is.

    mlflow models serve -m models:/yoyak@champion --env-manager local
    curl localhost:5000/invocations -H 'Content-Type: application/json' -d '{"inputs": ["#Person1#: …"]}'

MLflow runs this file to load the model; ``yoyak`` itself comes with it, under ``code/``.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext

from yoyak.errors import UserError
from yoyak.serving.requests import COLUMN, dialogues, generation

if TYPE_CHECKING:
    from yoyak.decoding.generate import Summarizer
    from yoyak.decoding.onnx import OnnxSummarizer
    from yoyak.serving.ensemble import EnsembleSummarizer


class DialogueSummarizer(PythonModel):
    """Answers requests with one summary for each dialogue."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the folder that the model carries."""
        from yoyak.serving.loading import load_summarizer

        self.summarizer = load_summarizer(Path(context.artifacts["model"]))
        # The scoring server has a thread for each request; a fast tokenizer's settings are no place for two of them.
        self.lock = threading.Lock()
        self.room = _room(self.summarizer)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[str]:
        """Return the summary of each row's ``dialogue``; what is wrong with a request is a 400 in one sentence."""
        try:
            texts = dialogues(list(model_input[COLUMN]))
            settings = generation(self.summarizer.generation, params or {}, self.room)
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        with self.lock:
            found = self.summarizer.summarize(texts, generation=settings)
        return [candidates[0].text for candidates in found]


def _room(summarizer: Summarizer | EnsembleSummarizer | OnnxSummarizer) -> int | None:
    """Return how many tokens can be written behind the longest input; past it, positions are out of range."""
    models = getattr(summarizer, "members", {"": summarizer}).values()
    return min((room for model in models if (room := _room_of(model)) is not None), default=None)


def _room_of(summarizer: Summarizer | OnnxSummarizer) -> int | None:
    positions = _positions(summarizer)
    if positions is None:
        return None
    taken = summarizer.spec.max_input_tokens if summarizer.spec.family == "causal" else 1
    return max(1, positions - taken)


def _positions(summarizer: Summarizer | OnnxSummarizer) -> int | None:
    about = getattr(summarizer, "about", None)
    if about is not None:
        return about.positions
    config = summarizer.model.config  # type: ignore[union-attr]
    return getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)


mlflow.models.set_model(DialogueSummarizer())
