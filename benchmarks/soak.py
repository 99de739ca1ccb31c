"""Serve at 80 % of the peak load for half an hour: does memory stay flat, and is every request answered in time?

    python benchmarks/soak.py                            # KoBART's shape in INT8, random weights; some 35 minutes
    python benchmarks/soak.py --model exports/bart --minutes 10 --csv soak.csv --plot soak.svg
    python benchmarks/soak.py --tiny --minutes 1         # a tiny model: does the benchmark itself work?

The peak is what clients get that send their next request when the last one is answered, with more and more of them
until that adds nothing. Then requests come at random moments (a Poisson process), whether earlier ones are answered or
not, and latency counts from the moment at which a request was due. One request in a hundred is malformed. Memory is the
proportional set size of all processes of the server, every two seconds; its slope is fitted to the second half, once
the allocator has seen the largest batches.
"""

from __future__ import annotations

import argparse
import csv
import http.client
import json
import os
import queue
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from serving_parts import MALFORMED, SHAPES, ask, make_dialogues, make_model, mlflow_command, serve

from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.export.folder import export_model
from yoyak.params.deploy import Export, Serving
from yoyak.serving.saving import save_exported

GAIN = 1.05
"""More clients have to add this much to the peak, or it is the peak."""
SAMPLE = 2.0
WORKERS = 256
"""Requests that may be open at once; more would be late on the client's side."""


@dataclass
class Load:
    """What the clients saw."""

    latencies: list[float] = field(default_factory=list)
    """Of answered requests, from when they were due."""
    statuses: Counter[str] = field(default_factory=Counter)
    """How requests ended that are not malformed."""
    malformed: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Sample:
    """The server at one moment."""

    seconds: float
    megabytes: float
    threads: int
    files: int


