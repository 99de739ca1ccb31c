"""A proxy in front of a model's real server that fails as endpoints do: now and then, in every way."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-test-0a1B2c3D4e5F6g7H8i9J"
"""The key that it wants. It repeats in its errors whatever it was given, as the worst endpoints do."""


class Proxy:
    """What a test tells the proxy, and what it has seen."""

    def __init__(self, url: str, target: str) -> None:
        self.url, self.target = url, target
        self.faults: deque[str] = deque()
        """What goes wrong with the next requests, one each."""
        self.asked: list[dict[str, Any]] = []
        """The bodies of all requests for a completion, those that failed too."""
        self.times: list[float] = []
        self.answered = 0
        self.counts_tokens = True
        self.released = threading.Event()
        """Lets go of slow answers."""
        self.all_asked = threading.Event()
        """Set once as many requests as `hold_after` have come; from then on every one is slow."""
        self.hold_after: int | None = None
        self.lock = threading.Lock()

    def reset(self) -> None:
        """Forget what the last test has done."""
        self.released.set()
        self.__init__(self.url, self.target)  # type: ignore[misc]


@contextmanager
def running_proxy(target: str) -> Iterator[Proxy]:
    """Run a proxy of a server for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

        def answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def fail(self, status: int, message: str, code: str | None = None, **headers: str) -> None:
            body = {"error": {"message": f"{message} (key {self.headers['Authorization']})", "type": "e", "code": code}}
            self.answer(status, json.dumps(body).encode(), **headers)

        def is_allowed(self) -> bool:
            if self.headers["Authorization"] == f"Bearer {KEY}":
                return True
            self.fail(401, "Incorrect API key provided")
            return False

        def forward(self, body: bytes | None) -> tuple[int, bytes]:
            request = urllib.request.Request(
                f"{proxy.target}{self.path}", body, {"Content-Type": "application/json"} if body else {}
            )
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    return response.status, response.read()
            except urllib.error.HTTPError as error:
                return error.code, error.read()

        def do_GET(self) -> None:
            if self.is_allowed():
                self.answer(*self.forward(None))

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            with proxy.lock:
                proxy.asked.append(json.loads(data))
                proxy.times.append(time.monotonic())
                fault = proxy.faults.popleft() if proxy.faults else ""
                if proxy.hold_after is not None and len(proxy.asked) > proxy.hold_after:
                    fault = "slow"
                    proxy.all_asked.set()
            if not self.is_allowed():
                return
            if fault.startswith("429"):
                self.fail(429, "Slow down", Retry_After=fault.partition(" ")[2] or "0.01")
            elif fault == "quota":
                self.fail(429, "You have no money left", "insufficient_quota")
            elif fault.isdigit():
                self.fail(int(fault), "It is not my day")
            elif fault == "cut":
                self.send_response(200)
                self.send_header("Content-Length", "5000")
                self.end_headers()
                self.wfile.write(b'{"choices": [')
                self.close_connection = True
            elif fault == "malformed":
                self.answer(200, b'{"choices": [{"message": {"content": "\xec\x9a')
            elif fault == "shapeless":
                self.answer(200, b'{"detail": "fine"}')
            elif fault == "html":
                self.answer(200, b"<html>Welcome</html>", Content_Type="text/html")
            else:
                if fault == "slow":
                    proxy.released.wait(30)
                status, body = self.forward(data)
                if status == 200 and proxy.counts_tokens:
                    body = json.dumps({**json.loads(body), "usage": count_tokens(json.loads(data))}).encode()
                with proxy.lock:
                    proxy.answered += 1
                try:
                    self.answer(status, body)
                except OSError:
                    self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}/v1", target)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.released.set()
            server.shutdown()
            thread.join()


def count_tokens(body: dict[str, Any]) -> dict[str, int]:
    """Return the usage that an endpoint reports: a token for each character that is asked, and ten for the answer."""
    read = sum(len(message["content"]) for message in body["messages"])
    return {"prompt_tokens": read, "completion_tokens": 10, "total_tokens": read + 10}
