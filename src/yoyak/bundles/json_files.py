"""Reading the JSON files of a bundle, which anyone may have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from yoyak.errors import UserError, first_line
from yoyak.files import write_json

CODE_KEYS = ("auto_map", "attn_implementation", "_attn_implementation")
"""Keys by which transformers finds code to load: Python beside the weights, or on the Hub."""


def read_json_object(path: Path, where: str) -> dict[str, Any]:
    """Read a JSON object; ``where`` names the file in errors."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not valid JSON ({first_line(error)}): create the bundle again.") from error
    if not isinstance(value, dict):
        raise UserError(f"{where} does not hold a JSON object: create the bundle again.")
    return value


def remove_code(path: Path, where: str) -> None:
    """Remove from a configuration what would make transformers load code, or files outside of the folder."""
    value = read_json_object(path, where)
    is_tokenizer = path.name.startswith("tokenizer")
    kept = {key: inner for key, inner in value.items() if not (is_tokenizer and key.endswith("_file"))}
    kept = json.loads(json.dumps(kept), object_hook=_without_code_keys)
    if kept != value:
        write_json(path, kept)


def describe_error(error: ValidationError) -> str:
    """Return pydantic's first complaint as ``key: message``."""
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, first['loc']))[:200] or 'it'}: {message[:1].lower()}{message[1:]}"


def _without_code_keys(value: dict[str, Any]) -> dict[str, Any]:
    return {key: inner for key, inner in value.items() if key not in CODE_KEYS}
