"""What /openapi.json says about bodies, which the routes read themselves."""

from __future__ import annotations

from typing import Any

from yoyak.serving.requests import COLUMN, PARAMS

_TEXT = {"type": "string", "description": "A dialogue, one turn per line, each with its speaker: `#Person1#: …`."}
_PARAMS = {"type": "object", "properties": {name: {"type": "number"} for name in PARAMS}}
_TEXTS = {"type": "array", "items": _TEXT, "minItems": 1}


def _body(schema: dict[str, Any], **others: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}, **others}
    return {"requestBody": {"required": True, "content": content}}


INVOCATIONS = _body(
    {
        "type": "object",
        "properties": {
            "inputs": _TEXTS,
            "instances": _TEXTS,
            "dataframe_split": {
                "type": "object",
                "properties": {"columns": {"type": "array"}, "data": {"type": "array", "items": {"type": "array"}}},
                "required": ["columns", "data"],
            },
            "dataframe_records": {
                "type": "array",
                "items": {"type": "object", "properties": {COLUMN: _TEXT}, "required": [COLUMN]},
            },
            "params": _PARAMS,
        },
        "description": "Exactly one of inputs, instances, dataframe_split and dataframe_records.",
    },
    **{"text/csv": {"schema": {"type": "string", "description": f"A table with a column {COLUMN}."}}},
)
CHAT = _body(
    {
        "type": "object",
        "properties": {
            "model": {"type": "string", "description": "As GET /v1/models names it."},
            "messages": {
                "type": "array",
                "items": {"type": "object", "properties": {"role": {"type": "string"}, "content": {}}},
                "description": "The last message of the user is the dialogue; the others are not read.",
            },
            "stream": {"type": "boolean"},
            "max_completion_tokens": {"type": "integer"},
            "max_tokens": {"type": "integer"},
        },
        "required": ["model", "messages"],
    }
)
FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"description": "The body, a dialogue or a param is wrong or exceeds a limit."},
    413: {"description": "The body is too large."},
    415: {"description": "The body is not declared as JSON or CSV in UTF-8, or is compressed."},
    429: {"description": "The queue is full."},
    500: {"description": "The model fails on a dialogue."},
    503: {"description": "The server cannot answer now."},
    504: {"description": "Not answered in time."},
}
