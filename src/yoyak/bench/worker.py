"""The process of one variant: loads the model and answers requests as JSON lines on stdin and stdout.

    python -m yoyak.bench.worker exported exports/bart 0

It reports its load time and memory, then answers each ``{"command": …}`` until stdin is closed. Between requests it
blocks on stdin with all threads idle. A process for an ONNX model imports neither torch nor transformers.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

_STARTED = time.perf_counter()


def main(arguments: list[str]) -> None:
    """Serve one variant; the arguments are its name, its folder and its maximum number of threads."""
    variant, folder, threads = arguments
    out = _redirect_stdout()
    try:
        loaded, startup = _load(variant, Path(folder), int(threads))
    except Exception as error:  # Any failure of a library is reported; the other variants go on.
        _send(out, {"error": " ".join(str(error).split()) or type(error).__name__})
        return
    _send(out, startup)
    for line in sys.stdin:
        request = json.loads(line)
        for answer in _COMMANDS[request["command"]](loaded, request):
            _send(out, answer)


def _load(variant: str, folder: Path, threads: int) -> tuple[Any, dict[str, Any]]:
    # Import the libraries first, so that import time does not count as load time.
    if variant.startswith("torch"):
        import yoyak.decoding.torch
    else:
        import yoyak.decoding.onnx.runtime  # noqa: F401
    from yoyak.bench import memory, variants

    start = time.perf_counter()
    loaded = variants.load(variant, folder, threads)
    now = time.perf_counter()
    model = getattr(loaded.summarizer, "model", None)
    return loaded, {
        "import_seconds": start - _STARTED,
        "load_seconds": now - start,
        "loaded_mb": memory.peak_mb(),
        "device": str(model.device) if model is not None else "cpu",
    }


def _measure(loaded: Any, request: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Time one call per batch, as a server would make them."""
    from yoyak.bench import memory
    from yoyak.params import Generation

    generation = Generation(**request["generation"])
    threads = loaded.prepare(request["batches"][0], generation, request["tries"])
    memory.reset_peak()
    seconds, texts = [], []
    for batch in request["batches"]:
        start = time.perf_counter()
        summaries = loaded.summarizer.summarize(batch, generation=generation)
        seconds.append(time.perf_counter() - start)
        texts += summaries.texts
    ids = loaded.summarizer.tokenizer(texts, add_special_tokens=False)["input_ids"]
    peak = memory.peak_mb()
    yield {"seconds": seconds, "tokens": sum(map(len, ids)), "peak_mb": peak, "threads": threads}


def _summarize(loaded: Any, request: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    from yoyak.params import Generation

    generation = Generation(**request["generation"])
    loaded.prepare(request["dialogues"][: generation.batch_size], generation, 1)
    summaries = loaded.summarizer.summarize(request["dialogues"], generation=generation)
    yield {"texts": summaries.texts}


def _try_batch_sizes(loaded: Any, request: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Report each batch size as soon as it is tried: one that does not fit into memory may kill this process."""
    from yoyak.bench.batch_size import try_batch_sizes
    from yoyak.params import Generation

    for result in try_batch_sizes(
        loaded.summarizer,
        request["dialogues"],
        Generation(**request["generation"]),
        repeats=request["repeats"],
        memory_limit_mb=request["memory_limit_mb"],
    ):
        yield {"result": asdict(result)}
    yield {"done": True}


_COMMANDS: dict[str, Callable[[Any, Mapping[str, Any]], Iterable[dict[str, Any]]]] = {
    "measure": _measure,
    "summarize": _summarize,
    "try_batch_sizes": _try_batch_sizes,
}


def _redirect_stdout() -> TextIO:
    """Return the real stdout, and send whatever libraries print from now on to stderr."""
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def _send(out: TextIO, value: Mapping[str, Any]) -> None:
    out.write(json.dumps(value) + "\n")
    out.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
