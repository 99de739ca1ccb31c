"""How a served model batches requests, and their limits: ``serving.json`` in the model's folder.

Environment variables such as ``YOYAK_SERVING_BATCH_SIZE=1`` override its values when the server starts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from yoyak.errors import UserError, nearest
from yoyak.files import write_json
from yoyak.params.deploy import Serving

FILE = "serving.json"
PREFIX = "YOYAK_SERVING_"


def save_serving(folder: Path, settings: Serving) -> None:
    """Write the settings beside the model's files."""
    write_json(folder / FILE, settings.model_dump())


def load_serving(folder: Path, environment: Mapping[str, str] | None = None) -> Serving:
    """Return the settings of a model's folder, or the defaults, with the overrides of the environment.

    Raises UserError for a damaged file, and for a variable that names an unknown setting or has a wrong value.
    """
    values: dict[str, Any] = {}
    path = folder / FILE
    if path.is_file():
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is damaged ({error}): register the model again.") from error
    settings = _validate(values, str(path)).model_dump()
    for variable, text in (os.environ if environment is None else environment).items():
        if variable.startswith(PREFIX):
            name = variable.removeprefix(PREFIX).lower()
            if name not in Serving.model_fields:
                known = [PREFIX + key.upper() for key in Serving.model_fields]
                raise UserError(f"{variable} is not a setting of serving{nearest(variable, known)}.")
            settings = _validate({**settings, name: text}, variable).model_dump()
    return Serving(**settings)


def _validate(values: Any, where: str) -> Serving:
    try:
        return Serving.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"][:1])
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise UserError(f"{where}: {key} is {first['input']!r}, but {message}.") from error
