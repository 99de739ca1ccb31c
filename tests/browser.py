"""A headless Chromium, driven through its own debugging pipe: no driver, no port, no package."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
)


@cache
def find_chromium() -> str | None:
    """Return the path of a Chromium or Chrome that starts, or None where there is none."""
    for path in filter(None, map(shutil.which, NAMES)):
        if subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0:
            return path
    return None


class Page:
    """A tab. What it throws or complains of is in ``errors``, what it asks for over the network in ``requests``."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._lines = write, os.fdopen(read, "rb")
        self._number, self._session = 0, None
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and return its result."""
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        message = json.dumps({"id": self._number, "method": method, "params": params, **session})
        os.write(self._write, message.encode() + b"\0")
        while True:
            found = json.loads(self._next())
            if found.get("id") == self._number:
                assert "error" not in found, (method, found["error"])
                return found["result"]
            self._note(found)

    def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False, language: str = "ko") -> None:
        """Load a page in a window of this size, and wait until it is there."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        agent = self.run("navigator.userAgent")
        self.send("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=language)
        self.send("Page.navigate", url=url)
        self.until(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def run(self, code: str) -> Any:
        """Return the value of a JavaScript expression."""
        done = self.send("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in done, (code, done)
        return done["result"].get("value")

    def until(self, code: str, seconds: float = 30) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + seconds
        while not self.run(f"Boolean({code})"):
            assert time.monotonic() < deadline, (code, self.run("document.body.innerText"), self.errors)
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        """Click in the middle of an element, as a mouse does."""
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        place = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.run(f"(({place}).left + ({place}).right) / 2"), self.run(f"(({place}).top + ({place}).bottom) / 2")
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def fill(self, selector: str, text: str) -> None:
        """Put text in the place of what a field holds, as pasting does."""
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        if text:
            self.send("Input.insertText", text=text)
        else:
            self.run("document.execCommand('delete')")

    def shot(self, path: Path) -> None:
        """Save a picture of the whole page."""
        data = self.send("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def _next(self) -> bytes:
        found = bytearray()
        while (byte := self._lines.read(1)) != b"\0":
            assert byte, "the browser ended"
            found += byte
        return bytes(found)

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event["method"] == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event["method"] == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"]["text"])
        elif event["method"] == "Log.entryAdded" and params["entry"]["source"] != "network":
            self.errors.append(params["entry"]["text"])


@contextmanager
def browser() -> Iterator[Page]:
    """Start a browser with a fresh profile, and end it with the block."""
    low_inside, write = os.pipe()
    read, low_outside = os.pipe()
    # In the browser they are 3 and 4, where bash puts them: here they may be neither.
    inside, outside = (fcntl.fcntl(low, fcntl.F_DUPFD, 10) for low in (low_inside, low_outside))
    os.close(low_inside)
    os.close(low_outside)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = f'exec "$0" "$@" 3<&{inside} 4>&{outside}'
        process = subprocess.Popen(
            ["bash", "-c", command, str(find_chromium()), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(inside, outside),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(inside)
        os.close(outside)
        try:
            page = Page(write, read)
            yield page
            page._session = None
            page.send("Browser.close")
        finally:
            os.close(write)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
