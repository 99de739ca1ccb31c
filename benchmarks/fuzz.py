"""Send a server what no client should: requests made up by hypothesis, then the two that once took gigabytes.

    python benchmarks/fuzz.py                            # 10,000 requests to a tiny model; some minutes on two cores
    python benchmarks/fuzz.py --shape kobart --n 1000    # KoBART's shape in INT8, random weights
    python benchmarks/fuzz.py --model exports/bart       # any model that `yoyak serve` takes

Several clients at once send bodies to each route, other methods and paths, and bytes that are no request of HTTP, to
`yoyak serve` with the page of the demo in a process of its own. Each answer is checked: a summary, or an error of the
client's in one sentence that neither repeats the request nor shows the server's inside. It exits with 1 if one is not,
if a status is 5xx, if a request gets no answer, or if the server does not answer afterwards.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))

from hostile_requests import BODIES, bodies, find_fault, raw_requests, statuses, types  # noqa: E402

CLIENTS = 8
TIMEOUT = 120.0
"""Seconds after which a request counts as lost."""
FAULTS_SHOWN = 10
LARGE_BODY = {"inputs": ["a"] * 300 + ["b" * 1_000_000]}
LONG_SEARCH = {"inputs": ["#Person1#: 내일 만나요?"] * 64, "params": {"num_beams": 32, "max_new_tokens": 460}}

others = st.tuples(
    st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"]),
    st.sampled_from([*BODIES, "/health", "/metrics", "/openapi.json", "/", "/page.js", "/v1/models", "/v1/", "//"])
    | st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=40).map(lambda name: f"/{name}"),
)
"""Methods and paths, right or wrong, without a body."""


@dataclass
class Seen:
    """What clients saw."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How many answers there were, by kind of request and status."""
    hung_up: int = 0
    """Bytes that are no request, after which the server closed the connection without an answer, as it may."""
    lost: int = 0
    faults: list[str] = field(default_factory=list)

    def note(self, kind: str, status: int, fault: str, sent: object) -> None:
        """Count an answer."""
        self.answers[kind, status] += 1
        if fault or status >= 500:
            self.faults.append(f"{kind} {status} {fault}: {str(sent)[:200]!r}")

    def lose(self, kind: str, error: Exception, sent: object) -> None:
        """Count a request without an answer."""
        self.lost += 1
        self.faults.append(f"{kind} lost, {error!r}: {str(sent)[:200]!r}")

    def add(self, other: Seen) -> None:
        """Add what another client saw."""
        self.answers += other.answers
        self.hung_up += other.hung_up
        self.lost += other.lost
        self.faults += other.faults


