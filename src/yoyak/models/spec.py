"""The spec stored in a model's folder beside the Hugging Face files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from yoyak.errors import UserError
from yoyak.files import write_json
from yoyak.params.generation import Generation
from yoyak.params.members import Windows

SPEC_FILE = "yoyak.json"
ENSEMBLE_FILE = "ensemble.json"
"""Present in the folder of an ensemble, never in that of a single model."""
ADAPTER_FILE = "adapter_config.json"
"""Present in the folder of an adapter that is saved apart from its checkpoint."""
ONNX_FILE = "onnx.json"
"""Present in the folder of an exported model, which runs without torch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What is needed besides a model's Hugging Face files to use it as it was trained."""

    member: str
    family: str
    prefix: str = ""
    """Text put before the dialogue."""
    separator: str = ""
    """Text put after the dialogue."""
    max_samples: int | None = None
    """So many dialogues of each split are summarized, a sample; None for all."""
    max_input_tokens: int = 0
    """Where a dialogue is truncated; 0 where the family does not count tokens."""
    truncate: str = "head"
    """What is read of a dialogue that is longer: see `TrainedMember.truncate`."""
    windows: Windows | None = None
    """How a longer dialogue is read in parts, if it is."""
    preprocessing: tuple[str, ...] = ()
    """Steps that change a dialogue before it is read: see `yoyak.models.steps`."""
    dtype: str = "float32"
    """What it was trained to compute with; it is loaded so where the hardware computes in it."""
    generation: Generation = field(default_factory=Generation)
    """Default generation settings; a call may override them."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further options that only the family reads."""

    @property
    def metadata(self) -> dict[str, str]:
        """Metadata that is logged with the model to MLflow."""
        return {"member": self.member, "family": self.family, "spec": SPEC_FILE}


def save_spec(folder: Path, spec: ModelSpec) -> None:
    """Write the spec beside the model's files."""
    values = {**asdict(spec), "generation": spec.generation.model_dump()}
    for name in ("options", "max_samples", "truncate", "windows", "preprocessing"):
        # What is as it was before there was the key is left out, as older files do.
        if values[name] in ({}, None, "head", ()):
            del values[name]
    if not spec.generation.postprocessing:
        del values["generation"]["postprocessing"]
    if spec.windows is not None:
        values["windows"] = spec.windows.model_dump()
    write_json(folder / SPEC_FILE, values)


def load_spec(folder: Path) -> ModelSpec:
    """Read the spec of a saved model; UserError if the folder has none."""
    path = folder / SPEC_FILE
    if not path.is_file():
        raise UserError(f"{folder} is not a Yoyak model: it has no {SPEC_FILE}; train one with `yoyak train`.")
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        typed: dict[str, Any] = {
            "generation": Generation(**value["generation"]),
            "windows": Windows(**value["windows"]) if value.get("windows") else None,
            "preprocessing": tuple(value.get("preprocessing", ())),
        }
        return ModelSpec(**{**value, **typed})
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}): train the model again.") from error


def read_architecture(folder: Path) -> str:
    """Return the architecture of a saved model, such as ``bart``; its family if it has no weights."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(config["model_type"])
    except (OSError, ValueError, KeyError, TypeError):
        return load_spec(folder).family