def make_body(texts: list[str], number: int, *, malformed: bool) -> bytes:
    """Return the body of a request."""
    if malformed:
        return MALFORMED[number // 100 % len(MALFORMED)]
    return json.dumps({"inputs": [texts[number % len(texts)]]}).encode()


def send(connection: http.client.HTTPConnection, body: bytes, due: float, load: Load) -> None:
    """Send one request, which was due at a moment of `time.perf_counter`."""
    try:
        status, _ = ask(connection, body)
        ended = str(status)
    except (OSError, http.client.HTTPException, ValueError) as error:
        connection.close()
        ended = type(error).__name__
    late = time.perf_counter() - due
    with load.lock:
        load.sent += 1
        (load.malformed if body in MALFORMED else load.statuses)[ended] += 1
        if ended == "200":
            load.latencies.append(late)


def closed_loop(port: int, texts: list[str], clients: int, seconds: float) -> float:
    """Return answered requests per second of clients that each wait for their answer."""
    load, end = Load(), time.perf_counter() + seconds

    def client(first: int) -> None:
        connection, number = http.client.HTTPConnection("127.0.0.1", port, timeout=120), first
        while time.perf_counter() < end:
            send(connection, make_body(texts, number, malformed=False), time.perf_counter(), load)
            number += clients
        connection.close()

    started, threads = time.perf_counter(), [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return load.statuses["200"] / (time.perf_counter() - started)


def find_peak(port: int, texts: list[str], seconds: float) -> float:
    """Return the most requests per second that the server answers."""
    best, clients = 0.0, 4
    while clients <= 128:
        rate = closed_loop(port, texts, clients, seconds)
        print(f"{clients} clients: {rate:.2f} requests/s", flush=True)
        if rate < best * GAIN:
            return max(best, rate)
        best, clients = rate, clients * 2
    return best


def open_loop(port: int, texts: list[str], rate: float, seconds: float, seed: int) -> Load:
    """Send requests at random moments, ``rate`` a second on average."""
    load, due, chance = Load(), queue.SimpleQueue[tuple[int, float] | None](), random.Random(seed)

    def worker() -> None:
        while (job := due.get()) is not None:
            number, moment = job
            # One of its own for each request, as of many people: the server closes those that are idle.
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            send(connection, make_body(texts, number, malformed=number % 100 == 99), moment, load)
            connection.close()

    threads = [threading.Thread(target=worker) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    moment, number = time.perf_counter(), 0
    end = moment + seconds
    while moment < end:
        time.sleep(max(0.0, moment - time.perf_counter()))
        due.put((number, moment))
        number += 1
        moment += chance.expovariate(rate)
    for _ in threads:
        due.put(None)
    for thread in threads:
        thread.join()
    return load


def watch(group: int, samples: list[Sample], stopped: threading.Event) -> None:
    """Add a sample of a group of processes every `SAMPLE` seconds."""
    started = time.monotonic()
    while not stopped.wait(SAMPLE):
        memory, threads, files = 0.0, 0, 0
        for process in psutil.process_iter():
            try:
                if os.getpgid(process.pid) == group:
                    memory += process.memory_full_info().pss / 2**20
                    threads += process.num_threads()
                    files += process.num_fds()
            except (psutil.Error, OSError):
                continue
        samples.append(Sample(time.monotonic() - started, memory, threads, files))


def slope(samples: list[Sample]) -> float:
    """Return the growth of the second half in MB an hour."""
    half = samples[len(samples) // 2 :]
    found = statistics.linear_regression([one.seconds for one in half], [one.megabytes for one in half])
    return found.slope * 3600


def report(peak: float, rate: float, load: Load, samples: list[Sample]) -> None:
    """Print a table."""
    ordered = sorted(load.latencies)
    cuts = {f"p{int(1000 * cut) / 10:g}": ordered[int(cut * (len(ordered) - 1))] for cut in (0.5, 0.95, 0.99, 0.999, 1)}
    tenth = max(1, len(samples) // 10)
    start, end = (
        statistics.mean(one.megabytes for one in part) for part in (samples[tenth : 2 * tenth], samples[-tenth:])
    )
    failed = sum(load.statuses.values()) - load.statuses["200"]
    wrong = sum(count for status, count in load.malformed.items() if not status.startswith("4"))
    rows = {
        "peak, requests/s": f"{peak:.2f}",
        "applied, requests/s": f"{rate:.2f}",
        "seconds": f"{samples[-1].seconds:.0f}",
        "requests": f"{load.sent}",
        "answered": f"{load.statuses['200']}",
        "not answered": f"{failed} {dict(load.statuses - Counter({'200': load.statuses['200']})) or ''}".strip(),
        "malformed, refused with 4xx": f"{sum(load.malformed.values()) - wrong} of {sum(load.malformed.values())}",
        "latency, s": ", ".join(f"{name} {value:.2f}" for name, value in cuts.items()),
        "memory after a tenth, at the end, MB": f"{start:.0f}, {end:.0f}",
        "most memory, MB": f"{max(one.megabytes for one in samples):.0f}",
        "slope in the second half, MB an hour": f"{slope(samples):+.1f}",
        "threads, open files at the end": f"{samples[-1].threads}, {samples[-1].files}",
    }
    print("\n| soak | |\n| --- | --- |")
    for name, value in rows.items():
        print(f"| {name} | {value} |")


def plot(samples: list[Sample], path: Path) -> None:
    """Draw memory over time."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3), layout="constrained")
    axes.plot([one.seconds / 60 for one in samples], [one.megabytes for one in samples])
    axes.set(xlabel="minutes", ylabel="MB", ylim=(0, None), title="Memory of the server")
    figure.savefig(path)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", type=Path, help="an exported model (default: KoBART's shape, random weights)")
    options.add_argument("--tiny", action="store_true", help="a tiny model in fp32")
    options.add_argument("--minutes", type=float, default=30.0, help="of the soak (default 30)")
    options.add_argument("--load", type=float, default=0.8, help="part of the peak (default 0.8)")
    options.add_argument("--step", type=float, default=30.0, help="seconds of each search for the peak (default 30)")
    options.add_argument("--batch-size", type=int, default=32, help="dialogues of a batch (default 32)")
    options.add_argument("--seed", type=int, default=0, help="of the arrivals (default 0)")
    options.add_argument("--csv", type=Path, help="write memory, threads and open files over time")
    options.add_argument("--plot", type=Path, help="draw memory over time")
    chosen = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as temporary:
        folder, model = Path(temporary), chosen.model
        if model is None:
            make_model(folder / "torch", SHAPES["tiny" if chosen.tiny else "kobart"])
            model = folder / "onnx"
            export_model(folder / "torch", model, Export(precision="fp32" if chosen.tiny else "int8"))
        window = OnnxSummarizer.load(model).spec.max_input_tokens
        texts = make_dialogues(model, window, 500)
        save_exported(folder / "served", model, serving=Serving(batch_size=chosen.batch_size), example=texts[0])
        samples: list[Sample] = []
        with serve(mlflow_command(folder / "served"), folder) as server:
            closed_loop(server.port, texts, 4, 5)
            peak = find_peak(server.port, texts, chosen.step)
            stopped = threading.Event()
            watcher = threading.Thread(target=watch, args=(server.process.pid, samples, stopped))
            watcher.start()
            try:
                load = open_loop(server.port, texts, chosen.load * peak, chosen.minutes * 60, chosen.seed)
            finally:
                stopped.set()
                watcher.join()
    report(peak, chosen.load * peak, load, samples)
    if chosen.csv:
        with chosen.csv.open("w", newline="") as out:
            rows = csv.writer(out)
            rows.writerow(["seconds", "megabytes", "threads", "files"])
            rows.writerows([f"{one.seconds:.1f}", f"{one.megabytes:.1f}", one.threads, one.files] for one in samples)
    if chosen.plot:
        plot(samples, chosen.plot)


if __name__ == "__main__":
    main()
