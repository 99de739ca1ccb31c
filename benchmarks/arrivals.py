"""Time continuous and static batching under requests that come at random moments (a Poisson process).

    python benchmarks/arrivals.py                              # KoBART's shape in INT8, random weights; some 20 minutes
    python benchmarks/arrivals.py --shares 0.3,0.9 --seconds 60
    python benchmarks/arrivals.py --tiny --seconds 5           # a tiny model: does the benchmark itself work?

Two servers of the same exported model take turns: one with ``batching: continuous``, one with ``static``. Requests come
whether earlier ones are answered or not, at the same moments for both, with one dialogue each; latency counts from the
moment at which a request was due. Dialogues have the lengths of the sample corpus, at two characters a token, and so
have summaries: the weights are random, so the end mark is made likelier with each token, as much as gives the mean and
the spread of the corpus's summaries.

Rates are shares of what the static server answers when 64 clients always wait. For each latency that one may want 95 %
of the requests to stay under, the highest rate that keeps it is interpolated, for both servers.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from serving_parts import SHAPES, make_model, mlflow_command, serve
from soak import closed_loop, open_loop
from tokenizers import Tokenizer

from yoyak.data.records import Dialogue
from yoyak.data.samples import generate
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.decoding.onnx.shared import LENGTH
from yoyak.export.folder import export_model
from yoyak.models.spec import load_spec, save_spec
from yoyak.params.deploy import Export, Serving
from yoyak.serving.saving import save_exported

CHARACTERS = 2
"""Of Korean text, in a token of KoBART's vocabulary."""
DIALOGUES = 400
CLIENTS = 64
MODES = ("static", "continuous")


def make_texts(model: Path, shape: dict[str, int]) -> tuple[list[str], list[int]]:
    """Return dialogues with the lengths of the corpus, and the numbers of tokens of its summaries."""
    rows = list(generate(DIALOGUES, 20, split="train"))
    backend = Tokenizer.from_file(str(model / "tokenizer.json"))
    words = [backend.decode([number]) for number in range(backend.get_vocab_size())]
    words, chance = [word for word in words if word.isalpha()], random.Random(0)
    part = shape["window"] / 256
    lengths = [max(1, round(part * len(row.dialogue) / CHARACTERS)) for row in rows]
    texts = [" ".join(chance.choices(words, k=length)) for length in lengths]
    return texts, [max(1, round(shape["new"] / 64 * len(row.summaries[0]) / CHARACTERS)) for row in rows]


def find_margins(summarizer: OnnxSummarizer, texts: Sequence[str]) -> np.ndarray:
    """Return how much the end mark lacks to be the best token [dialogues, steps], in greedy search without an end."""
    inputs = summarizer.encode(texts).input_ids
    end, margins = summarizer.manifest.eos_token_id, []
    decoder = summarizer.start_decoder(inputs)
    logits = decoder.first()
    for _ in range(summarizer.generation.max_new_tokens):
        own = logits[:, end].copy()
        logits[:, end] = -np.inf
        margins.append(logits.max(axis=1) - own)
        logits = decoder.advance(logits.argmax(axis=1), None)
    return np.stack(margins, axis=1)


