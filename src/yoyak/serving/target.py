"""From the name of a model to the folder that `mlflow models serve` takes, and a description of what is in it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from yoyak import params
from yoyak.bundles.resolve import resolve_model
from yoyak.errors import UserError
from yoyak.models.spec import ENSEMBLE_FILE, ONNX_FILE, load_spec
from yoyak.params import Generation
from yoyak.params.deploy import Serving
from yoyak.registry.resolve import FORMS, fetch_mlflow_folder, locate, registered_digest
from yoyak.registry.versions import CHAMPION, SERVING, get_aliases
from yoyak.serving.settings import load_serving
from yoyak.tracking.client import configure

ALIASES = (SERVING, CHAMPION)
"""Which version is served if none is named: the first alias that exists."""
EXAMPLE = "#Person1#: 토요일 저녁 일곱 시에 네 명 자리 있나요?\n#Person2#: 네, 예약해 드릴게요. 성함이 어떻게 되세요?"
"""A dialogue to try a model with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A model that can be served."""

    folder: Path
    """The MLflow model, with MLmodel."""
    name: str
    """The display name: a registered version or a path."""
    model: str
    """The registered model's name; else the id of the model in MLflow, or the name of its folder or file."""
    version: int | None
    """The registered version: the number that an alias had when the model was opened."""
    variant: str
    """How it runs: in torch, as an export, or as an ensemble of members."""
    uses_torch: bool
    """Whether its process loads torch."""
    generation: Generation
    """Generation settings, unless a request changes them."""
    digest: str | None
    """The digest of its files that MLflow's database has (`models.manifest`), if that has one."""
    serving: Serving
    """Its limits on requests, and how it batches them."""

    @property
    def batch_size(self) -> int:
        """How many dialogues it summarizes at once."""
        size = self.serving.batch_size
        return size if isinstance(size, int) else self.generation.batch_size


def default_model_uri() -> str:
    """Return the URI of this project's model to serve; UserError where none is registered."""
    from yoyak.tracking.client import connect, translate_mlflow_errors

    name = params.load_or_default().registry.name
    client = connect()
    with translate_mlflow_errors():
        aliases = get_aliases(client, name)
    alias = next((alias for alias in ALIASES if alias in aliases), None)
    if alias is None:
        raise UserError(f"No champion is registered as '{name}' here: run `dvc repro`, or name a model ({FORMS}).")
    return f"models:/{name}@{alias}"


@contextmanager
def open_target(uri: str | None = None) -> Iterator[Target]:
    """Yield the model that ``uri`` names, in any form that `yoyak summarize` takes; by default `default_model_uri`.

    A model that is not an MLflow model is packaged as one for the duration of the block. Raises UserError that names
    the nearest model or alias before anything is loaded.
    """
    configure()
    uri = uri or default_model_uri()
    path = Path(uri)
    if (path / "MLmodel").is_file():
        yield _describe(path, resolve_model(uri), uri, path.resolve().name)
    elif path.exists():
        model_folder = resolve_model(uri)
        with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
            folder = Path(temporary) / "model"
            _package(model_folder, folder)
            yield _describe(folder, resolve_model(str(folder)), uri, path.resolve().name)
    else:
        model = locate(uri)
        folder = fetch_mlflow_folder(model)
        model_folder = resolve_model(str(folder))
        name, version = model.model_id or model.uri, None
        if model.version is not None:
            name, version = model.version.name, model.version.version
        label = model.version.label if model.version else model.uri
        yield _describe(folder, model_folder, label, name, version, registered_digest(model))


def _package(model_folder: Path, folder: Path) -> None:
    from yoyak.serving.saving import save_exported, save_model

    if (model_folder / ONNX_FILE).is_file():
        settings = params.load_or_default().serving
        save_exported(folder, model_folder, serving=settings, example=EXAMPLE)
    else:
        save_model(folder, model_folder, generation=_generation(model_folder), example=EXAMPLE, metadata={})


def _describe(
    folder: Path, model_folder: Path, name: str, model: str, version: int | None = None, digest: str | None = None
) -> Target:
    exported = (model_folder / ONNX_FILE).is_file()
    return Target(
        folder=folder.absolute(),
        name=name,
        model=model,
        version=version,
        variant=_variant(model_folder),
        uses_torch=not exported,
        generation=_generation(model_folder),
        digest=digest,
        serving=load_serving(model_folder),
    )


def _variant(model_folder: Path) -> str:
    if (model_folder / ENSEMBLE_FILE).is_file():
        return f"ensemble of {', '.join(_read(model_folder / ENSEMBLE_FILE)['members'])}"
    member = load_spec(model_folder).member
    if (model_folder / ONNX_FILE).is_file():
        return f"{member}, exported in {_read(model_folder / ONNX_FILE)['precision']}, without torch"
    if not any(model_folder.glob("*.safetensors")):
        return member
    return f"{member}, in torch"


def _generation(model_folder: Path) -> Generation:
    if (model_folder / ENSEMBLE_FILE).is_file():
        return Generation(**_read(model_folder / ENSEMBLE_FILE)["generation"])
    return load_spec(model_folder).generation


def _read(path: Path) -> dict:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): export or register the model again.") from error
    return dict(value)
