"""What a server's process does besides its application: limits on connections, and taking the place of MLflow's.

`mlflow models serve` runs ``uvicorn mlflow.pyfunc.scoring_server.app:app``. That module loads the model, and so calls
`take_over`, before it makes an application of its own; MLflow has no hook for it. `yoyak serve` runs
``uvicorn yoyak.serving.process:app``, which needs nothing of MLflow.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

SERVER = "mlflow.pyfunc.scoring_server.app"
"""MLflow's server, whose module loads the model."""
HEAD_SECONDS = 10.0
"""In which the head of a request has to arrive; uvicorn itself waits for ever."""
HEAD_BYTES = 64 << 10
"""Of the head of a request, about; httptools itself, which uvicorn uses where it is installed, takes any size."""


ANSWER_SECONDS = 30.0
"""In which a client has to take its answer; uvicorn itself waits for ever."""
RESERVE = 32
"""Connections above the limit that uvicorn tells so, with a 503; any more are closed at once."""


def is_served() -> bool:
    """Return whether this process is a server, which is loading its model."""
    return SERVER in sys.modules


def take_over(app: Any, *, max_connections: int, headers: Mapping[str, str]) -> None:
    """Let uvicorn run ``app`` instead of MLflow's; the others as in `limit_connections`."""

    class Module(ModuleType):
        # Comes before what the module assigns to the name itself.
        @property
        def app(self) -> Any:
            return app

    sys.modules[SERVER].__class__ = Module
    limit_connections(max_connections=max_connections, headers=headers)


def limit_connections(*, max_connections: int, headers: Mapping[str, str]) -> None:
    """Set limits of the uvicorn that is importing the application, if any, which MLflow does not set.

    Args:
        headers: Of every answer, unless uvicorn was given others of the same name.
    """
    config = _find_config()
    if config is None:
        return
    config.access_log = False
    config.server_header = False
    _limit_heads(config)
    _add_headers(config, headers)
    if config.limit_concurrency is None:
        config.limit_concurrency = max_connections


def _find_config() -> Any:
    """Return the configuration of the uvicorn that is importing the application; None if something else imports it."""
    import uvicorn

    frame = sys._getframe()
    while frame is not None:
        candidate = frame.f_locals.get("self")
        if isinstance(candidate, uvicorn.Config):
            return candidate
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _add_headers(config: Any, headers: Mapping[str, str]) -> None:
    given = {name.lower() for name, _ in config.headers}
    added = [(name.lower(), value) for name, value in headers.items() if name.lower() not in given]
    config.headers += added
    # Uvicorn encodes them before it imports the application.
    config.encoded_headers += [(name.encode("latin1"), value.encode("latin1")) for name, value in added]


def _limit_heads(config: Any) -> None:
    """Let a configuration, which may or may not have chosen its protocol yet, choose one with a limit."""
    from uvicorn.config import HTTP_PROTOCOLS
    from uvicorn.importer import import_from_string

    if hasattr(config, "http_protocol_class"):
        config.http_protocol_class = limit_head(config.http_protocol_class)
    else:
        name = HTTP_PROTOCOLS.get(config.http, config.http)
        config.http = limit_head(import_from_string(name) if isinstance(name, str) else name)


def limit_head(protocol: Any, seconds: float = HEAD_SECONDS, answer_seconds: float = ANSWER_SECONDS) -> Any:
    """Return one of uvicorn's protocols, but it closes a connection that is one too many, whose request has too long or
    too slow a head, or whose client does not take its answer.
    """
    if protocol.__name__ not in ("H11Protocol", "HttpToolsProtocol"):
        # One that a user has chosen: it may answer several requests of a connection at once, as HTTP/2 does.
        return protocol

    class Protocol(protocol):
        head_timer: asyncio.TimerHandle | None = None
        answer_timer: asyncio.TimerHandle | None = None
        head_bytes = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency + RESERVE:
                transport.abort()
                return
            # A single byte that is not taken pauses writing, since closing a connection waits for it too.
            transport.set_write_buffer_limits(0)
            self._watch_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch_head(len(data))

        def pause_writing(self) -> None:
            super().pause_writing()
            self.answer_timer = self.loop.call_later(answer_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            self._stop_answer_timer()
            super().resume_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            if self.head_timer is not None:
                self.head_timer.cancel()
            self._stop_answer_timer()
            super().connection_lost(exc)

        def _stop_answer_timer(self) -> None:
            if self.answer_timer is not None:
                self.answer_timer.cancel()

        def _watch_head(self, received: int = 0) -> None:
            waiting = self.cycle is None or self.cycle.response_complete
            self.head_bytes = self.head_bytes + received if waiting else 0
            if self.head_bytes > HEAD_BYTES:
                self.transport.close()
            if waiting and self.head_timer is None:
                self.head_timer = self.loop.call_later(seconds, self._close_slow)
            elif not waiting and self.head_timer is not None:
                self.head_timer.cancel()
                self.head_timer = None

        def _close_slow(self) -> None:
            self.head_timer = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Protocol
