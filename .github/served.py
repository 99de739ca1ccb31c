"""Serve a registered model as people do, ask it real requests, and check the answers.

    python .github/served.py                  # models:/yoyak@champion of this folder's MLflow

The server is `mlflow models serve` in a process of its own; both routes have to give the same summary.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

DIALOGUE = "#Person1#: 토요일 저녁 일곱 시에 네 명 자리 있나요?\n#Person2#: 네, 예약해 드릴게요. 성함이 어떻게 되세요?"
START_SECONDS = 180.0


def ask(url: str, body: object | None = None) -> tuple[int, Any]:
    """Return status and JSON of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def wait_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if ask(f"{url}/ready")[0] == 200:
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("The server did not start; what it printed is above.")


def check(url: str) -> str:
    """Ask both routes and return the summary; SystemExit where an answer is not as it should be."""
    status, answer = ask(f"{url}/invocations", {"inputs": [DIALOGUE], "params": {"num_beams": 1}})
    if status != 200 or not answer["predictions"][0]["summary"]:
        raise SystemExit(f"/invocations answered {status}: {answer}")
    summary = str(answer["predictions"][0]["summary"])
    chat = {"model": "yoyak", "messages": [{"role": "user", "content": DIALOGUE}], "num_beams": 1}
    status, answer = ask(f"{url}/v1/chat/completions", chat)
    if status != 200 or answer["choices"][0]["message"]["content"] != summary:
        raise SystemExit(f"/v1/chat/completions answered {status}: {answer}, and /invocations {summary!r}")
    status, answer = ask(f"{url}/invocations", {"inputs": [3]})
    if status != 400:
        raise SystemExit(f"A number for a dialogue was answered with {status}: {answer}")
    return summary


def main() -> int:
    """Serve, ask, stop; print the summary."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", nargs="?", default="models:/yoyak@champion")
    model = options.parse_args().model
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # As `mlflow ui` finds it, with no flags: the store of this folder.
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{Path.cwd()}/mlflow.db", **os.environ}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    command = ["mlflow", "models", "serve", "--model-uri", model, "--env-manager", "local", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_ready(url, process)
        print(f"{model} answers: {check(url)}")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
    return 0


if __name__ == "__main__":
    sys.exit(main())
