"""An MLflow model in a process of a batch run: its own code runs it, as in MLflow's server and in `spark_udf`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from yoyak.errors import UserError, first_line
from yoyak.serving.requests import COLUMN
from yoyak.serving.settings import PREFIX

PACKAGE = "yoyak"
_NOT_ITS_FAULT = ("TEMPORARILY_UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")
"""MLflow's codes of errors that have nothing to do with a dialogue."""


class Answer(NamedTuple):
    """What the model says of one dialogue."""

    summary: str
    truncated: bool
    """Whether it did not read a part of the dialogue, because that does not fit."""
    read: str
    """How it was read: ``whole``, from the ``head``, the ``tail`` or ``both``, or in ``windows``."""


class DialogueError(Exception):
    """The model fails on at least one of the dialogues; the message says why."""


class LoadedModel:
    """A model that answers batches. One thread of a process may use it."""

    def __init__(self, folder: Path, threads: int) -> None:
        """Load an MLflow model. Raises UserError if it cannot be loaded."""
        os.environ[f"{PREFIX}THREADS"] = str(threads)
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        self._modules: dict[str, ModuleType] = {}
        import mlflow.pyfunc

        try:
            with self._own_code():
                self._model = mlflow.pyfunc.load_model(str(folder))
        except Exception as error:  # MLflow passes on whatever the model's code raises.
            raise UserError(f"The model in {folder} cannot be loaded ({first_line(error)}).") from error

    def answer(self, texts: Sequence[str]) -> list[Answer]:
        """Return an answer for each dialogue.

        Raises DialogueError if the model fails on one, and UserError if it is not a dialogue's fault.
        """
        import pandas as pd
        from mlflow.exceptions import MlflowException

        try:
            with self._own_code():
                table = self._model.predict(pd.DataFrame({COLUMN: list(texts)}))
        except MlflowException as error:
            if error.error_code in _NOT_ITS_FAULT:
                raise UserError(f"The model cannot answer now ({first_line(error)}).") from error
            raise DialogueError(_find_reason(error)) from error
        return [
            Answer(str(summary), bool(truncated), str(read))
            for summary, truncated, read in zip(table["summary"], table["truncated"], table["read"], strict=True)
        ]

    @contextmanager
    def _own_code(self) -> Iterator[None]:
        """Let the model import its copy of this package, and find what it has imported of it.

        A registered model is its weights and the code that runs them, which may be older than what is installed.
        """
        installed = _take_modules()
        sys.modules.update(self._modules)
        try:
            yield
        finally:
            self._modules = _take_modules()
            sys.modules.update(installed)


def _take_modules() -> dict[str, ModuleType]:
    """Remove this package's modules from those that are imported, and return them."""
    names = [name for name in sys.modules if name == PACKAGE or name.startswith(f"{PACKAGE}.")]
    return {name: sys.modules.pop(name) for name in names}


def _find_reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    # The class is that of the model's code.
    if type(error).__name__ in (UserError.__name__, "MlflowException"):
        return first_line(error)
    return f"the model fails with {type(error).__name__}: {first_line(error)}"