def fit_bonus(margins: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """Return what to add to the logit of the end mark at each step: a ramp."""
    steps = np.arange(margins.shape[1])
    mean, spread = statistics.mean(wanted), statistics.stdev(wanted)
    best, found = np.inf, np.zeros(len(steps))
    for slope in np.geomspace(margins.std() / 20, margins.std() * 3, 25):
        for shift in np.arange(-margins.max() / slope, len(steps), 0.5):
            bonus = slope * (steps - shift)
            ends = np.argmax(np.concatenate([bonus > margins, np.ones((len(margins), 1), bool)], axis=1), axis=1) + 1
            error = abs(ends.mean() - mean) + abs(ends.std() - spread)
            if error < best:
                best, found = error, bonus
    return found


def add_bonus(folder: Path, bonus: np.ndarray, end: int) -> None:
    """Let the decoder of an export add the bonus of each step to the logit of the end mark."""
    path = folder / "decoder.onnx"
    graph = (model := onnx.load(path, load_external_data=False)).graph
    for node in graph.node:
        node.output[:] = ["logits.own" if name == "logits" else name for name in node.output]
    logits = next(value for value in graph.output if value.name == "logits")
    mark = np.zeros(logits.type.tensor_type.shape.dim[2].dim_value, dtype=np.float32)
    mark[end] = 1
    for name, array in (
        ("bonus.steps", bonus.astype(np.float32)),
        ("bonus.mark", mark),
        ("bonus.shape", np.array([-1, 1, 1])),
    ):
        graph.initializer.append(numpy_helper.from_array(array, name))
    graph.node.extend(
        [
            helper.make_node("Gather", ["bonus.steps", LENGTH], ["bonus.flat"]),
            helper.make_node("Reshape", ["bonus.flat", "bonus.shape"], ["bonus.rows"]),
            helper.make_node("Mul", ["bonus.rows", "bonus.mark"], ["bonus.logits"]),
            helper.make_node("Add", ["logits.own", "bonus.logits"], ["logits"]),
        ]
    )
    assert logits.type.tensor_type.elem_type == TensorProto.FLOAT
    onnx.save(model, path)


def prepare(
    folder: Path, shape: dict[str, int], precision: Literal["int8", "fp32"], beams: int
) -> tuple[Path, list[str]]:
    """Write an export whose summaries have the corpus's lengths, and return it with dialogues."""
    make_model(folder / "torch", shape)
    spec = load_spec(folder / "torch")
    settings = {"min_new_tokens": 0, "num_beams": beams, "max_new_tokens": shape["new"]}
    save_spec(folder / "torch", replace(spec, generation=spec.generation.model_copy(update=settings)))
    texts, wanted = make_texts(folder / "torch", shape)
    rows = [Dialogue(fname=str(number), dialogue=text) for number, text in enumerate(texts)]
    export_model(folder / "torch", folder / "onnx", Export(precision=precision), rows)
    summarizer = OnnxSummarizer.load(folder / "onnx")
    bonus = fit_bonus(find_margins(summarizer, texts[:64]), wanted)
    add_bonus(folder / "onnx", bonus, summarizer.manifest.eos_token_id)
    summarizer = OnnxSummarizer.load(folder / "onnx")
    found = summarizer.write(summarizer.encode(texts[:64]).input_ids, summarizer.search(summarizer.generation))
    sizes = [len(row[0].tokens) for row in found]
    print(
        f"summaries: {statistics.mean(sizes):.1f} ± {statistics.stdev(sizes):.1f} tokens, of the corpus "
        f"{statistics.mean(wanted):.1f} ± {statistics.stdev(wanted):.1f}; "
        f"dialogues: {statistics.mean(len(text.split()) for text in texts):.0f} tokens"
    )
    return folder / "onnx", texts


def cut(values: Sequence[float], share: float) -> float:
    """Return what this share of the values stays under."""
    ordered = sorted(values)
    return ordered[int(share * (len(ordered) - 1))]


def rate_within(rates: Sequence[float], latencies: Sequence[float], limit: float) -> float:
    """Return the highest rate whose latency stays under the limit, interpolated between those that were measured."""
    highest = 0.0
    for rate, latency, after, later in zip(rates, latencies, rates[1:], latencies[1:], strict=False):
        if latency <= limit < later:
            highest = rate + (after - rate) * (limit - latency) / (later - latency)
    return rates[-1] if latencies[-1] <= limit else highest


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tiny", action="store_true", help="a tiny model in fp32")
    options.add_argument("--beams", type=int, default=1, help="beams of the search (default 1)")
    options.add_argument("--batch-size", type=int, default=32, help="dialogues at once (default 32)")
    options.add_argument("--shares", default="0.2,0.3,0.5,0.7,0.8,0.9,1,1.1", help="of the static server's peak")
    options.add_argument("--seconds", type=float, default=40.0, help="of each rate and server (default 40)")
    options.add_argument("--seed", type=int, default=0, help="of the arrivals (default 0)")
    chosen = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shape = SHAPES["tiny" if chosen.tiny else "kobart"]
        model, texts = prepare(folder, shape, "fp32" if chosen.tiny else "int8", chosen.beams)
        save_exported(folder / "served", model, serving=Serving(batch_size=chosen.batch_size), example=texts[0])
        logs = {mode: folder / mode for mode in MODES}
        for log in logs.values():
            log.mkdir()
        command = mlflow_command(folder / "served")
        with (
            serve(command, logs["static"], YOYAK_SERVING_BATCHING="static") as static,
            serve(command, logs["continuous"], YOYAK_SERVING_BATCHING="continuous") as continuous,
        ):
            ports = {"static": static.port, "continuous": continuous.port}
            peaks = {}
            for mode, port in ports.items():
                closed_loop(port, texts, 4, 3)
                peaks[mode] = closed_loop(port, texts, CLIENTS, chosen.seconds)
                print(f"{mode}: {peaks[mode]:.2f} requests/s with {CLIENTS} clients that always wait", flush=True)
            rates = [float(share) * peaks["static"] for share in chosen.shares.split(",")]
            found: dict[str, list[tuple[float, float]]] = {mode: [] for mode in MODES}
            print(f"\n{model.name} on {os.cpu_count()} cores ({platform.processor() or platform.machine()})\n")
            print("| requests/s | share | p50 static | p50 continuous | p95 static | p95 continuous |")
            print("| --- | --- | --- | --- | --- | --- |")
            for number, rate in enumerate(rates):
                for mode in MODES if number % 2 else MODES[::-1]:
                    load = open_loop(ports[mode], texts, rate, chosen.seconds, chosen.seed + number)
                    if load.statuses["200"] != sum(load.statuses.values()):
                        print(f"{mode} at {rate:.2f}: {dict(load.statuses)}", file=sys.stderr)
                    found[mode].append((cut(load.latencies, 0.5), cut(load.latencies, 0.95)))
                half, most = zip(found["static"][-1], found["continuous"][-1], strict=True)
                cells = " | ".join(f"{seconds:.2f}" for seconds in (*half, *most))
                print(f"| {rate:.2f} | {rate / peaks['static']:.0%} | {cells} |", flush=True)
            memory = {"static": static.peak(), "continuous": continuous.peak()}
        print("\n| p95 at most, s | static, requests/s | continuous, requests/s | ratio |")
        print("| --- | --- | --- | --- |")
        least = min(p95 for _, p95 in found["static"])
        for factor in (1.5, 2, 3, 4):
            kept = [rate_within(rates, [p95 for _, p95 in found[mode]], factor * least) for mode in MODES]
            print(f"| {factor * least:.2f} | {kept[0]:.2f} | {kept[1]:.2f} | {kept[1] / (kept[0] or 1):.2f} |")
        print(f"\npeak memory: static {memory['static']:.0f} MB, continuous {memory['continuous']:.0f} MB")


if __name__ == "__main__":
    main()
