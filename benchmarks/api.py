"""Throughput of a member behind an API: against its server without limits, and against a server's own limit.

    python benchmarks/api.py     # some two minutes

The server is Yoyak's own with a tiny model. `direct` are threads that post the same bodies over kept connections. The
limit is a proxy's: so many requests in any 3 seconds, and 429 with Retry-After for what is too much.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from yoyak.data.samples import generate
from yoyak.decoding.endpoint.store import Store
from yoyak.decoding.endpoint.summarizer import EndpointSummarizer
from yoyak.export.folder import export_model
from yoyak.models.families import family_of
from yoyak.models.load import build_model
from yoyak.models.spec import ModelSpec
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer, TrainedMember, parse_member
from yoyak.params.deploy import Export, Serving
from yoyak.serving.launch import check_port, running_server
from yoyak.serving.saving import save_exported
from yoyak.serving.target import open_target

WINDOW = 3.0
"""Seconds over which the proxy counts requests."""


class Limit:
    """So many requests in any `WINDOW` seconds."""

    def __init__(self, per_minute: float) -> None:
        self.most = round(per_minute * WINDOW / 60)
        self.taken: deque[float] = deque()
        self.refused = 0
        self.lock = threading.Lock()

    def wait(self) -> float:
        """Take a request; return 0, or the seconds after which there may be room for one."""
        with self.lock:
            now = time.monotonic()
            while self.taken and now - self.taken[0] >= WINDOW:
                self.taken.popleft()
            if len(self.taken) < self.most:
                self.taken.append(now)
                return 0.0
            self.refused += 1
            return WINDOW - (now - self.taken[0])


@contextmanager
def limited(url: str, limit: Limit) -> Iterator[str]:
    """Run a proxy with a limit in front of a server and yield its address."""
    host, local = urlsplit(url).netloc, threading.local()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            wait = limit.wait()
            if wait:
                self.answer(429, b'{"error": {"message": "too many requests"}}', {"Retry-After": f"{wait:.3f}"})
                return
            local.connection = getattr(local, "connection", None) or http.client.HTTPConnection(host, timeout=60)
            local.connection.request("POST", self.path, body, {"Content-Type": "application/json"})
            response = local.connection.getresponse()
            self.answer(response.status, response.read(), {})

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def make_model(folder: Path, texts: Sequence[str]) -> None:
    """Save a tiny BART with random weights, which writes a dozen tokens whatever it reads."""
    sizes = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 512}
    config = {"model_type": "bart", **sizes, **heads}
    settings = {"tokenizer": "bpe", "max_input_tokens": 256, "max_target_tokens": 12, "learning_rate": 0.001}
    member = parse_member({"family": "seq2seq", "config": config, **settings})
    assert isinstance(member, TrainedMember)
    tokenizer = train_tokenizer(texts, ["#Person1#", "#Person2#"], Tokenizer(type="bpe", vocab_size=2000))
    family = family_of(member)
    family.save(build_model("tiny", member, tokenizer), tokenizer, family.make_spec("tiny", member), folder)


def ask_as_member(url: str, dialogues: Sequence[str], **settings: Any) -> tuple[float, EndpointSummarizer]:
    """Return the requests a second of a member, and the member."""
    endpoint = {"base_url": f"{url}/v1", "model": "tiny", "prompt": "-", "backoff_seconds": 0.1, **settings}
    options = {"endpoint": endpoint, "prompt": {"user": "{{ dialogue }}"}, "seed": 0}
    member = EndpointSummarizer(ModelSpec(member="tiny", family="-", options=options), None, Store(None))
    member.summarize(["#Person1#: 시작합니다."])
    started = time.perf_counter()
    member.summarize(dialogues)
    return len(dialogues) / (time.perf_counter() - started), member


def ask_directly(url: str, dialogues: Sequence[str], concurrency: int) -> float:
    """Return the requests a second of plain clients."""
    local, host = threading.local(), urlsplit(url).netloc

    def ask(dialogue: str) -> None:
        local.connection = getattr(local, "connection", None) or http.client.HTTPConnection(host, timeout=60)
        body = {
            "model": "tiny",
            "messages": [{"role": "user", "content": dialogue}],
            "max_tokens": 256,
            "temperature": 0,
        }
        local.connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = local.connection.getresponse()
        response.read()
        assert response.status == 200

    started = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        list(pool.map(ask, dialogues))
    return len(dialogues) / (time.perf_counter() - started)


def main() -> None:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=300, help="requests of each measurement")
    parser.add_argument("--per-minute", type=float, default=900, help="the server's limit")
    arguments = parser.parse_args()
    dialogues = [row.dialogue for row in generate(arguments.n, 20, split="train")]
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        os.chdir(temporary)
        make_model(Path("model"), dialogues)
        export_model(Path("model"), Path("exported"), Export(precision="fp32"))
        save_exported(Path("tiny"), Path("exported"), serving=Serving(batch_size=8, threads=1), example=dialogues[0])
        with (
            open_target("tiny") as target,
            running_server(target, host="127.0.0.1", port=check_port("127.0.0.1", 0)) as s,
        ):
            print("| requests at a time | direct, a second | member, a second | share |\n| --- | --- | --- | --- |")
            for concurrency in (1, 8, 32):
                direct = ask_directly(s.url, dialogues, concurrency)
                member, _ = ask_as_member(s.url, dialogues, concurrency=concurrency)
                print(f"| {concurrency} | {direct:.1f} | {member:.1f} | {member / direct:.0%} |", flush=True)
            print(f"\nThe server's limit: {arguments.per_minute:g} requests a minute, counted over {WINDOW:g} s\n")
            print("| the member knows the limit | requests a minute | of the limit | refused with 429 |")
            print("| --- | --- | --- | --- |")
            for known in (arguments.per_minute, None):
                limit = Limit(arguments.per_minute)
                with limited(s.url, limit) as url:
                    rate, _ = ask_as_member(url, dialogues, requests_per_minute=known, retries=50)
                share = rate * 60 / arguments.per_minute
                print(f"| {'yes' if known else 'no'} | {rate * 60:.0f} | {share:.0%} | {limit.refused} |", flush=True)


if __name__ == "__main__":
    main()
