"""Reading the JSON files of a bundle, which anyone may have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from yoyak.errors import UserError, first_line


def read_json_object(path: Path, where: str) -> dict[str, Any]:
    """Read a JSON object; ``where`` names the file in errors."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not valid JSON ({first_line(error)}): create the bundle again.") from error
    if not isinstance(value, dict):
        raise UserError(f"{where} does not hold a JSON object: create the bundle again.")
    return value


def describe_error(error: ValidationError) -> str:
    """Return pydantic's first complaint as ``key: message``."""
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, first['loc']))[:200] or 'it'}: {message[:1].lower()}{message[1:]}"
