"""The page of the demo: its files, what it says about the model, and the way to a summary.

    add_page(app, engine)           # on the model's own server: one address for the page and the API
    create_app(model_url, model)    # on a server of its own, for a model's server that is already running

The page loads nothing from other sites, and its headers forbid it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.exceptions import HTTPException

from yoyak.serving import environment
from yoyak.serving.answers import error_response
from yoyak.serving.app import answer, disconnected
from yoyak.serving.engine import ClientGoneError
from yoyak.serving.guard import Guard
from yoyak.serving.metrics import Metrics

if TYPE_CHECKING:
    from yoyak.serving.engine import Engine

SUMMARY_TIMEOUT = 600.0
"""Seconds for one summary; the model's server has a limit of its own, and says so."""
MAX_BYTES = 4 << 20
"""Of one request. How long a dialogue may be is for the model's server to say."""
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
    truncated: bool = Field(description="Whether the model did not read a part of the dialogue, which is too long.")
    read: str = Field(default="whole", description="How it was read: whole, head, tail, both or windows.")


class Failure(BaseModel):
    """Why there is no summary."""

    error_code: str
    message: str


class RefusedError(Exception):
    """A request that gets no summary: the HTTP status, and the reason in one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


Summarize = Callable[[SummaryRequest, Request], Awaitable[Summary]]


def add_page(app: FastAPI, engine: Engine) -> None:
    """Add the page to the server of a model."""

    async def summarize(asked: SummaryRequest, request: Request) -> Summary:
        params = asked.model_dump(exclude={"dialogue"}, exclude_none=True)
        [one] = await answer(engine, request, [asked.dialogue], params)
        return Summary(**one._asdict())

    described = json.loads(os.environ.get(environment.PAGE) or '{"model": "yoyak"}')
    _add_routes(app, ModelInfo.model_validate(described), summarize)


def create_app(model_url: str, model: ModelInfo, hosts: Sequence[str] = ()) -> Guard:
    """Return an application for the model whose server is at ``model_url``; ``hosts`` as in `Guard`."""
    # The interactive documentation would load its scripts from elsewhere; the schema itself is at /openapi.json.
    app = FastAPI(title="Yoyak demo", docs_url=None, redoc_url=None, redirect_slashes=False)

    async def summarize(asked: SummaryRequest, request: Request) -> Summary:
        written = asyncio.ensure_future(request_summary(model_url, asked))
        gone = asyncio.ensure_future(disconnected(request))
        try:
            await asyncio.wait((written, gone), return_when=asyncio.FIRST_COMPLETED)
            if not written.done():
                raise ClientGoneError
            return written.result()
        finally:
            # Closes the connection to the model's server, which ends the search then.
            written.cancel()
            gone.cancel()

    _add_routes(app, model, summarize)

    @app.exception_handler(HTTPException)
    def unknown(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            return error_response(404, "There is nothing at this address.")
        return error_response(error.status_code, f"{error.detail}.")

    return Guard(app, metrics=Metrics(), max_bytes=MAX_BYTES, hosts=hosts)


def _add_routes(app: FastAPI, model: ModelInfo, summarize: Summarize) -> None:
    for path, (name, media_type) in FILES.items():
        app.add_api_route(path, _serve_file(name, media_type), include_in_schema=False)
    failures: dict[int | str, dict[str, Any]] = {
        400: {"model": Failure, "description": "The request or one of its values is wrong."},
        413: {"model": Failure, "description": "The request is too long."},
        415: {"model": Failure, "description": "The request is not declared as JSON."},
        502: {"model": Failure, "description": "The model's server does not answer, or not as one of Yoyak does."},
        503: {"model": Failure, "description": "The model's server is busy."},
    }

    @app.get("/model", response_model_exclude_none=True)
    def describe_model() -> ModelInfo:
        """Return what the page says about the model."""
        return model

    @app.post("/summarize", responses=failures)
    async def summarize_dialogue(asked: SummaryRequest, request: Request) -> Summary:
        """Return the model's summary of one dialogue."""
        request.scope["state"]["route"] = "/summarize"
        return await summarize(asked, request)

    @app.exception_handler(RefusedError)
    def refused(request: Request, error: RefusedError) -> JSONResponse:
        return error_response(error.status, str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # Pages of other sites cannot send this type without asking first.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return error_response(415, "A request must be JSON and declare it: Content-Type: application/json.")
        first = error.errors()[0]
        # Only the names of our own fields: the client's are not repeated.
        where = next((part for part in first["loc"][1:] if part in SummaryRequest.model_fields), None)
        reason = f": {where}: {first['msg'][:1].lower()}{first['msg'][1:]}" if where else ""
        return error_response(400, f'A request must be a JSON object with a "dialogue"{reason}.')


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
        return Summary(
            summary=str(prediction["summary"]),
            truncated=bool(prediction["truncated"]),
            # A server of an older version does not say.
            read=str(prediction.get("read", "head" if prediction["truncated"] else "whole")),
        )
    except (ValueError, LookupError, TypeError) as error:
        raise RefusedError(
            502, f"The server at {model_url} does not serve a current Yoyak model: register the model again."
        ) from error


def _serve_file(name: str, media_type: str) -> Any:
    content = files("yoyak.demo").joinpath(name).read_bytes()

    def serve() -> Response:
        return Response(content, media_type=media_type)

    return serve


def _error_sentence(text: str) -> str:
    """Return the error message of a model's server, without MLflow's prefix."""
    with suppress(ValueError, LookupError, TypeError):
        text = str(json.loads(text)["message"])
    return text.rpartition("\nError: ")[2].strip()
