"""What a model's folder says about itself, beside the Hugging Face files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from yoyak.errors import UserError
from yoyak.files import write_json
from yoyak.params import Generation, Member

SPEC_FILE = "yoyak.json"
ENSEMBLE_FILE = "ensemble.json"
"""In the folder of an ensemble, and of no single model."""
ONNX_FILE = "onnx.json"
"""In the folder of an exported model, which runs without torch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What has to be known beside a model's Hugging Face files to use it as it was trained."""

    member: str
    family: Literal["seq2seq", "causal"]
    prefix: str
    separator: str
    max_input_tokens: int
    generation: Generation
    """How it writes unless a call says otherwise."""

    @classmethod
    def of(cls, name: str, member: Member) -> ModelSpec:
        """Return the spec of a member of params.yaml."""
        return cls(
            member=name,
            family=member.family,
            prefix=member.prefix,
            separator=member.separator if member.family == "causal" else "",
            max_input_tokens=member.max_input_tokens,
            generation=Generation(max_new_tokens=member.max_target_tokens, num_beams=1, num_return_sequences=1),
        )


def save_spec(folder: Path, spec: ModelSpec) -> None:
    """Write the spec beside the model's files."""
    write_json(folder / SPEC_FILE, {**asdict(spec), "generation": spec.generation.model_dump()})


def load_spec(folder: Path) -> ModelSpec:
    """Read the spec of a saved model; UserError where the folder holds none."""
    path = folder / SPEC_FILE
    if not path.is_file():
        raise UserError(f"{folder} is no model of Yoyak: it has no {SPEC_FILE}; train one with `yoyak train`.")
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return ModelSpec(**{**value, "generation": Generation(**value["generation"])})
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}): train the model again.") from error
