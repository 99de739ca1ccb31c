"""What a server counts, for Prometheus.

Several processes of one server add up their counts in a folder that `yoyak serve` makes (`serving.environment`).
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)

from yoyak.process import is_gone
from yoyak.serving import environment

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        """Start from zero."""
        _forget_dead_processes()
        # The time at which each series began: another line for each, which nobody reads.
        disable_created_metrics()
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "yoyak_requests", "Requests by route and HTTP status.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "yoyak_request_seconds", "Time to answer a request.", ["route"], buckets=SECONDS, registry=registry
        )
        self.active = Gauge(
            "yoyak_requests_active", "Requests being answered.", registry=registry, multiprocess_mode="livesum"
        )
        self.queue = Gauge(
            "yoyak_queue_dialogues", "Dialogues that wait.", registry=registry, multiprocess_mode="livesum"
        )
        self.batch_sizes = Histogram(
            "yoyak_batch_dialogues",
            "Dialogues of a batch, or of a step of continuous batching.",
            buckets=SIZES,
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "yoyak_batch_seconds",
            "Time of a batch, or of a step of continuous batching.",
            buckets=SECONDS,
            registry=registry,
        )
        self.dialogues = Counter("yoyak_dialogues", "Dialogues that were summarized.", registry=registry)
        self.truncated = Counter(
            "yoyak_truncated_dialogues", "Dialogues of which the model did not read a part.", registry=registry
        )
        self.windowed = Counter("yoyak_windowed_dialogues", "Dialogues that were read in parts.", registry=registry)
        ProcessCollector(registry=registry)

    def observe_request(self, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def observe_batch(self, size: int, seconds: float) -> None:
        """Count one batch, or one step of continuous batching."""
        self.batch_sizes.observe(size)
        self.batch_seconds.observe(seconds)

    def count_dialogues(self, count: int, *, truncated: int, windowed: int) -> None:
        """Count dialogues that have a summary."""
        self.dialogues.inc(count)
        self.truncated.inc(truncated)
        self.windowed.inc(windowed)

    def render(self) -> bytes:
        """Return the figures of all processes in Prometheus' text format."""
        if os.environ.get(environment.METRICS_FOLDER):
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
            return generate_latest(registry)
        return generate_latest(self.registry)


def _forget_dead_processes() -> None:
    """Drop the gauges of processes that have died: uvicorn starts another in the place of each, which calls this."""
    folder = os.environ.get(environment.METRICS_FOLDER)
    for path in Path(folder).glob("gauge_live*.db") if folder else ():
        process = path.stem.rpartition("_")[2]
        if is_gone(f"{socket.gethostname()}:{process}"):
            multiprocess.mark_process_dead(int(process), folder)
