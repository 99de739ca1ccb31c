"""The server of the page: its files, and a way to the model's server for the dialogues that are pasted.

Standard library only. The page uses nothing from elsewhere, and its headers forbid it.
"""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from socketserver import ThreadingTCPServer
from typing import Any

from yoyak.errors import UserError
from yoyak.serving.launch import OPENER, local_url

FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
OPTIONS = ("num_beams", "max_new_tokens")
"""What the page lets a person choose of a request's params."""
PATIENCE = 600
"""Seconds for one summary; the model's server has a limit of its own, and says so."""
MAX_BYTES = 4 << 20
"""Of one request: how long a dialogue may be, the model's server says."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class RefusedError(Exception):
    """A request that has no summary for an answer: the HTTP status, and why in one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@contextmanager
def page(host: str, port: int, *, url: str, about: Mapping[str, Any]) -> Iterator[str]:
    """Show the page for as long as the block lasts, and yield its address.

    ``url`` is the model's server, ``about`` what the page says of the model.
    """

    class Handler(_Handler):
        model_url, shown = url, dict(about)

    class Listening(ThreadingTCPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        allow_reuse_address = daemon_threads = True

    with Listening((host, port), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        try:
            yield local_url(host, listening.server_address[1])
        finally:
            listening.shutdown()


def check_url(url: str) -> str:
    """Return the address of a model's server that answers; UserError where none does."""
    base = url.rstrip("/").removesuffix("/invocations")
    if not base.startswith(("http://", "https://")):
        raise UserError(f"--url '{url}' is no address: give the one that `yoyak serve` says, as http://127.0.0.1:5001.")
    try:
        with OPENER.open(f"{base}/ping", timeout=5):
            return base
    except (OSError, ValueError) as error:
        raise UserError(f"No model's server answers at {base}: start it with `yoyak serve`.") from error


def summarize(url: str, dialogue: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``summary`` and ``truncated`` for a dialogue; RefusedError with the model server's own sentence."""
    body = json.dumps({"inputs": [dialogue], "params": dict(options)}).encode()
    request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": "application/json"})
    try:
        with OPENER.open(request, timeout=PATIENCE) as reply:
            found = json.load(reply)["predictions"][0]
            return {"summary": str(found["summary"]), "truncated": bool(found["truncated"])}
    except urllib.error.HTTPError as error:
        raise RefusedError(error.code, _sentence(error.read().decode(errors="replace"))) from error
    except OSError as error:
        raise RefusedError(502, f"The model's server at {url} does not answer.") from error
    except (ValueError, LookupError, TypeError) as error:
        raise RefusedError(
            502, f"What answers at {url} is no model of Yoyak, or an old one: register it again."
        ) from error


def _sentence(text: str) -> str:
    """Return what a model's server says of a request, without what MLflow puts before it."""
    with suppress(ValueError, LookupError, TypeError):
        text = str(json.loads(text)["message"])
    return text.rpartition("\nError: ")[2].strip()


class _Handler(BaseHTTPRequestHandler):
    model_url: str
    shown: dict[str, Any]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/about":
            self._answer(200, self.shown)
        elif path in FILES:
            name, kind = FILES[path]
            self._send(200, files("yoyak.demo").joinpath(name).read_bytes(), kind)
        else:
            self._answer(404, {"error": "There is nothing at this address."})

    def do_POST(self) -> None:
        try:
            self._answer(200, self._summarized())
        except RefusedError as error:
            self._answer(error.status, {"error": str(error)})

    def _summarized(self) -> dict[str, Any]:
        if self.path != "/summarize":
            raise RefusedError(404, "There is nothing at this address.")
        # Pages of other sites cannot send this type without asking first.
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(415, "A request is JSON, and says so.")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise RefusedError(411, "A request says how long it is.")
        left = int(length)
        if left > MAX_BYTES:
            # Who sends it sees a broken connection, and no answer, until it is read to its end.
            while left and (read := self.rfile.read(min(left, 1 << 16))):
                left -= len(read)
            raise RefusedError(413, f"A request has at most {MAX_BYTES >> 20} MiB.")
        try:
            wanted = json.loads(self.rfile.read(left))
            dialogue = wanted["dialogue"]
        except (ValueError, LookupError, TypeError) as error:
            raise RefusedError(400, 'A request is JSON with a "dialogue".') from error
        return summarize(self.model_url, dialogue, {name: wanted[name] for name in OPTIONS if name in wanted})

    def _answer(self, status: int, value: Mapping[str, Any]) -> None:
        self._send(status, json.dumps(value, ensure_ascii=False).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": f"{kind}; charset=utf-8"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is for the person who started it."""
