"""A model's server as it runs in production, in a thread of the test's process."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from onnx_models import save_model
from yoyak.export.folder import export_model
from yoyak.params.deploy import Export, Serving
from yoyak.serving import guard
from yoyak.serving.app import create_app
from yoyak.serving.engine import Engine
from yoyak.serving.hosting import limit_head
from yoyak.serving.settings import save_serving

HEAD_SECONDS, BODY_SECONDS = 0.3, 2.0
"""Short, so that tests of slow clients are quick."""


@dataclass(frozen=True)
class Live:
    """A server that answers."""

    port: int
    engine: Engine

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, path: str, body: object = None, *, method: str | None = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, str]:
        """Return status, headers and text of an answer; what is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            names.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method or ("GET" if data is None else "POST"), path, data, names)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    def send(self, data: bytes) -> bytes:
        """Send bytes as they are; return what comes back until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(data)
            received = bytearray()
            while chunk := connection.recv(65536):
                received += chunk
            return bytes(received)


@contextmanager
def serve_live(folder: Path, *, max_connections: int | None = None, **options: Any) -> Iterator[Live]:
    """Serve a model's folder for as long as the block lasts; ``options`` are uvicorn's."""
    engine = Engine(folder, served=True)
    defaults = {"http": limit_head(H11Protocol, HEAD_SECONDS), "limit_concurrency": max_connections}
    config = uvicorn.Config(
        create_app(engine), log_config=None, access_log=False, timeout_graceful_shutdown=10, **{**defaults, **options}
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield Live(listening.getsockname()[1], engine)
        finally:
            server.should_exit = True
            thread.join(30)


@pytest.fixture(scope="session")
def tiny_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny export in fp32, in which a summary does not depend on what shares its batch."""
    folder = tmp_path_factory.mktemp("live")
    export_model(save_model("bart", folder / "model"), folder / "bart", Export(precision="fp32"))
    save_serving(folder / "bart", Serving(batch_size=8, threads=1))
    return folder / "bart"


@pytest.fixture(scope="session")
def live(tiny_export: Path) -> Iterator[Live]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(guard, "BODY_SECONDS", BODY_SECONDS)
        with serve_live(tiny_export) as server:
            yield server
