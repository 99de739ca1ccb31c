"""A process that has imported the libraries already, and forks for each `yoyak` command of a pipeline.

Importing torch, transformers and MLflow takes most of the time of a stage on tiny models. Everything else is as it is
for a person: `dvc repro`, a process for each stage, its own environment, folder, streams and exit code. Tests of how
processes start, end or are killed run the real program.
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

LIBRARIES = (
    "matplotlib.backends.backend_svg",
    "mlflow.pyfunc",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "yoyak.cli.app",
    "yoyak.params",
)
CLIENT = """\
#!{python} -IS
import array, json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
request = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
streams = array.array("i", [0, 1, 2])
server.sendmsg([len(request).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
server.sendall(request)
child = int.from_bytes(server.recv(8), "big")
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: os.kill(child, number))
sys.exit(int.from_bytes(server.recv(8) or (1).to_bytes(8, "big"), "big"))
"""


@contextmanager
def preloaded(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a PATH whose `yoyak` runs in a fork of a process that has imported the libraries in this environment."""
    with tempfile.TemporaryDirectory(prefix="yoyak-") as folder:
        yield from _serve_in(Path(folder), environment)


def _serve_in(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    program, address = folder / "yoyak", folder / "socket"
    program.write_text(CLIENT.format(python=sys.executable, address=str(address)))
    program.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        server = subprocess.Popen(
            [sys.executable, "-P", __file__, str(listener.fileno())], env=environment, pass_fds=[listener.fileno()]
        )
    try:
        yield f"{folder}{os.pathsep}{environment['PATH']}"
    finally:
        server.terminate()
        server.wait()


def serve(listener: socket.socket) -> None:
    """Import what stages import, then run each command that arrives in a fork of a fork."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    from yoyak.models.libraries import import_trainer

    import_trainer()
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    # The kernel then reaps what ends, and nobody waits here.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        if os.fork():
            connection.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listener.close()
        _answer(connection)


def _answer(connection: socket.socket) -> None:
    """Start the command of a connection, tell its process, wait for it, and tell how it ended."""
    size, ancillary, *_ = connection.recvmsg(8, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    streams = array.array("i", ancillary[0][2])
    request = b""
    while len(request) < int.from_bytes(size, "big"):
        request += connection.recv(1 << 20)
    arguments, folder, environment = json.loads(request)
    child = os.fork()
    if child == 0:
        connection.close()
        _run(arguments, folder, environment, streams)
    connection.sendall(child.to_bytes(8, "big"))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    with suppress(OSError):
        connection.sendall((code if code >= 0 else 128 - code).to_bytes(8, "big"))
    os._exit(0)


def _run(arguments: list[str], folder: str, environment: dict[str, str], streams: array.array[int]) -> None:
    """Become the command: its streams, folder, environment and arguments."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    code = 1
    try:
        from yoyak.cli.app import main

        code = main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
