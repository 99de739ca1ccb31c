"""Time `mlflow models serve` of an exported model with many clients at once, with batching and without.

    python benchmarks/serving.py                       # KoBART's shape in INT8, random weights; some ten minutes
    python benchmarks/serving.py --tiny --n 10000      # a tiny model in INT8: is every answer the right one?
    python benchmarks/serving.py --model exports/bart  # any exported model
    python benchmarks/serving.py --cold 5              # seconds from the start of the server to its first answer

A server with batching and one with batches of a single dialogue take turns. Each of the clients sends its next request
when the last one is answered. Dialogues are of many lengths, some beyond the model's window, and every hundredth
request is malformed. A lost answer ends the benchmark, and so does one that is not what the model writes for its
dialogue alone, unless the model was exported with `export.activations: batch`: how many change is told then.

A cold start is measured in the environment that the model asks for, which is made for it; files are in the page cache.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving_parts import MALFORMED, SHAPES, ask, make_dialogues, make_model, mlflow_command, serve

from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.export.folder import export_model
from yoyak.params.deploy import Export, Serving
from yoyak.serving.saving import save_exported


@dataclass
class Outcome:
    """What the clients saw of one server."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    answered: int = 0
    refused: int = 0
    """Malformed requests that got the 400 that they deserve."""
    changed: int = 0
    """Summaries that are not what the model writes for the dialogue alone; in INT8 they depend on their batch."""
    peak: float = 0.0
    """The most memory in MB that the server has held."""


