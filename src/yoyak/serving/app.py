"""The server of a model: MLflow's routes and OpenAI's, health and metrics, and the demo's page where it is asked for.

It takes the place of MLflow's own application (`serving.hosting`), whose parser trusts its clients.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pkgutil import resolve_name
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from yoyak.errors import UserError
from yoyak.serving import environment, schema
from yoyak.serving.answers import error_response, error_status, openai_error, refusal
from yoyak.serving.bodies import JSON, check_coding, check_type, read_invocations, read_json
from yoyak.serving.chat import BODY_EXAMPLE, UnknownModelError, completion, read_chat, stream_completion
from yoyak.serving.engine import Engine
from yoyak.serving.guard import Guard, split_hosts
from yoyak.serving.metrics import CONTENT_TYPE, Metrics
from yoyak.serving.queued import Answer

LARGE = 1 << 16
"""Bytes of a body from which it is parsed in a thread, so that other requests do not wait."""
PAGE = "yoyak.demo.app:add_page"
"""By name, since the page stands on the server and not the other way round."""


def create_app(engine: Engine) -> Guard:
    """Return the server of a model, with what the environment says about it."""
    metrics = engine.metrics = Metrics()
    # The interactive documentation would load its scripts from elsewhere; the schema itself is at /openapi.json.
    app = FastAPI(title="Yoyak", docs_url=None, redoc_url=None, redirect_slashes=False)
    _add_probes(app, engine, metrics)
    _add_invocations(app, engine)
    _add_chat(app, engine, os.environ.get(environment.MODEL) or "yoyak")
    if environment.PAGE in os.environ:
        resolve_name(PAGE)(app, engine)

    @app.exception_handler(UserError)
    def refused(request: Request, error: UserError) -> Response:
        if isinstance(error, UnknownModelError):
            return openai_error(404, str(error), code="model_not_found", param="model")
        return refusal(request.url.path, error_status(error), str(error))

    @app.exception_handler(HTTPException)
    def unknown(request: Request, error: HTTPException) -> Response:
        sentences = {404: "There is nothing at this address.", 405: "This address does not take this method."}
        sentence = sentences.get(error.status_code, "The request is wrong.")
        response = refusal(request.url.path, error.status_code, sentence)
        response.headers.update(error.headers or {})
        return response

    hosts = split_hosts(os.environ.get(environment.ALLOWED_HOSTS, ""))
    return Guard(app, metrics=metrics, max_bytes=engine.limits.max_body_mb << 20, hosts=hosts)


async def answer(engine: Engine, request: Request, dialogues: list[object], params: Any) -> list[Answer]:
    """Return the answers to a request, and note them for its line in the log."""
    # Dividing long dialogues counts their tokens; other requests do not wait for it.
    is_large = engine.reads_windows and sum(len(one) for one in dialogues if isinstance(one, str)) > LARGE
    asked = await _parse_in_thread(is_large, lambda: engine.prepare(dialogues, params))
    state = request.scope["state"]
    answers = await engine.answer(*asked, label=state["request_id"], gone=lambda: disconnected(request))
    state["dialogues"], state["truncated"] = len(answers), sum(one.truncated for one in answers)
    return answers


def named(route: str) -> Callable[[Any], Any]:
    """Decorate a route: the metrics call its requests so."""

    def decorate(function: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def call(request: Request) -> Response:
            request.scope["state"]["route"] = route
            return await function(request)

        call.__name__, call.__doc__ = function.__name__, function.__doc__
        return call

    return decorate


def _add_invocations(app: FastAPI, engine: Engine) -> None:
    @app.post("/invocations", openapi_extra=schema.INVOCATIONS, response_model=None, responses=schema.FAILURES)
    @named("/invocations")
    async def invocations(request: Request) -> Response:
        """Return a summary for each dialogue."""
        body, kind = await request.body(), request.headers.get("content-type")
        check_coding(request.headers.get("content-encoding"))
        asked = await _parse(body, lambda: read_invocations(body, kind, engine.limits))
        answers = await answer(engine, request, asked.dialogues, asked.params)
        return JSONResponse({"predictions": [one._asdict() for one in answers]})


def _add_chat(app: FastAPI, engine: Engine, model: str) -> None:
    @app.get("/v1/models", response_model=None)
    @named("/v1/models")
    async def models(request: Request) -> Response:
        """Return the model that is served."""
        entry = {"id": model, "object": "model", "created": 0, "owned_by": "yoyak"}
        return JSONResponse({"object": "list", "data": [entry]})

    @app.post("/v1/chat/completions", openapi_extra=schema.CHAT, response_model=None)
    @named("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        """Return the summary of the dialogue in the user's last message."""
        body = await request.body()
        check_coding(request.headers.get("content-encoding"))
        check_type(request.headers.get("content-type"), (JSON,))
        value = await _parse(body, lambda: read_json(body, engine.limits, BODY_EXAMPLE))
        asked = read_chat(value, model, engine.summarizer.generation)
        [one] = await answer(engine, request, [asked.dialogue], asked.params)
        request_id = request.scope["state"]["request_id"]
        if asked.stream:
            events = stream_completion(request_id, model, one)
            return StreamingResponse(events, media_type="text/event-stream")
        return JSONResponse(completion(request_id, model, one))


def _add_probes(app: FastAPI, engine: Engine, metrics: Metrics) -> None:
    @app.get("/health", response_model=None)
    @app.get("/ping", response_model=None)
    @app.head("/health", include_in_schema=False)
    @app.head("/ping", include_in_schema=False)
    @named("/health")
    async def health(request: Request) -> Response:
        """Say that the process lives."""
        return JSONResponse({"status": "ok"})

    @app.get("/ready", response_model=None)
    @app.head("/ready", include_in_schema=False)
    @named("/ready")
    async def ready(request: Request) -> Response:
        """Say whether a request would be answered now: 503 while the queue is full."""
        if engine.batcher.waiting < engine.batcher.capacity:
            return JSONResponse({"status": "ready"})
        return error_response(503, "The queue is full: send requests in a moment.")

    @app.get("/version", response_model=None)
    @named("/version")
    async def mlflow_version(request: Request) -> Response:
        """Return the version of MLflow, as its own server does."""
        # The part of MLflow that is installed wherever MLflow is.
        return Response(version("mlflow-skinny"), media_type="application/json")

    @app.get("/metrics", response_model=None)
    @named("/metrics")
    async def show_metrics(request: Request) -> Response:
        """Return figures for Prometheus."""
        engine.show_queue()
        return Response(await asyncio.to_thread(metrics.render), media_type=CONTENT_TYPE)


async def _parse(body: bytes, read: Callable[[], Any]) -> Any:
    return await _parse_in_thread(len(body) > LARGE, read)


async def _parse_in_thread(is_large: bool, read: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(read) if is_large else read()


async def disconnected(request: Request) -> None:
    """Return once the client of a request, whose body has been read, is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
