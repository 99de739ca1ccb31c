"""From the name of a model to the folders that a server needs, and a description of what is in them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import yoyak
from yoyak import params
from yoyak.bundles.resolve import resolve_model
from yoyak.errors import UserError
from yoyak.models.spec import ENSEMBLE_FILE, ONNX_FILE, load_spec
from yoyak.params import Generation
from yoyak.params.deploy import Serving
from yoyak.registry.resolve import FORMS, fetch_mlflow_folder, find_model_folder, locate, registered_digest
from yoyak.registry.versions import CHAMPION, SERVING, get_aliases
from yoyak.serving.saving import with_serving
from yoyak.serving.settings import FILE, load_serving
from yoyak.tracking.client import configure

MODEL_FILE = "MLmodel"
"""What MLflow describes a model in."""
ALIASES = (SERVING, CHAMPION)
"""Which version is served if none is named: the first alias that exists."""
EXAMPLE = "#Person1#: 여보세요, 토요일 저녁 7시에 네 명 앉을 자리 있어요?\n#Person2#: 네, 있습니다. 바로 잡아 드릴게요."
"""A dialogue to try a model with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A model that can be served."""

    folder: Path
    """The MLflow model, with MLmodel; the model itself if it is not one."""
    model_folder: Path
    """The model itself: weights, tokenizer and settings."""
    code: Path | None
    """Where its server's code is imported from; None if that code needs MLflow to serve it."""
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
    def is_packaged(self) -> bool:
        """Whether it is an MLflow model."""
        return (self.folder / MODEL_FILE).is_file()

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
def open_target(uri: str | None = None, *, package: bool = True) -> Iterator[Target]:
    """Yield the model that ``uri`` names, in any form that `yoyak summarize` takes; by default `default_model_uri`.

    With ``package``, one that is not an MLflow model is packaged as such for the duration of the block. Raises
    UserError that names the nearest model or alias before anything is loaded.
    """
    configure()
    uri = uri or default_model_uri()
    path = Path(uri)
    if (path / MODEL_FILE).is_file():
        yield _describe(path, resolve_model(uri), uri, path.resolve().name)
    elif path.exists():
        with (
            _with_settings(resolve_model(uri)) as model_folder,
            _packaged(model_folder) if package else nullcontext(model_folder) as folder,
        ):
            yield _describe(folder, resolve_model(str(folder)), uri, path.resolve().name)
    else:
        model = locate(uri)
        folder = fetch_mlflow_folder(model)
        name, version = model.model_id or model.uri, None
        if model.version is not None:
            name, version = model.version.name, model.version.version
        label = model.version.label if model.version else model.uri
        model_folder = find_model_folder(folder, model.uri)
        yield _describe(folder, model_folder, label, name, version, registered_digest(model))


@contextmanager
def _with_settings(folder: Path) -> Iterator[Path]:
    """Yield a folder that is no MLflow model, with the project's settings of serving if it is an export without any."""
    if (folder / ONNX_FILE).is_file() and not (folder / FILE).is_file():
        with with_serving(folder, params.load_or_default().serving) as view:
            yield view
    else:
        yield folder


@contextmanager
def _packaged(model_folder: Path) -> Iterator[Path]:
    """Yield a temporary MLflow model of a model's folder."""
    from yoyak.serving.saving import exported_metadata, save_model

    metadata = exported_metadata(model_folder) if (model_folder / ONNX_FILE).is_file() else {}
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        folder = Path(temporary) / "model"
        save_model(folder, model_folder, generation=_generation(model_folder), example=EXAMPLE, metadata=metadata)
        yield folder


def _describe(
    folder: Path,
    model_folder: Path,
    name: str,
    model: str,
    version: int | None = None,
    digest: str | None = None,
) -> Target:
    exported = (model_folder / ONNX_FILE).is_file()
    return Target(
        folder=folder.absolute(),
        model_folder=model_folder.absolute(),
        code=_find_code(folder),
        name=name,
        model=model,
        version=version,
        variant=_variant(model_folder),
        uses_torch=not exported,
        generation=_generation(model_folder),
        digest=digest,
        serving=load_serving(model_folder),
    )


def _find_code(folder: Path) -> Path | None:
    """Return where the code of a model's server is: in the MLflow model, unless that needs MLflow, or what runs now."""
    if not (folder / MODEL_FILE).is_file():
        return Path(yoyak.__file__).absolute().parents[1]
    code = folder.absolute() / "code"
    return code if (code / "yoyak" / "serving" / "process.py").is_file() else None


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
