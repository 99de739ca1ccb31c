"""A model's server in a process of its own: that of `mlflow models serve --env-manager local`, without MLflow.

    with running_server(target, host="127.0.0.1", port=5001, workers=1) as server:
        server.wait()

It is uvicorn, whose output goes to a log, since people wait for one line only, or to standard output, where a
container's log is.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from yoyak import project
from yoyak.cpu import cores
from yoyak.errors import UserError
from yoyak.process import exit_on_sigterm, stop
from yoyak.serving import environment as names
from yoyak.serving.identity import HEADERS_VARIABLE, model_headers
from yoyak.serving.settings import PREFIX
from yoyak.serving.target import Target

DRAIN = 30
"""Seconds that requests have to finish when the server is stopped; it takes no new ones meanwhile."""
GRACE = DRAIN + 5.0
"""Seconds until a server that was told to stop is killed."""
LOG_WAIT = 2.0
"""Seconds to wait for the log to say why a process died."""
PR_SET_PDEATHSIG = 1
"""The number of an option of Linux's ``prctl``."""
APP = "yoyak.serving.process:app"
COMPILED_FOLDER = "PYTHONPYCACHEPREFIX"
"""Python's variable of the folder in which it keeps compiled code, rather than beside its source."""
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens URLs without the proxy of the environment, which cannot reach this machine's ports."""

_RAISED = re.compile(r"^(?:ERROR:\s+(?:\[Errno \d+\] )?|(?:\w+\.)*(?:\w*Error|\w*Exception): )(?P<message>\S.*)$")
_CHILD_DIED = re.compile(r"^(Process \w+-\d+:|INFO:\s+Child process \[\d+\] died)", re.MULTILINE)
"""How the log shows that one of several processes died: uvicorn restarts it, whatever the cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server that has answered."""

    name: str
    url: str
    threads: int
    """Of each process."""
    process: subprocess.Popen[bytes]
    log: Path | None
    """None where its output went to standard output."""

    def wait(self) -> None:
        """Wait until the server ends, which it should not do by itself: raises UserError then."""
        code = self.process.wait()
        raise UserError(f"The server of {self.name} ended: {_reason(code, self.log)}{_where(self.log)}.")


def check_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0. Raises UserError where the server could not listen there."""
    try:
        return _try_port(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"Port {port} of {host} is taken: stop what listens there, or use --port {_next_free(host, port)}."
            ) from error
        if error.errno == errno.EACCES:
            raise UserError(f"Port {port} of {host} is reserved for the system: use 1024 or higher.") from error
        raise UserError(
            f"--host {host} is not an address of this machine: use 127.0.0.1, or 0.0.0.0 for all."
        ) from error


def is_local(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    return host in ("localhost", "::1") or host.startswith("127.")


def choose_hosts(host: str, given: str | None) -> str:
    """Return the names that a server at this address answers to: those given, or those of the environment, or any name
    where other machines can reach it. Nothing means the names of this machine.
    """
    return given or os.environ.get(names.ALLOWED_HOSTS) or ("" if is_local(host) else "*")


def exposure_warning(host: str, port: int) -> str:
    """Return a warning if other machines can reach this address, else an empty string."""
    if is_local(host):
        return ""
    return f"Anyone who can reach port {port} of this machine can use it: there is no password.\n"


def local_url(host: str, port: int) -> str:
    """Return the URL by which this machine itself reaches a server, even one that listens on all addresses."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{address}]' if ':' in address else address}:{port}"


@contextmanager
def running_server(
    target: Target,
    *,
    host: str,
    port: int,
    workers: int = 1,
    allowed_hosts: str | None = None,
    page: Mapping[str, object] | None = None,
    log_to_stdout: bool = False,
) -> Iterator[Server]:
    """Start the server and yield it once it answers; it and its children end with the block.

    Args:
        workers: Processes, between which the available cores are split.
        allowed_hosts: Names by which it may be called, separated by commas; by default those of this machine where
            only this machine can reach it, and any otherwise.
        page: What the page of the demo says about the model, if the server shall have the page.
        log_to_stdout: Let the server's output go where this process's goes, and not to a file.

    Raises UserError with the reason where the server ends before it answers.
    """
    if target.uses_torch and find_spec("torch") is None:
        raise UserError(f"{target.name} runs in torch, which is not installed here: release an exported model.")
    threads = min(target.serving.threads or cores(), max(1, cores() // workers))
    log = None if log_to_stdout else _create_log(port)
    environment = _server_environment(threads, target)
    environment |= {names.MODEL: target.model, names.WORKERS: str(workers)}
    if target.digest is not None:
        environment[names.DIGEST] = target.digest
    environment[names.ALLOWED_HOSTS] = choose_hosts(host, allowed_hosts)
    if page is not None:
        environment[names.PAGE] = json.dumps(page)
    with ExitStack() as stack:
        stack.enter_context(exit_on_sigterm())
        if workers > 1:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="yoyak-metrics-"))
            environment[names.METRICS_FOLDER] = folder
        if any(target.folder.rglob("__pycache__")) and COMPILED_FOLDER not in os.environ:
            # Python would run what is there, whatever the source says, which is all that has been checked.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="yoyak-compiled-"))
            environment[COMPILED_FOLDER] = folder
        with log.open("wb") if log else nullcontext() as out:
            process = _start(target, host, port, workers, environment, out.fileno() if out else 1)
        try:
            server = Server(name=target.name, url=local_url(host, port), threads=threads, process=process, log=log)
            _wait_ready(server)
            yield server
        finally:
            stop(process, grace=GRACE)


