"""The server of the page, uvicorn in a thread of its own.

with running_page("127.0.0.1", 7860, model_url=server.url, model=ModelInfo(model="yoyak")) as url:
    ...
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from yoyak.demo.app import ModelInfo, create_app
from yoyak.errors import UserError
from yoyak.serving.guard import split_hosts
from yoyak.serving.hosting import limit_head
from yoyak.serving.launch import OPENER, choose_hosts, local_url

MAX_CONNECTIONS = 64
SHUTDOWN_SECONDS = 1
"""Grace period for a summary that is still being written when the page stops."""


@contextmanager
def running_page(
    host: str, port: int, *, model_url: str, model: ModelInfo, allowed_hosts: str | None = None
) -> Iterator[str]:
    """Serve the page for as long as the block lasts, and yield its address; ``model_url`` is the model's server.

    ``allowed_hosts`` is as in `serving.launch.running_server`.
    """
    config = uvicorn.Config(
        create_app(model_url, model, split_hosts(choose_hosts(host, allowed_hosts))),
        # Keep the terminal free of logs.
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        limit_concurrency=MAX_CONNECTIONS,
        http=limit_head(H11Protocol),
    )
    server = uvicorn.Server(config)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield local_url(host, listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


def check_url(url: str) -> str:
    """Return the address of a model's server that answers; UserError where none does."""
    base = url.rstrip("/").removesuffix("/invocations")
    if not base.startswith(("http://", "https://")):
        raise UserError(
            f"--url '{url}' is not an address: give the one that `yoyak serve` prints, such as http://127.0.0.1:5001."
        )
    try:
        with OPENER.open(f"{base}/ping", timeout=5):
            return base
    except (OSError, ValueError) as error:
        raise UserError(f"No model's server answers at {base}: start it with `yoyak serve`.") from error


def has_page(url: str) -> bool:
    """Return whether a model's server has the page."""
    try:
        with OPENER.open(url, timeout=5):
            return True
    except (OSError, ValueError):
        return False
