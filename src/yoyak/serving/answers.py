"""Errors as answers: each kind with its HTTP status, and one sentence in the shape that its clients expect."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

from yoyak.errors import UnavailableError, UserError
from yoyak.serving.bodies import BodyTypeError
from yoyak.serving.queued import DialogueFailedError, QueueFullError, QueueTimeoutError, WorkerDiedError

OPENAI = "/v1/"
"""How the paths of OpenAI's API begin."""
STATUS = {
    BodyTypeError: 415,
    QueueFullError: 429,
    QueueTimeoutError: 504,
    WorkerDiedError: 503,
    UnavailableError: 503,
}
"""Any other UserError is a 400."""
CODES = {
    400: "INVALID_PARAMETER_VALUE",
    404: "ENDPOINT_NOT_FOUND",
    405: "BAD_REQUEST",
    408: "DEADLINE_EXCEEDED",
    413: "BAD_REQUEST",
    415: "BAD_REQUEST",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""MLflow's names of errors, which its clients read."""


def error_status(error: UserError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, DialogueFailedError) and not isinstance(error.__cause__, UserError):
        return 500
    return STATUS.get(type(error), 400)


def refusal(path: str, status: int, sentence: str, *, close: bool = False) -> JSONResponse:
    """Return an error in the shape that the clients of this path expect; ``close`` as in `error_response`."""
    answer = openai_error if path.startswith(OPENAI) else error_response
    return answer(status, sentence, close=close)


def error_response(status: int, sentence: str, *, close: bool = False) -> JSONResponse:
    """Return an error in MLflow's shape; ``close`` ends the connection, whose client may still be sending."""
    content = {"error_code": CODES.get(status, "BAD_REQUEST"), "message": sentence}
    return JSONResponse(content, status, _headers(status, close))


def openai_error(
    status: int, sentence: str, *, code: str | None = None, param: str | None = None, close: bool = False
) -> JSONResponse:
    """Return an error in OpenAI's shape."""
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    error: dict[str, Any] = {"message": sentence, "type": kind, "param": param, "code": code}
    return JSONResponse({"error": error}, status, _headers(status, close))


def _headers(status: int, close: bool) -> dict[str, str]:
    headers = {"Connection": "close"} if close else {}
    if status in (429, 503):
        headers["Retry-After"] = "1"
    return headers
