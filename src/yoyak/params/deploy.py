"""The sections ``export``, ``bench``, ``gate`` and ``serving`` of params.yaml: the model that is deployed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from yoyak.params.base import Name, Section, Share

Count = Annotated[int, Field(ge=1)]
ServingBatchSize = Count | Literal["bench"]
Threads = Annotated[int, Field(ge=0)]
Variant = Literal["torch_fp32", "torch_bf16", "torch_int8", "onnx_fp32"]


class Export(Section):
    """What `yoyak export` makes of which model."""

    model: Name = "best"
    """``best`` is the best member of the evaluation; else the name of a member, or of a soup of ensemble.models."""
    precision: Literal["int8", "fp32", "int4"] = "int8"
    """``int8``: weights and activations of every product with a weight, and the embeddings. ``int4``: weights only,
    in blocks of 32."""
    cpu: Literal["auto", "avx512_vnni", "avx2", "arm64"] = "auto"
    """The processor to quantize for; ``auto`` is this machine's."""
    per_channel: bool = True
    """A scale for each output of a weight (int8), and each row of an embedding, instead of one for all."""


class Bench(Section):
    """What `yoyak bench` compares the exported model with, and how thoroughly."""

    variants: tuple[Variant, ...] = ("torch_fp32", "torch_bf16", "torch_int8", "onnx_fp32")
    """What it is compared with, each in a process of its own."""
    batch_sizes: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 8, 32)
    beams: Annotated[tuple[Annotated[int, Field(ge=1, le=32)], ...], Field(min_length=1)] = (1, 4)
    dialogues: Count = 16
    """Dev dialogues summarized per turn, rounded up to fill the last batch."""
    repeats: Count = 3
    """Rounds in which the variants take turns; the gate adds as many as its confidence needs."""
    memory_limit_mb: Count = 4096
    """Memory that the serving process may use: a batch size that needs more is rejected."""


class Gate(Section):
    """When the exported model is served: if it is faster than fp32 and loses no more ROUGE than a bound."""

    max_rouge_drop: Share = 0.01
    """Combined ROUGE on dev that it may lose against fp32, at the lower end of the confidence interval."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


class Serving(Section):
    """How the registered model answers requests; these values are saved with it."""

    batch_size: ServingBatchSize = "bench"
    """Dialogues decoded at once; ``bench`` is what `yoyak bench` found, or generation.batch_size if it has not run."""
    max_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 5
    """How long the first request of a batch waits for others to join it."""
    queue_size: Count = 256
    """Dialogues that may wait; a request that finds the queue full is rejected at once."""
    max_rows: Count = 256
    """Most dialogues in one request."""
    max_chars: Count = 20000
    """Most characters in one dialogue."""
    threads: Threads = 0
    """Threads of the model; 0 is one for each core that may be used."""
