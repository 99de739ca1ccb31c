"""How a served model gathers requests, and what it lets in: ``serving.json`` in the model's folder.

``YOYAK_SERVING_BATCH_SIZE=1`` and the like take the place of one of its values when the server starts.
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


def save_serving(folder: Path, values: Mapping[str, Any]) -> None:
    """Write the settings beside the model's files. Raises UserError for a value that does not fit."""
    write_json(folder / FILE, _check(values, FILE).model_dump())


def load_serving(folder: Path, environment: Mapping[str, str] | None = None) -> Serving:
    """Return the settings of a model's folder, or the usual ones, with those of the environment in their place.

    Raises UserError for a damaged file, and for a variable that names no setting or does not fit.
    """
    values: dict[str, Any] = {}
    path = folder / FILE
    if path.is_file():
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}): register the model again.") from error
    found = _check(values, str(path)).model_dump()
    for variable, text in (os.environ if environment is None else environment).items():
        if variable.startswith(PREFIX):
            name = variable.removeprefix(PREFIX).lower()
            if name not in Serving.model_fields:
                known = [PREFIX + key.upper() for key in Serving.model_fields]
                raise UserError(f"{variable} names no setting of serving{nearest(variable, known)}.")
            found = _check({**found, name: text}, variable).model_dump()
    return Serving(**found)


def _check(values: Any, where: str) -> Serving:
    try:
        return Serving.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"][:1])
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise UserError(f"{where}: {key} is {first['input']!r}, but {message}.") from error
