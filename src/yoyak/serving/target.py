"""From what a person calls a model to the folder that `mlflow models serve` takes, and a word on what is in it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from yoyak import params
from yoyak.bundles.resolve import resolve_model
from yoyak.errors import UserError
from yoyak.models.spec import ENSEMBLE_FILE, ONNX_FILE, load_spec
from yoyak.params import Generation
from yoyak.params.deploy import Serving
from yoyak.registry.resolve import FORMS, files_of, locate
from yoyak.serving.settings import load_serving
from yoyak.tracking.client import configure

if TYPE_CHECKING:
    from yoyak.registry.resolve import Located

ALIASES = ("serving", "champion")
"""Which version is served where nobody names one: the first alias that there is."""
EXAMPLE = "#Person1#: 토요일 저녁 일곱 시에 네 명 자리 있나요?\n#Person2#: 네, 예약해 드릴게요. 성함이 어떻게 되세요?"
"""A dialogue to try a model with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A model that can be served."""

    folder: Path
    """MLflow's folder of it, with MLmodel."""
    name: str
    """What is served, as a person calls it: a registered version or a path."""
    variant: str
    """How it writes: in torch, exported, or an ensemble of which members."""
    uses_torch: bool
    """Whether its process loads torch."""
    generation: Generation
    """How it writes unless a request says otherwise."""
    serving: Serving
    """Its limits on requests, and how it batches them."""

    @property
    def batch_size(self) -> int:
        """How many dialogues it summarizes at once."""
        size = self.serving.batch_size
        return size if isinstance(size, int) else self.generation.batch_size


def default_model_uri() -> str:
    """Return the URI of this project's model to serve; UserError where none is registered."""
    from mlflow.exceptions import MlflowException

    from yoyak.tracking.client import connect, translate_mlflow_errors

    name = params.load_or_default().registry.name
    client = connect()
    with translate_mlflow_errors():
        try:
            aliases = client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            aliases = {}
    alias = next((alias for alias in ALIASES if alias in aliases), None)
    if alias is None:
        raise UserError(f"No champion is registered as '{name}' here: run `dvc repro`, or name a model ({FORMS}).")
    return f"models:/{name}@{alias}"


@contextmanager
def open_target(uri: str | None = None) -> Iterator[Target]:
    """Yield the model that ``uri`` names in any form that `yoyak predict` takes; by default `default_model_uri`.

    What is no model of MLflow is made one for as long as the block lasts. Raises UserError that names the nearest
    model or alias before anything is loaded.
    """
    configure()
    uri = uri or default_model_uri()
    path = Path(uri)
    if (path / "MLmodel").is_file():
        yield _describe(path, resolve_model(uri), uri)
    elif path.exists():
        inner = resolve_model(uri)
        with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
            folder = Path(temporary) / "model"
            _package(inner, folder)
            yield _describe(folder, resolve_model(str(folder)), uri)
    else:
        model = locate(uri)
        folder = files_of(model)
        yield _describe(folder, resolve_model(str(folder)), _name(model))


def _package(inner: Path, folder: Path) -> None:
    from yoyak.serving.saving import save_exported, save_model

    if (inner / ONNX_FILE).is_file():
        settings = params.load_or_default().serving
        save_exported(folder, inner, serving=settings.model_dump(), example=EXAMPLE)
    else:
        save_model(folder, inner, generation=_generation(inner), example=EXAMPLE, about={})


def _describe(folder: Path, inner: Path, name: str) -> Target:
    exported = (inner / ONNX_FILE).is_file()
    return Target(
        folder=folder.absolute(),
        name=name,
        variant=_variant(inner),
        uses_torch=not exported,
        generation=_generation(inner),
        serving=load_serving(inner),
    )


def _name(model: Located) -> str:
    if model.version is None:
        return model.uri
    aliases = ", ".join(model.version.aliases)
    return f"{model.version.name} version {model.version.version}{f' ({aliases})' if aliases else ''}"


def _variant(inner: Path) -> str:
    if (inner / ENSEMBLE_FILE).is_file():
        return f"ensemble of {', '.join(_read(inner / ENSEMBLE_FILE)['members'])}"
    member = load_spec(inner).member
    if (inner / ONNX_FILE).is_file():
        return f"{member}, exported in {_read(inner / ONNX_FILE)['precision']}, without torch"
    return f"{member}, in torch"


def _generation(inner: Path) -> Generation:
    if (inner / ENSEMBLE_FILE).is_file():
        return Generation(**_read(inner / ENSEMBLE_FILE)["generation"])
    return load_spec(inner).generation


def _read(path: Path) -> dict:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): make the model again.") from error
    return dict(value)
