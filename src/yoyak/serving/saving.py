"""Writing a model or an ensemble as an MLflow model that carries all it needs: weights, code, pinned requirements.

model = mlflow.pyfunc.load_model("models:/yoyak@champion")
model.predict(pandas.DataFrame({"dialogue": ["#Person1#: …"]}), params={"num_beams": 4})
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yoyak
from yoyak.errors import UserError
from yoyak.models.spec import ENSEMBLE_FILE, ONNX_FILE, SPEC_FILE, load_spec
from yoyak.params import Generation
from yoyak.serving.requests import COLUMN, PARAMS
from yoyak.serving.settings import save_serving

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature

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


def save_exported(path: Path, folder: Path, *, serving: Mapping[str, Any], example: str) -> None:
    """Write what `log_exported` logs to the folder ``path``, for `mlflow models serve -m <path>`."""
    with with_serving(folder, serving) as view:
        save_model(path, view, generation=load_spec(folder).generation, example=example, about=about_exported(folder))


def about_exported(folder: Path) -> dict[str, str]:
    """Return what MLflow is told of an exported model. Raises UserError where the folder is none."""
    spec, path = load_spec(folder), folder / ONNX_FILE
    if not path.is_file():
        raise UserError(f"{folder} is no exported model: it has no {ONNX_FILE}; make one with `yoyak export`.")
    precision = str(json.loads(path.read_text(encoding="utf-8"))["precision"])
    return {
        "member": spec.member,
        "family": spec.family,
        "spec": SPEC_FILE,
        "variant": "onnx",
        "precision": precision,
    }


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

    with view_of(folder) as view, tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        mlflow.pyfunc.save_model(
            path,
            python_model=str(Path(__file__).with_name("model.py")),
            artifacts={"model": str(view)},
            code_paths=[_code(Path(temporary))],
            signature=signature(generation),
            input_example=(pd.DataFrame({COLUMN: [example]}), _defaults(generation)),
            pip_requirements=requirements(folder),
            metadata=dict(about),
            mlflow_model=model,
        )


@contextmanager
def with_serving(folder: Path, serving: Mapping[str, Any]) -> Iterator[Path]:
    """Yield a view of an exported folder that has its settings of serving."""
    with view_of(folder) as view:
        save_serving(view, serving)
        yield view


@contextmanager
def view_of(folder: Path) -> Iterator[Path]:
    """Yield a temporary copy of a model's folder; what is written there leaves the folder itself alone.

    Files are hard links where the file system allows it, since weights are large. Symbolic links would not do: MLflow
    refuses those that lead out of the folder.
    """
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        view = Path(temporary) / folder.name
        shutil.copytree(folder, view, copy_function=_link_or_copy)
        yield view


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        # On another file system, or on one that has no hard links.
        shutil.copy2(source, target)


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
    names: tuple[str, ...] = WITHOUT_TORCH if (folder / ONNX_FILE).is_file() else REQUIREMENTS
    if (folder / ENSEMBLE_FILE).is_file():
        names += COMBINING
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in names]


def _defaults(generation: Generation) -> dict[str, Any]:
    return {name: getattr(generation, name) for name in PARAMS}


def _code(folder: Path) -> str:
    """Copy the package without what Python compiled, for MLflow to put into the model."""
    copy = folder / "code" / "yoyak"
    shutil.copytree(Path(yoyak.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    return str(copy)
