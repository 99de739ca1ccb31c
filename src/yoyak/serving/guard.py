"""What every request passes before a route sees it: the host's name, the size of its body and how fast it comes; and
what every answer gets: a request id, headers, a line in the log, a place in the metrics.

It is ASGI middleware, since a body that is too large must not be read first.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import time
import uuid
from collections.abc import MutableMapping, Sequence
from functools import partial
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from yoyak.serving import environment
from yoyak.serving.answers import refusal
from yoyak.serving.engine import ClientGoneError
from yoyak.serving.metrics import Metrics

BODY_SECONDS = 30.0
"""In which the body of a request has to arrive."""
DRAINED_BODIES = 16
"""A body that is too large is read, and thrown away, up to this many times the limit: a client that is still sending
does not look for an answer."""
BODIES_AT_ONCE = 16
"""Bodies of the largest size that may be in memory at once, whether they have arrived or not."""
SMALL = 1 << 16
"""Bytes up to which a body is taken whatever is in memory: the number of connections limits what these take."""
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
"""The names of this machine for itself. A page of another site that has its name point to this machine has another."""
HOST_ALLOWED = "host_allowed"
REQUEST_ID = "X-Request-ID"
CLIENT_GONE = 499
"""The status in the log of a request whose client did not wait; nginx has introduced it."""
QUIET = ("/health", "/ping", "/ready", "/metrics")
"""Asked again and again by machines: logged only where they fail."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Of every answer."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_log = logging.getLogger("yoyak.requests")


class Guard:
    """The outermost middleware of the server."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, max_bytes: int, hosts: Sequence[str] = ()) -> None:
        """Wrap an application.

        Args:
            max_bytes: Of the body of a request.
            hosts: Names by which the server may be called. Without any, a connection within this machine has to use a
                name of this machine, and one from elsewhere may use any.
        """
        self.app, self.metrics, self.max_bytes = app, metrics, max_bytes
        self.any_host = "*" in hosts
        self.strict = bool(hosts)
        self.check_host = TrustedHostMiddleware(_allow, allowed_hosts=[*hosts, *LOCAL_HOSTS], www_redirect=False)
        self.buffered = 0
        """Bytes of bodies in memory."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            # A WebSocket, if a library for it is installed. uvicorn answers 403, and 500 if nothing refuses it.
            await send({"type": "websocket.close"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID, "")
        request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started, status, size = time.perf_counter(), 0, 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(scope=message)
                out[REQUEST_ID] = request_id
                out.update(HEADERS)
            await send(message)

        self.metrics.active.inc()
        try:
            body = await self._read_body(scope, headers, receive)
            if isinstance(body, bytes):
                size = len(body)
                self.buffered += size
                try:
                    await (await self._choose_app(scope, receive))(scope, _replay(body, receive), send_with_headers)
                finally:
                    self.buffered -= size
            else:
                await body(scope, receive, send_with_headers)
        except ClientGoneError:
            status = CLIENT_GONE
        except Exception:
            _log.exception("the server failed", extra={"request_id": request_id})
            if not status:
                failed = "The server failed on this request; its log says why, under the request id."
                await refusal(scope["path"], 500, failed)(scope, receive, send_with_headers)
        finally:
            self.metrics.active.dec()
            seconds = time.perf_counter() - started
            state = scope["state"]
            self.metrics.observe_request(state.get("route", "other"), status or CLIENT_GONE, seconds)
            if status not in (200, 304) or scope["path"] not in QUIET:
                values = {
                    "request_id": request_id,
                    "method": scope["method"][:16],
                    "path": scope["path"][:200],
                    "status": status or CLIENT_GONE,
                    "ms": round(seconds * 1000, 1),
                    "bytes": size,
                    "dialogues": state.get("dialogues"),
                    "truncated": state.get("truncated"),
                }
                _log.info("request", extra=values)

    async def _choose_app(self, scope: Scope, receive: Receive) -> ASGIApp:
        """Return the application, or the answer to a request by a name that is not this server's."""
        if self.any_host or (not self.strict and not _is_local(scope)):
            return self.app
        await self.check_host(scope, receive, _discard)
        if scope["state"].get(HOST_ALLOWED) or _is_called_by_address(scope):
            return self.app
        wrong = f"The Host of this request is not a name of this server: {environment.ALLOWED_HOSTS} lists its names."
        return refusal(scope["path"], 400, wrong)

    async def _read_body(self, scope: Scope, headers: Headers, receive: Receive) -> bytes | ASGIApp:
        """Return the body, or the answer to one that is too large or too slow."""
        refuse = partial(refusal, scope["path"], close=True)
        too_large = refuse(413, f"The body is larger than {self.max_bytes >> 20} MB: send fewer dialogues.")
        declared = headers.get("content-length", "")
        is_large = declared.isdecimal() and (len(declared) > 18 or int(declared) > self.max_bytes)
        if is_large and ("expect" in headers or int(declared[:19]) > DRAINED_BODIES * self.max_bytes):
            return too_large
        body, length, more = bytearray(), 0, True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGoneError
                    chunk, more = message.get("body", b""), message.get("more_body", False)
                    length += len(chunk)
                    if length > DRAINED_BODIES * self.max_bytes:
                        return too_large
                    if length <= self.max_bytes and not is_large:
                        body += chunk
                        self.buffered += len(chunk)
                        if length > SMALL and self.buffered > BODIES_AT_ONCE * self.max_bytes:
                            busy = "The server is reading too many large requests: send it again in a moment."
                            return refuse(503, busy)
                    else:
                        self.buffered -= len(body)
                        body.clear()
        except TimeoutError:
            return refuse(408, f"The body did not arrive within {BODY_SECONDS:.0f} s.")
        finally:
            self.buffered -= len(body)  # Whoever gets a whole body counts it on, before anything else can run.
        return too_large if is_large or length > self.max_bytes else bytes(body)


def split_hosts(text: str) -> list[str]:
    """Return the names of hosts in a text that separates them by commas."""
    return [host.strip() for host in text.split(",") if host.strip()]


def _replay(body: bytes, receive: Receive) -> Receive:
    pending: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


async def _allow(scope: Scope, receive: Receive, send: Send) -> None:
    """Note that starlette's check of the host's name lets a request pass; its own refusal is not JSON."""
    scope["state"][HOST_ALLOWED] = True


async def _discard(message: Message) -> None:
    pass


def _is_local(scope: Scope) -> bool:
    """Return whether a connection stays within this machine: the address that it was made to is its own alone."""
    server = scope.get("server")
    try:
        return server is None or ipaddress.ip_address(server[0]).is_loopback
    except ValueError:
        return True


def _is_called_by_address(scope: Scope) -> bool:
    """Return whether a request uses the very address that it came to, as probes of Kubernetes do.

    A page whose host name has been made to point here sends that name, never the address.
    """
    if not scope.get("server"):
        return False
    address, port = scope["server"]
    name = f"[{address}]" if ":" in address else address
    return Headers(scope=scope).get("host") in (name, f"{name}:{port}")