def cold_starts(model: Path, folder: Path, text: str, count: int) -> None:
    """Print the seconds from a start to the first answer: of MLflow's server, and of the command that starts it."""
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = str(folder / "venv" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", model / "requirements.txt"], check=True)
    server = [python, "-m", "uvicorn", "mlflow.pyfunc.scoring_server.app:app"]
    body = json.dumps({"inputs": [text]}).encode()
    found: dict[str, list[float]] = {"the server": [], "mlflow models serve": []}
    for _ in range(count):
        for key, command in zip(found, (server, [python, *mlflow_command(model)[1:]]), strict=True):
            started = time.perf_counter()
            path = f"{Path(python).parent}:{os.environ['PATH']}"
            with serve(command, folder, __pyfunc_model_path__=str(model), PATH=path, PYTHONPATH="") as running:
                status, answer = ask(http.client.HTTPConnection("127.0.0.1", running.port, timeout=60), body)
                if status != 200:
                    raise SystemExit(f"{key} answered {status}: {answer}")
                found[key].append(time.perf_counter() - started)
    for key, seconds in found.items():
        print(f"{key}: median {statistics.median(seconds):.2f} s, most {max(seconds):.2f} s of {count} starts")


def measure(port: int, expected: dict[str, dict[str, Any]], count: int, clients: int, *, exact: bool) -> Outcome:
    """Let the clients send ``count`` requests; stop at the first wrong answer."""
    texts, outcome, lock = list(expected), Outcome(), threading.Lock()
    numbers = iter(range(count))
    wrong: list[str] = []

    def check(number: int, status: int, answer: Any) -> None:
        text = texts[number % len(texts)]
        if number % 100 == 99:
            outcome.refused += status == 400
            if status != 400:
                wrong.append(f"malformed request {number} got {status}")
            return
        if status != 200 or len(answer["predictions"]) != 1:
            wrong.append(f"request {number} got {status}: {answer}")
            return
        outcome.answered += 1
        [found], own = answer["predictions"], expected[text]
        same = found["summary"] == own["summary"]
        outcome.changed += not same
        if found["truncated"] != own["truncated"] or (exact and not same):
            wrong.append(f"request {number} got the answer of another")

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        while not wrong:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            body = json.dumps({"inputs": [texts[number % len(texts)]]}).encode()
            started = time.perf_counter()
            status, answer = ask(connection, MALFORMED[number // 100 % len(MALFORMED)] if number % 100 == 99 else body)
            seconds = time.perf_counter() - started
            with lock:
                outcome.latencies.append(seconds)
                check(number, status, answer)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcome.seconds = time.perf_counter() - started
    if wrong or len(outcome.latencies) != count:
        raise SystemExit("\n".join([f"{len(outcome.latencies)} of {count} requests were answered", *wrong[:5]]))
    return outcome


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", type=Path, help="an exported model (default: KoBART's shape, random weights)")
    options.add_argument("--tiny", action="store_true", help="a tiny model")
    options.add_argument("--n", type=int, default=400, help="requests of each round (default 400)")
    options.add_argument("--clients", type=int, default=32, help="clients at once (default 32)")
    options.add_argument("--batch-size", type=int, default=32, help="dialogues of a batch (default 32)")
    options.add_argument("--max-wait-ms", type=float, default=5.0, help="wait of the first one (default 5)")
    options.add_argument("--rounds", type=int, default=1, help="times that both servers are measured (default 1)")
    options.add_argument("--cold", type=int, metavar="N", help="measure N cold starts, and nothing else")
    chosen = options.parse_args()
    # A server that is left behind would spoil what is measured next.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = chosen.model
        if model is None:
            make_model(folder / "torch", SHAPES["tiny" if chosen.tiny else "kobart"])
            model = folder / "onnx"
            export_model(folder / "torch", model, Export())
        summarizer = OnnxSummarizer.load(model)
        texts = make_dialogues(model, summarizer.spec.max_input_tokens, 500 if chosen.tiny else 64)
        expected = {}
        for text in texts:
            summaries = summarizer.summarize([text])
            expected[text] = {"summary": summaries.texts[0], "truncated": summaries.cut[0]}
        exact, name = summarizer.manifest.activations != "batch", f"{model} ({summarizer.manifest.precision})"
        del summarizer
        serving = Serving(batch_size=chosen.batch_size, max_wait_ms=chosen.max_wait_ms)
        save_exported(folder / "served", model, serving=serving, example=texts[0])
        if chosen.cold:
            cold_starts(folder / "served", folder, texts[0], chosen.cold)
            return
        found: dict[str, list[Outcome]] = {"one by one": [], f"batches of {chosen.batch_size}": []}
        for _ in range(chosen.rounds):
            for key, size in zip(found, (1, chosen.batch_size), strict=True):
                command = mlflow_command(folder / "served")
                with serve(command, folder, YOYAK_SERVING_BATCH_SIZE=str(size)) as server:
                    few = dict(list(expected.items())[:4])
                    measure(server.port, few, 8, 4, exact=exact)
                    outcome = measure(server.port, expected, chosen.n, chosen.clients, exact=exact)
                    outcome.peak = server.peak()
                    found[key].append(outcome)
                report(key, found[key][-1])
    # As many different ones as there are dialogues, or nearly: else a mix-up would go unseen.
    different = {answer["summary"] for answer in expected.values()}
    print(f"\n{name} on {os.cpu_count()} cores ({platform.processor() or platform.machine()})")
    print(f"{chosen.clients} clients, {chosen.rounds} x {chosen.n} requests, {len(different)} summaries\n")
    print("| | requests/s | ratio | p50, s | p95, s | ratio of p95 | peak MB | changed by their batch |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    base = figures(found["one by one"])
    for key, outcomes in found.items():
        speed, half, most = figures(outcomes)
        changed = sum(one.changed for one in outcomes) / sum(one.answered for one in outcomes)
        print(
            f"| {key} | {speed:.2f} | {speed / base[0]:.2f} | {half:.2f} | {most:.2f} | {most / base[2]:.2f} "
            f"| {max(one.peak for one in outcomes):.0f} | {changed:.1%} |"
        )


def figures(outcomes: list[Outcome]) -> tuple[float, float, float]:
    """Return requests per second, and the latencies that half and 95 % of the requests stay under, of all rounds."""
    latencies = sorted(latency for one in outcomes for latency in one.latencies)
    speed = sum(len(one.latencies) for one in outcomes) / sum(one.seconds for one in outcomes)
    return speed, statistics.median(latencies), latencies[int(0.95 * (len(latencies) - 1))]


def report(key: str, outcome: Outcome) -> None:
    """Tell how a round went."""
    count = len(outcome.latencies)
    print(
        f"{key}: {outcome.answered} answers and {outcome.refused} refusals to {count} requests "
        f"in {outcome.seconds:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
