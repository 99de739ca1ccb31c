"""The web application of the demo: the page's files, what it says about the model, and the way to the model's server.

The page loads nothing from other sites, and its headers forbid it.
"""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from contextlib import suppress
from importlib.resources import files
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SUMMARY_TIMEOUT = 600.0
"""Seconds for one summary; the model's server has a limit of its own, and says so."""
MAX_BYTES = 4 << 20
"""Of one request. How long a dialogue may be is for the model's server to say."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}


class ModelInfo(BaseModel):
    """What the page says about its model; for a server that was already running, only its address is known."""

    model: str
    variant: str | None = None
    """Such as int8, or exported in fp32."""
    num_beams: int | None = None
    max_new_tokens: int | None = None


class SummaryRequest(BaseModel):
    """What the page sends."""

    model_config = ConfigDict(strict=True)

    dialogue: str = Field(description="One turn per line, each with its speaker: `#Person1#: …`.")
    num_beams: int | None = Field(default=None, description="Beams of the search; null is the model's own number.")
    max_new_tokens: int | None = Field(default=None, description="Longest summary in tokens; null is the model's own.")

    @field_validator("dialogue")
    @classmethod
    def _drop_lone_surrogates(cls, dialogue: str) -> str:
        # Half an emoji, where a page has cut a text: it cannot be sent on as UTF-8.
        return dialogue.encode(errors="ignore").decode()


class Summary(BaseModel):
    """What the page shows."""

    summary: str
    truncated: bool = Field(description="Whether the dialogue was longer than the model can read.")


class Failure(BaseModel):
    """Why there is no summary."""

    error: str


class RefusedError(Exception):
    """A request that gets no summary: the HTTP status, and the reason in one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def create_app(model_url: str, model: ModelInfo) -> FastAPI:
    """Return the application for the model whose server is at ``model_url``."""
    # The interactive documentation would load its scripts from elsewhere; the schema itself is at /openapi.json.
    app = FastAPI(title="Yoyak demo", docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_middleware(Guard)
    for path, (name, media_type) in FILES.items():
        app.add_api_route(path, _serve_file(name, media_type), include_in_schema=False)
    failures: dict[int | str, dict[str, Any]] = {
        400: {"model": Failure, "description": "The request or one of its values is wrong."},
        413: {"model": Failure, "description": f"The request is longer than {MAX_BYTES >> 20} MiB."},
        415: {"model": Failure, "description": "The request is not declared as JSON."},
        502: {"model": Failure, "description": "The model's server does not answer, or not as one of Yoyak does."},
        503: {"model": Failure, "description": "The model's server is busy."},
    }

    @app.get("/model", response_model_exclude_none=True)
    def describe_model() -> ModelInfo:
        """Return what the page says about the model."""
        return model

    @app.post("/summarize", responses=failures)
    async def summarize(request: SummaryRequest) -> Summary:
        """Return the model's summary of one dialogue."""
        return await request_summary(model_url, request)

    @app.exception_handler(RefusedError)
    def refused(request: Request, error: RefusedError) -> JSONResponse:
        return _failure(error.status, str(error))

    @app.exception_handler(HTTPException)
    def unknown(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            return _failure(404, "There is nothing at this address.")
        return _failure(error.status_code, f"{error.detail}.")

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # Pages of other sites cannot send this type without asking first.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return _failure(415, "A request must be JSON and declare it: Content-Type: application/json.")
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:] if isinstance(part, str))
        reason = f": {where}: {first['msg']}" if where else ""
        return _failure(400, f'A request must be a JSON object with a "dialogue"{reason}.')

    return app


async def request_summary(model_url: str, request: SummaryRequest) -> Summary:
    """Return what the model's server answers; RefusedError with that server's own sentence."""
    params = request.model_dump(exclude={"dialogue"}, exclude_none=True)
    try:
        # A proxy of the environment knows nothing of this machine's ports.
        async with httpx.AsyncClient(trust_env=False, timeout=SUMMARY_TIMEOUT) as client:
            reply = await client.post(f"{model_url}/invocations", json={"inputs": [request.dialogue], "params": params})
    except httpx.HTTPError as error:
        raise RefusedError(502, f"The model's server at {model_url} does not answer.") from error
    if reply.is_error:
        raise RefusedError(reply.status_code, _error_sentence(reply.text))
    try:
        prediction = reply.json()["predictions"][0]
        return Summary(summary=str(prediction["summary"]), truncated=bool(prediction["truncated"]))
    except (ValueError, LookupError, TypeError) as error:
        raise RefusedError(
            502, f"The server at {model_url} does not serve a current Yoyak model: register the model again."
        ) from error


class Guard:
    """ASGI middleware: adds the headers to every response, and refuses a request that is too long."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, at most `MAX_BYTES` of which are kept, and pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        body, length, more = bytearray(), 0, True
        while more:
            # Read to the end even if it is too long: otherwise the client would see a broken connection and no answer.
            message = await receive()
            chunk, more = message.get("body", b""), message.get("more_body", False)
            length += len(chunk)
            if length <= MAX_BYTES:
                body += chunk
        if length > MAX_BYTES:
            failure = _failure(413, f"A request has at most {MAX_BYTES >> 20} MiB.")
            await failure(scope, receive, send_with_headers)
            return
        pending: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        await self.app(scope, replay, send_with_headers)


def _serve_file(name: str, media_type: str) -> Any:
    content = files("yoyak.demo").joinpath(name).read_bytes()

    def serve() -> Response:
        return Response(content, media_type=media_type)

    return serve


def _failure(status: int, sentence: str) -> JSONResponse:
    return JSONResponse(Failure(error=sentence).model_dump(), status)


def _error_sentence(text: str) -> str:
    """Return the error message of a model's server, without MLflow's prefix."""
    with suppress(ValueError, LookupError, TypeError):
        text = str(json.loads(text)["message"])
    return text.rpartition("\nError: ")[2].strip()
