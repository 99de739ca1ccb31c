"""A model's server in a process of its own, as `mlflow models serve --env-manager local` starts it.

    with running_server(target, host="127.0.0.1", port=5001, workers=1) as server:
        server.wait()

MLflow's server is uvicorn, found on the PATH; its words go to a log, since a person waits for one line only.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from yoyak import project
from yoyak.cpu import cores
from yoyak.errors import UserError
from yoyak.process import exit_on_sigterm
from yoyak.serving.settings import PREFIX
from yoyak.serving.target import Target

GRACE = 2.0
"""Seconds that requests have to end when the server is told to."""
LAST_WORDS = 2.0
"""Seconds that a process that died has to write why."""
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks a server itself: a proxy of the environment knows nothing of this machine's ports."""

_RAISED = re.compile(r"^(?:ERROR:\s+(?:\[Errno \d+\] )?|(?:\w+\.)*(?:\w*Error|\w*Exception): )(?P<said>\S.*)$")
_DIED = re.compile(r"^(Process \w+-\d+:|INFO:\s+Child process \[\d+\] died)", re.MULTILINE)
"""What a log says of one of several processes that died: uvicorn starts it anew, whatever it died of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server that has answered."""

    name: str
    url: str
    threads: int
    """Of each of its processes."""
    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> None:
        """Wait until it ends, which is what it should not do: raises UserError then."""
        code = self.process.wait()
        raise UserError(f"The server of {self.name} ended: {_reason(code, self.log)} (log: {self.log}).")


def check_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0; UserError in one sentence where the server could not listen there."""
    try:
        return _try_port(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"Port {port} of {host} is taken: end what listens there, or use --port {_next_free(host, port)}."
            ) from error
        if error.errno == errno.EACCES:
            raise UserError(f"Port {port} of {host} is kept for the system: use one of 1024 and more.") from error
        raise UserError(f"--host {host} is no address of this machine: use 127.0.0.1, or 0.0.0.0 for all.") from error


def exposure_warning(host: str, port: int) -> str:
    """Return a warning where other machines can reach what listens on this address, and else nothing."""
    if host in ("localhost", "::1") or host.startswith("127."):
        return ""
    return f"Whoever reaches port {port} of this machine may use it: there is no password.\n"


def local_url(host: str, port: int) -> str:
    """Return the URL under which this machine reaches a server; one that listens everywhere is at home too."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"


@contextmanager
def running_server(target: Target, *, host: str, port: int, workers: int = 1) -> Iterator[Server]:
    """Start the server and yield it once it answers; it and its children end with the block.

    The cores that may be used are split between ``workers`` processes. Raises UserError with the reason where the
    server ends before it answers.
    """
    threads = min(target.serving.threads or cores(), max(1, cores() // workers))
    log = _log(port)
    with exit_on_sigterm():
        with log.open("wb") as out:
            process = _start(target, host, port, workers, threads, out.fileno())
        try:
            server = Server(name=target.name, url=local_url(host, port), threads=threads, process=process, log=log)
            _wait_ready(server)
            yield server
        finally:
            _stop(process)


def _start(target: Target, host: str, port: int, workers: int, threads: int, out: int) -> subprocess.Popen[bytes]:
    with _environment(_variables(threads, target.uses_torch)):
        from mlflow.pyfunc.backend import PyFuncBackend

        # What `mlflow models serve` calls; the command itself would copy the model's files before.
        backend = PyFuncBackend({}, env_manager="local", workers=workers)
        return backend.serve(str(target.folder), port, host, None, synchronous=False, stdout=out, stderr=out)


def _variables(threads: int, torch: bool) -> dict[str, str]:
    """Return the environment of a server: what a person has set is left as it is."""
    # onnxruntime has threads of its own; those of other libraries would take the cores from them.
    others = str(threads if torch else 1)
    wanted = {
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), others),
        "RAYON_NUM_THREADS": str(threads),
        # A process that loads a large model is not hung.
        "UVICORN_TIMEOUT_WORKER_HEALTHCHECK": "30",
    }
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    given = {name: value for name, value in wanted.items() if name not in os.environ}
    return {**given, f"{PREFIX}THREADS": str(threads), "PATH": programs}


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _wait_ready(server: Server) -> None:
    """Wait until the server answers, and show for how long that has been where somebody looks."""
    began, shown = time.monotonic(), sys.stderr.isatty()
    print(f"loading {server.name} …", end="" if shown else "\n", file=sys.stderr, flush=True)
    try:
        while not _answers(server.url):
            code = server.process.poll()
            if code is not None or _DIED.search(_said(server.log)):
                _wait_for_words(server.log)
                reason = _reason(code, server.log)
                raise UserError(f"The server of {server.name} did not start: {reason} (log: {server.log}).")
            time.sleep(0.2)
            if shown:
                seconds = time.monotonic() - began
                print(f"\rloading {server.name} … {seconds:.0f} s", end="", file=sys.stderr, flush=True)
    finally:
        if shown:
            print(file=sys.stderr)


def _wait_for_words(log: Path) -> None:
    """Wait until the log says why a process died: its traceback is written line by line, the reason last."""
    deadline = time.monotonic() + LAST_WORDS
    while not _errors(log) and time.monotonic() < deadline:
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with OPENER.open(f"{url}/ping", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and its children: asked first, then by force. Another Ctrl-C does not leave any of them."""
    import psutil

    if process.poll() is not None:
        return
    pressed = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        everyone = [psutil.Process(process.pid)]
        everyone += everyone[0].children(recursive=True)
        process.terminate()
        _, left = psutil.wait_procs(everyone, timeout=GRACE)
        for one in left:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()
    except psutil.NoSuchProcess:
        process.wait()
    finally:
        signal.signal(signal.SIGINT, pressed)


def _reason(code: int | None, log: Path) -> str:
    """Return why a server with this exit code ended, in the words of the last error in its log."""
    if code == -signal.SIGKILL:
        return "it was killed, most likely for want of memory"
    if said := _errors(log):
        return said[-1][:400].rstrip(".")
    return "one of its processes died" if code is None else f"it left with exit code {code}"


def _errors(log: Path) -> list[str]:
    return [match["said"] for line in _said(log).splitlines() if (match := _RAISED.match(line))]


def _said(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def _log(port: int) -> Path:
    """Return where the server's words go: logs/, or the folder for temporary files where that cannot be written."""
    log = project.LOGS / f"serve-{port}.log"
    try:
        log.parent.mkdir(exist_ok=True)
        log.touch()
    except OSError:
        log = Path(tempfile.gettempdir(), log.name)
    return log


def _try_port(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listening:
        return int(listening.getsockname()[1])


def _next_free(host: str, port: int) -> int:
    for other in range(port + 1, min(port + 100, 65536)):
        with suppress(OSError):
            return _try_port(host, other)
    return 0
