"""Logging a member or an ensemble as an MLflow model that carries all it needs: weights, code, pinned requirements.

model = mlflow.pyfunc.load_model("models:/yoyak@champion")
model.predict(pandas.DataFrame({"dialogue": ["#Person1#: …"]}), params={"num_beams": 4})
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yoyak
from yoyak.errors import UserError
from yoyak.models.text import SPEC_FILE, load_spec, save_spec
from yoyak.params import Generation
from yoyak.serving.loading import ABOUT, EXPORTED
from yoyak.serving.requests import COLUMN, PARAMS
from yoyak.serving.settings import save_serving
from yoyak.tracking_run import MODEL, StageRun
from yoyak.tracking_store import reported

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature

WEIGHTS = "model.safetensors"
REQUIREMENTS = (
    "mlflow",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "pandas",
    "pydantic",
    "tqdm",
    "ruamel.yaml",
)
"""What answering a request imports; the versions are those installed here."""
COMBINING = ("kiwipiepy", "rouge-score")
"""What an ensemble imports beside."""
WITHOUT_TORCH = ("mlflow", "onnxruntime", "tokenizers", "numpy")
"""What an exported model needs; pandas and pydantic come with MLflow."""


def log_member(run: StageRun, folder: Path, *, example: str) -> str:
    """Log a trained member with its run and return the model's id.

    ``folder`` is what `yoyak train` saved: a Hugging Face model with yoyak.json beside it; ``example`` is a dialogue.
    Raises UserError where the folder is no such model.
    """
    spec = load_spec(folder)
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"{folder} holds no {WEIGHTS}: run `yoyak train` for '{spec.member}' again.")
    about = {"member": spec.member, "family": spec.family, "spec": SPEC_FILE}
    return log_model(run, folder, name=spec.member, generation=spec.generation, example=example, about=about)


def log_exported(run: StageRun, folder: Path, *, serving: Mapping[str, Any], example: str) -> str:
    """Log an exported model, which is served without torch, with its run and return the model's id.

    ``folder`` is what `yoyak export` wrote; ``serving`` is the section of params.yaml, which the model carries with
    it. A ``batch_size`` that is no number means that of the model's generation. Raises UserError for wrong ones.
    """
    spec, about = load_spec(folder), about_exported(folder)
    with _served(folder, serving) as view:
        return log_model(run, view, name=spec.member, generation=spec.generation, example=example, about=about)


def save_exported(path: Path, folder: Path, *, serving: Mapping[str, Any], example: str) -> None:
    """Write what `log_exported` logs to the folder ``path``, for `mlflow models serve -m <path>`."""
    with _served(folder, serving) as view:
        save_model(path, view, generation=load_spec(folder).generation, example=example, about=about_exported(folder))


def about_exported(folder: Path) -> dict[str, str]:
    """Return what MLflow is told of an exported model. Raises UserError where the folder is none."""
    spec, path = load_spec(folder), folder / EXPORTED
    if not path.is_file():
        raise UserError(f"{folder} is no exported model: it has no {EXPORTED}; make one with `yoyak export`.")
    precision = str(json.loads(path.read_text(encoding="utf-8"))["precision"])
    return {
        "member": spec.member,
        "family": spec.family,
        "spec": SPEC_FILE,
        "variant": "onnx",
        "precision": precision,
    }


def log_model(
    run: StageRun,
    folder: Path,
    *,
    name: str,
    generation: Generation,
    example: str,
    about: Mapping[str, Any],
) -> str:
    """Log the folder of a model or an ensemble with its run and return the model's id.

    See `save_model` for what it takes. Nothing is loaded to log it.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    with reported():
        params = run.client.get_run(run.run_id).data.params
        logged = run.client.create_logged_model(
            run.experiment_id, name, run.run_id, tags={"member": name}, params=params
        )
        try:
            with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
                path = Path(temporary) / "model"
                model = Model(
                    artifact_path=logged.artifact_location,
                    run_id=run.run_id,
                    model_uuid=logged.model_id,
                    model_id=logged.model_id,
                )
                save_model(path, folder, generation=generation, example=example, about=about, model=model)
                run.client.log_model_artifacts(logged.model_id, str(path))
        except BaseException:
            run.client.finalize_logged_model(logged.model_id, "FAILED")
            raise
        run.client.finalize_logged_model(logged.model_id, "READY")
        run.client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    run.set_tags({MODEL: logged.model_id})
    return str(logged.model_id)


def save_model(
    path: Path,
    folder: Path,
    *,
    generation: Generation,
    example: str,
    about: Mapping[str, Any],
    model: Model | None = None,
) -> None:
    """Write a model's or an ensemble's folder to ``path`` as an MLflow model.

    It takes a column ``dialogue`` (or ``{"inputs": ["…"]}``) and the params of `serving.requests.PARAMS`, by default
    those of ``generation``.

    Args:
        example: A dialogue.
        about: The model's metadata.
        model: What MLflow knows of it already.
    """
    import mlflow.pyfunc
    import pandas as pd

    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        mlflow.pyfunc.save_model(
            path,
            python_model=str(Path(__file__).with_name("model.py")),
            artifacts={"model": str(folder)},
            code_paths=[_code(Path(temporary))],
            signature=signature(generation),
            input_example=(pd.DataFrame({COLUMN: [example]}), _defaults(generation)),
            pip_requirements=requirements(folder),
            metadata=dict(about),
            mlflow_model=model,
        )


@contextmanager
def writing(folder: Path, generation: Generation) -> Iterator[Path]:
    """Yield a view of a model's folder whose spec says how the evaluated summaries were written."""
    with _view(folder) as view:
        save_spec(view, replace(load_spec(folder), generation=generation))
        yield view


@contextmanager
def _served(folder: Path, serving: Mapping[str, Any]) -> Iterator[Path]:
    """Yield a view of an exported folder that has its settings of serving."""
    with _view(folder) as view:
        save_serving(view, serving)
        yield view


@contextmanager
def _view(folder: Path) -> Iterator[Path]:
    """Yield a folder of links to a model's files; what is written there takes the place of a link."""
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        view = Path(temporary)
        for path in folder.iterdir():
            (view / path.name).symlink_to(path.resolve())
        yield view


def signature(generation: Generation) -> ModelSignature:
    """Return the model's signature: what a row is, what its answer is, and a request's params with their defaults."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    kinds = {int: "long", float: "double"}
    specs = [ParamSpec(name, kinds[type(value)], value) for name, value in _defaults(generation).items()]
    return ModelSignature(
        inputs=Schema([ColSpec("string", COLUMN)]),
        outputs=Schema([ColSpec("string", "summary"), ColSpec("boolean", "truncated")]),
        params=ParamSchema(specs),
    )


def requirements(folder: Path) -> list[str]:
    """Return the pinned requirements of serving; a build's local mark (``+cpu``) is left out, no index has it."""
    names: tuple[str, ...] = WITHOUT_TORCH if (folder / EXPORTED).is_file() else REQUIREMENTS
    if (folder / ABOUT).is_file():
        names += COMBINING
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in names]


def _defaults(generation: Generation) -> dict[str, Any]:
    return {name: getattr(generation, name) for name in PARAMS}


def _code(folder: Path) -> str:
    """Copy the package without what Python compiled, for MLflow to put into the model."""
    copy = folder / "code" / "yoyak"
    shutil.copytree(Path(yoyak.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    return str(copy)