def ask(port: int, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, str]:
    """Send a request and return status and text of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request(method, path, body, {"Content-Type": kind} if kind else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def send_raw(port: int, data: bytes) -> bytes:
    """Send bytes and return what comes back until the server closes the connection."""
    received = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        connection.sendall(data)
        # What it has not read when it hangs up is answered by a reset.
        with suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                received += chunk
    return bytes(received)


def run_client(number: int, port: int, count: int) -> Seen:
    """Send one client's share of the requests, in a process of its own: strategies are not made for threads."""
    seen = Seen()

    def many(share: float) -> Any:
        quiet = settings(
            max_examples=max(1, round(count * share)), deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        return lambda test: seed(number)(quiet(test))

    def post(path: str, share: float) -> None:
        @many(share)
        @given(body=bodies(BODIES[path]), kind=types)
        def send(body: bytes, kind: str) -> None:
            try:
                status, text = ask(port, "POST", path, body, kind)
                seen.note(path, status, find_fault(path, status, text), body)
            except (OSError, http.client.HTTPException) as error:
                seen.lose(path, error, body)

        send()

    @many(0.1)
    @given(which=others)
    def send_other(which: tuple[str, str]) -> None:
        try:
            status, text = ask(port, *which)
            wrong = "shows the server's inside" if status != 200 and "Traceback" in text else ""
            seen.note("another method or path", status, wrong, which)
        except (OSError, http.client.HTTPException) as error:
            seen.lose("another method or path", error, which)

    @many(0.1)
    @given(data=raw_requests())
    def send_bytes(data: bytes) -> None:
        try:
            found = statuses(send_raw(port, data))
            seen.hung_up += not found
            for status in found:
                seen.note("bytes", status, "", data)
        except OSError as error:
            seen.lose("bytes", error, data)

    for path, share in (("/invocations", 0.35), ("/v1/chat/completions", 0.35), ("/summarize", 0.1)):
        post(path, share)
    send_other()
    send_bytes()
    return seen


def memory_mb(process: int, name: str) -> float:
    """Return a figure of the memory of a process and its children, such as VmHWM, the most that they have had."""
    total = 0.0
    for one in (psutil.Process(process), *psutil.Process(process).children(recursive=True)):
        status = Path(f"/proc/{one.pid}/status").read_text()
        total += int(status.partition(f"{name}:")[2].split()[0]) / 1024
    return total


def forget_peak(process: int) -> None:
    """Let the peak begin again at what is held now."""
    for one in (psutil.Process(process), *psutil.Process(process).children(recursive=True)):
        Path(f"/proc/{one.pid}/clear_refs").write_text("5")


def make_served(folder: Path, shape: str) -> Path:
    """Return an export with random weights."""
    from yoyak.export.folder import export_model
    from yoyak.params.deploy import Export

    # By name: the tests have a folder of the same name, which mypy would take for it.
    make = import_module("serving")
    make.make_model(folder / "torch", make.SHAPES[shape])
    export_model(folder / "torch", folder / "onnx", Export(precision="fp32" if shape == "tiny" else "int8"))
    return folder / "onnx"


def main() -> int:
    """Send, print what was seen, and return whether something was wrong."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--n", type=int, default=10_000, help="requests (default 10000)")
    options.add_argument("--clients", type=int, default=CLIENTS, help=f"clients at once (default {CLIENTS})")
    options.add_argument(
        "--shape", choices=["tiny", "kobart"], default="tiny", help="shape of a model with random weights"
    )
    options.add_argument("--model", help="a model, instead of one with random weights")
    chosen = options.parse_args()
    from yoyak.serving.launch import check_port, running_server
    from yoyak.serving.target import open_target

    with tempfile.TemporaryDirectory() as temporary:
        model = chosen.model or str(make_served(Path(temporary), chosen.shape))
        os.chdir(temporary)
        port = check_port("127.0.0.1", 0)
        page = {"model": "yoyak"}
        with open_target(model) as opened:
            # By the name that the made-up chats ask for.
            target = replace(opened, model="yoyak")
            with running_server(target, host="127.0.0.1", port=port, page=page) as server:
                return fuzz(port, server.process.pid, chosen.n, chosen.clients)


def fuzz(port: int, process: int, count: int, clients: int) -> int:
    """Send everything to a running server and print what it did."""
    seen, before = Seen(), memory_mb(process, "VmRSS")
    started = time.perf_counter()
    with ProcessPoolExecutor(clients, multiprocessing.get_context("spawn")) as pool:
        for one in pool.map(run_client, range(clients), [port] * clients, [count // clients] * clients):
            seen.add(one)
    seconds = time.perf_counter() - started
    peak, after = memory_mb(process, "VmHWM"), memory_mb(process, "VmRSS")
    served, refused, failed = (
        sum(number for (_, status), number in seen.answers.items() if low <= status < high)
        for low, high in ((100, 400), (400, 500), (500, 600))
    )
    total = seen.answers.total() + seen.hung_up + seen.lost
    print(
        f"{total} requests of {clients} clients in {seconds:.0f} s: {served} served, {refused} refused, "
        f"{seen.hung_up} hung up on, {failed} failed (5xx), {seen.lost} lost\n"
    )
    print("| request | status | answers |\n| --- | --- | --- |")
    for (kind, status), number in sorted(seen.answers.items()):
        print(f"| {kind} | {status} | {number} |")
    print(f"\nmemory of the server: {before:.0f} MB before, {peak:.0f} MB at most, {after:.0f} MB after")
    for name, body in (("a body of 1 MB with one text of a million characters", LARGE_BODY),
                       ("64 dialogues with num_beams 32 and max_new_tokens 460", LONG_SEARCH)):  # fmt: skip
        held = memory_mb(process, "VmRSS")
        forget_peak(process)
        status, text = ask(port, "POST", "/invocations", json.dumps(body).encode(), "application/json")
        if status >= 500:
            seen.faults.append(f"{name}: {status}")
        reason = "" if status == 200 else f" ({json.loads(text)['message']})"
        print(f"{name}: {status}{reason}; {held:.0f} MB before, {memory_mb(process, 'VmHWM'):.0f} MB at most")
    if ask(port, "GET", "/ready")[0] != 200:
        seen.faults.append("the server is not ready afterwards")
    for fault in seen.faults[:FAULTS_SHOWN]:
        print(fault, file=sys.stderr)
    return int(bool(seen.faults))


if __name__ == "__main__":
    sys.exit(main())
