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
    """The processor that int8 is for; ``auto`` is this machine's."""
    per_channel: bool = True
    """A scale for each output of a weight (int8), and each row of an embedding, instead of one for all."""


class Bench(Section):
    """What `yoyak bench` measures the exported model beside, and how long."""

    variants: tuple[Variant, ...] = ("torch_fp32", "torch_bf16", "torch_int8", "onnx_fp32")
    """What it is measured beside, each in a process of its own."""
    batch_sizes: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 8, 32)
    beams: Annotated[tuple[Annotated[int, Field(ge=1, le=32)], ...], Field(min_length=1)] = (1, 4)
    dialogues: Count = 16
    """Dialogues of dev that are summarized in a turn, or as many more as fill its last batch."""
    repeats: Count = 3
    """Rounds, in each of which the variants take turns; the gate has as many as its confidence asks for."""
    memory_limit_mb: Count = 4096
    """What the process that serves may hold: a batch size that needs more does not fit."""


class Gate(Section):
    """When the exported model is the one to serve: faster than fp32, and as good within a bound."""

    max_rouge_drop: Share = 0.01
    """Combined ROUGE on dev that it may lose against fp32, at the far end of the interval."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


class Serving(Section):
    """How the registered model answers requests; it carries these values with it."""

    batch_size: ServingBatchSize = "bench"
    """Dialogues decoded at once; ``bench`` is what `yoyak bench` found, or generation.batch_size without it."""
    max_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 5
    """How long the first request of a batch waits for others."""
    queue_size: Count = 256
    """Dialogues that may wait; a request that finds no room is told so at once."""
    max_rows: Count = 256
    """Dialogues of one request."""
    max_chars: Count = 20000
    """Characters of one dialogue."""
    threads: Threads = 0
    """Threads of the model; 0 is one for each core that may be used."""
