"""Logging a member or an ensemble as an MLflow model that carries all it needs: weights, code, pinned requirements.

model = mlflow.pyfunc.load_model("models:/yoyak@champion")
model.predict(pandas.DataFrame({"dialogue": ["#Person1#: …"]}), params={"num_beams": 4})
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yoyak
from yoyak.errors import UserError
from yoyak.models.text import SPEC_FILE, load_spec, save_spec
from yoyak.params import Generation
from yoyak.serving.loading import ABOUT
from yoyak.serving.requests import COLUMN, PARAMS
from yoyak.tracking_run import MODEL, StageRun
from yoyak.tracking_store import reported

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

WEIGHTS = "model.safetensors"
REQUIREMENTS = ("mlflow", "torch", "transformers", "tokenizers", "safetensors", "numpy", "pandas", "pydantic", "tqdm")
"""What answering a request imports; the versions are those installed here."""
COMBINING = ("kiwipiepy", "rouge-score")
"""What an ensemble imports beside."""


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


def log_model(
    run: StageRun, folder: Path, *, name: str, generation: Generation, example: str, about: dict[str, Any]
) -> str:
    """Log the folder of a member or an ensemble with its run and return the model's id.

    The model takes a column ``dialogue`` (or ``{"inputs": ["…"]}``) and the params of `serving.requests.PARAMS`, by
    default those of ``generation``. Nothing is loaded to log it.
    """
    import mlflow.pyfunc
    import pandas as pd
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
                mlflow.pyfunc.save_model(
                    path,
                    python_model=str(Path(__file__).with_name("model.py")),
                    artifacts={"model": str(folder)},
                    code_paths=[_code(Path(temporary))],
                    signature=signature(generation),
                    input_example=(pd.DataFrame({COLUMN: [example]}), _defaults(generation)),
                    pip_requirements=requirements((folder / ABOUT).is_file()),
                    metadata=about,
                    mlflow_model=Model(
                        artifact_path=logged.artifact_location,
                        run_id=run.run_id,
                        model_uuid=logged.model_id,
                        model_id=logged.model_id,
                    ),
                )
                run.client.log_model_artifacts(logged.model_id, str(path))
        except BaseException:
            run.client.finalize_logged_model(logged.model_id, "FAILED")
            raise
        run.client.finalize_logged_model(logged.model_id, "READY")
        run.client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    run.set_tags({MODEL: logged.model_id})
    return str(logged.model_id)


@contextmanager
def writing(folder: Path, generation: Generation) -> Iterator[Path]:
    """Yield a view of a model's folder whose spec says how the evaluated summaries were written."""
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        view = Path(temporary)
        for path in folder.iterdir():
            if path.name != SPEC_FILE:
                (view / path.name).symlink_to(path.resolve())
        save_spec(view, replace(load_spec(folder), generation=generation))
        yield view


def signature(generation: Generation) -> ModelSignature:
    """Return the model's signature: text in, text out, and the params of a request with their defaults."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    kinds = {int: "long", float: "double"}
    specs = [ParamSpec(name, kinds[type(value)], value) for name, value in _defaults(generation).items()]
    return ModelSignature(
        inputs=Schema([ColSpec("string", COLUMN)]),
        outputs=Schema([ColSpec("string")]),
        params=ParamSchema(specs),
    )


def requirements(ensemble: bool = False) -> list[str]:
    """Return the pinned requirements of serving; a build's local mark (``+cpu``) is left out, no index has it."""
    names = (*REQUIREMENTS, "ruamel.yaml", *(COMBINING if ensemble else ()))
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in names]


def _defaults(generation: Generation) -> dict[str, Any]:
    return {name: getattr(generation, name) for name in PARAMS}


def _code(folder: Path) -> str:
    """Copy the package without what Python compiled, for MLflow to put into the model."""
    copy = folder / "code" / "yoyak"
    shutil.copytree(Path(yoyak.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    return str(copy)