def _start(
    target: Target, host: str, port: int, workers: int, environment: Mapping[str, str], out: int
) -> subprocess.Popen[bytes]:
    if target.code is None:
        return _start_mlflow(target, host, port, workers, environment, out)
    own = {names.FOLDER: str(target.model_folder)}
    if target.is_packaged:
        own[names.ROOT] = str(target.folder)
    options = {"--app-dir": target.code, "--host": host, "--port": port, "--workers": workers}
    # -P: what lies in the current folder is not imported.
    command = [sys.executable, "-P", "-m", "uvicorn", APP, *(str(word) for pair in options.items() for word in pair)]
    return subprocess.Popen(
        command,
        env={**os.environ, **environment, **own},
        stdout=out,
        stderr=out,
        # It calls a single function of C, which needs nothing that another thread may hold.
        preexec_fn=_make_end_with_parent(),  # noqa: PLW1509
    )


def _make_end_with_parent() -> Callable[[], object] | None:
    """Return what lets a process get SIGTERM when its parent dies, even if that is killed; None where Linux is not."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _start_mlflow(
    target: Target, host: str, port: int, workers: int, environment: Mapping[str, str], out: int
) -> subprocess.Popen[bytes]:
    """Start MLflow's server, for a model whose code is older than `serving.process`."""
    with _changed_environment(environment):
        from mlflow.pyfunc.backend import PyFuncBackend

        # What `mlflow models serve` calls; the command itself would copy the model's files before.
        backend = PyFuncBackend({}, env_manager="local", workers=workers)
        return backend.serve(str(target.folder), port, host, None, synchronous=False, stdout=out, stderr=out)


def _server_environment(threads: int, target: Target) -> dict[str, str]:
    """Return the environment of a server: variables that the user has set are kept."""
    # onnxruntime has its own threads, which would compete for cores with those of other libraries.
    others = str(threads if target.uses_torch else 1)
    defaults = {
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), others),
        "RAYON_NUM_THREADS": str(threads),
        # A model's folder has no compiled code then, which would not be used; see `running_server`.
        "PYTHONDONTWRITEBYTECODE": "1",
        # A process that is loading a large model must not be taken for a hung one.
        "UVICORN_TIMEOUT_WORKER_HEALTHCHECK": "30",
        "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN": str(DRAIN),
    }
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    unset = {name: value for name, value in defaults.items() if name not in os.environ}
    own = [f"{name}:{value}" for name, value in model_headers(target.model, target.version).items()]
    headers = " ".join([*os.environ.get(HEADERS_VARIABLE, "").split(), *own])
    return {**unset, f"{PREFIX}THREADS": str(threads), HEADERS_VARIABLE: headers, "PATH": programs}


@contextmanager
def _changed_environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _wait_ready(server: Server) -> None:
    """Wait until the server answers; on a terminal, show how long it takes."""
    started, is_terminal = time.monotonic(), sys.stderr.isatty()
    print(f"loading {server.name} …", end="" if is_terminal else "\n", file=sys.stderr, flush=True)
    try:
        while not _answers(server.url):
            code = server.process.poll()
            if code is not None or _CHILD_DIED.search(_read_log(server.log)):
                _wait_for_errors(server.log)
                reason = _reason(code, server.log)
                raise UserError(f"The server of {server.name} did not start: {reason}{_where(server.log)}.")
            time.sleep(0.05)
            if is_terminal:
                seconds = time.monotonic() - started
                print(f"\rloading {server.name} … {seconds:.0f} s", end="", file=sys.stderr, flush=True)
    finally:
        if is_terminal:
            print(file=sys.stderr)


def _where(log: Path | None) -> str:
    return f" (log: {log})" if log else ""


def _wait_for_errors(log: Path | None) -> None:
    """Wait until the log says why a process died: its traceback is written line by line, the reason last."""
    deadline = time.monotonic() + LOG_WAIT
    while log and not _errors(log) and time.monotonic() < deadline:
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with OPENER.open(f"{url}/ping", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _reason(code: int | None, log: Path | None) -> str:
    """Return why a server with this exit code ended, as the last error in its log says."""
    if code == -signal.SIGKILL:
        return "it was killed, most likely for lack of memory"
    if errors := _errors(log):
        return errors[-1][:400].rstrip(".")
    return "one of its processes died" if code is None else f"it exited with code {code}"


def _errors(log: Path | None) -> list[str]:
    """Return the messages of the errors in a log: in JSON once a server has loaded its model, as text before."""
    errors = []
    for line in _read_log(log).splitlines():
        text = line
        with suppress(ValueError, TypeError, KeyError):
            record = json.loads(line)
            text = f"ERROR: {record['message']}" if record["level"] == "ERROR" else ""
        if match := _RAISED.match(text):
            errors.append(match["message"])
    return errors


def _read_log(log: Path | None) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log else ""


def _create_log(port: int) -> Path:
    """Return the server's log file: in logs/, or in the folder for temporary files if logs/ cannot be written."""
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
