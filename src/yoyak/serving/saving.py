"""Writing a model or an ensemble as a self-contained MLflow model: weights, code, pinned requirements.

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
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoyak.errors import UserError
from yoyak.models.families import get_family
from yoyak.models.manifest import write_manifest
from yoyak.models.spec import ADAPTER_FILE, ENSEMBLE_FILE, ONNX_FILE, SPEC_FILE, load_spec
from yoyak.models.steps import NEED_KIWI
from yoyak.params import Generation, Serving
from yoyak.serving.code import copy_code
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
    "prometheus-client",
)
"""What answering a request imports; pinned to the versions installed here."""
COMBINING = ("kiwipiepy", "rouge-score")
"""What an ensemble imports as well."""
STYLE = ("kiwipiepy",)
"""What a step imports as well that changes the style of sentences."""
ADAPTERS = ("peft", "accelerate", "bitsandbytes")
"""What a model imports as well whose adapter is apart from its checkpoint."""
WITHOUT_TORCH = ("mlflow-skinny", "pandas", "onnxruntime", "tokenizers", "numpy", "prometheus-client")
"""What an exported model needs; pydantic comes with MLflow. All of MLflow takes twice as long to import, since its
command imports whatever is installed that it may need."""


def save_exported(path: Path, folder: Path, *, serving: Serving, example: str) -> None:
    """Write what `log_exported` logs to the folder ``path``, for `mlflow models serve -m <path>`."""
    metadata, generation = exported_metadata(folder), load_spec(folder).generation
    with with_serving(folder, serving) as view:
        save_model(path, view, generation=generation, example=example, metadata=metadata)


def exported_metadata(folder: Path) -> dict[str, str]:
    """Return an exported model's MLflow metadata. Raises UserError where the folder does not hold one."""
    spec, path = load_spec(folder), folder / ONNX_FILE
    if not path.is_file():
        raise UserError(
            f"{folder} is not an exported model, since it has no {ONNX_FILE}: write one with `yoyak export`."
        )
    precision = str(json.loads(path.read_text(encoding="utf-8"))["precision"])
    return {
        **spec.metadata,
        "variant": "onnx",
        "precision": precision,
    }


def save_model(
    path: Path,
    folder: Path,
    *,
    generation: Generation,
    example: str,
    metadata: Mapping[str, Any],
    model: Model | None = None,
) -> str:
    """Write a model's or an ensemble's folder to ``path`` as an MLflow model, and return the digest of its files.

    It takes a column ``dialogue`` (or ``{"inputs": ["…"]}``) and the params of `serving.requests.PARAMS`, by default
    those of ``generation``.

    Args:
        example: A dialogue.
        metadata: The model's metadata in MLflow.
        model: The MLflow model to complete, if it is being logged with a run.
    """
    import mlflow.pyfunc
    import pandas as pd

    with temporary_copy(folder) as view, tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        mlflow.pyfunc.save_model(
            path,
            python_model=str(Path(__file__).with_name("model.py")),
            artifacts={"model": str(view)},
            code_paths=[str(copy_code(Path(temporary)))],
            signature=signature(generation),
            input_example=(pd.DataFrame({COLUMN: [example]}), _defaults(generation)),
            pip_requirements=requirements(folder),
            metadata=dict(metadata),
            mlflow_model=model,
        )
    return write_manifest(path)


@contextmanager
def with_serving(folder: Path, serving: Serving) -> Iterator[Path]:
    """Yield a view of an exported folder that has serving settings."""
    with temporary_copy(folder) as view:
        save_serving(view, serving)
        yield view


@contextmanager
def temporary_copy(folder: Path) -> Iterator[Path]:
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
    """Return the model's signature: the columns of requests and answers, and a request's params with their defaults."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    kinds = {int: "long", float: "double"}
    specs = [ParamSpec(name, kinds[type(value)], value) for name, value in _defaults(generation).items()]
    return ModelSignature(
        inputs=Schema([ColSpec("string", COLUMN)]),
        outputs=Schema([ColSpec("string", "summary"), ColSpec("boolean", "truncated"), ColSpec("string", "read")]),
        params=ParamSchema(specs),
    )


def requirements(folder: Path) -> list[str]:
    """Return the pinned requirements of serving, without local version labels (``+cpu``), which no index has."""
    names: tuple[str, ...] = WITHOUT_TORCH if (folder / ONNX_FILE).is_file() else REQUIREMENTS
    if (folder / ENSEMBLE_FILE).is_file():
        names += COMBINING
    if any(folder.rglob(ADAPTER_FILE)):
        names += ADAPTERS
    if {*NEED_KIWI} & {
        step for file in folder.rglob(SPEC_FILE) for step in load_spec(file.parent).generation.postprocessing
    }:
        names += tuple(name for name in STYLE if name not in names)
    families = {load_spec(file.parent).family for file in sorted(folder.rglob(SPEC_FILE))}
    names += tuple(name for family in sorted(families) for name in get_family(family).requirements)
    return [f"{name}=={version(name).partition('+')[0]}" for name in names]


def _defaults(generation: Generation) -> dict[str, Any]:
    return {name: getattr(generation, name) for name in PARAMS}
