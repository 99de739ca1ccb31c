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
    """Which model `yoyak export` exports, and how."""

    model: Name = "best"
    """``best`` for the best member by evaluation, or the name of a member or of a soup in ensemble.models."""
    precision: Literal["int8", "fp32", "int4"] = "int8"
    """``int8``: weights and activations of all matrix products with weights, and the embeddings. ``int4``: weights
    only, in blocks of 32."""
    cpu: Literal["auto", "avx512_vnni", "avx2", "arm64"] = "auto"
    """The processor to quantize for; ``auto`` is this machine's."""
    activations: Literal["constant", "row", "batch"] = "constant"
    """int8: what decides the scale of an activation. ``constant``: what it is in summaries of dev dialogues, and the
    row itself where that would lose too much. ``row``: the row itself. ``batch``: the whole batch, so that a summary
    may depend on the dialogues beside it."""
    calibration_dialogues: Count = 32
    """Dialogues that constant scales are taken from."""
    per_channel: bool = True
    """One scale per output channel of a weight (int8) and per row of an embedding, instead of one per tensor."""


class Bench(Section):
    """Which variants `yoyak bench` compares the exported model with, and how thoroughly."""

    variants: tuple[Variant, ...] = ("torch_fp32", "torch_bf16", "torch_int8", "onnx_fp32")
    """Variants to compare with, each in its own process."""
    batch_sizes: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 8, 32)
    beams: Annotated[tuple[Annotated[int, Field(ge=1, le=32)], ...], Field(min_length=1)] = (1, 4)
    dialogues: Count = 16
    """Dev dialogues summarized per measurement, rounded up to fill the last batch."""
    repeats: Count = 3
    """Rounds in which the variants take turns; the gate adds rounds until it reaches its confidence."""
    memory_limit_mb: Count = 4096
    """Memory that the serving process may use: a batch size that needs more is rejected."""


class Gate(Section):
    """When the exported model may be served: if it is faster than fp32 and its loss of ROUGE is within a bound."""

    max_rouge_drop: Share = 0.01
    """Maximum drop in combined ROUGE on dev against fp32, at the lower end of the confidence interval."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    min_dialogues: Annotated[int, Field(ge=2)] = 50
    """With fewer dev dialogues, no interval is trusted, and the model is not served."""


class Serving(Section):
    """How the registered model answers requests; these values are saved with it."""

    batch_size: ServingBatchSize = "bench"
    """Dialogues decoded at once; ``bench`` for the result of `yoyak bench`, or generation.batch_size without one."""
    batching: Literal["continuous", "static"] = "continuous"
    """``continuous``: a dialogue joins those that are being summarized as soon as there is room, and is answered when
    it is finished, where the exported model allows it. ``static``: a batch begins and ends as one."""
    max_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 5
    """How long the first request of a batch waits for others to join it."""
    queue_size: Count = 256
    """Maximum number of waiting dialogues; requests are rejected immediately when the queue is full."""
    max_rows: Count = 256
    """Maximum number of dialogues per request."""
    max_chars: Count = 20000
    """Maximum number of characters per dialogue."""
    max_body_mb: Count = 4
    """Size of a request's body."""
    max_tokens: Count = 262144
    """What a request may ask for: dialogues x num_beams x max_new_tokens."""
    max_batch_tokens: Count = 8192
    """The same for a batch, which has fewer dialogues where they would be more, and for a single dialogue: nobody else
    is answered meanwhile."""
    memory_mb: Annotated[int, Field(ge=0)] = 0
    """Memory for the search of a batch; 0 for half of what is free when the server starts."""
    max_connections: Count = 512
    """Connections at once; a request on a further one is refused."""
    threads: Threads = 0
    """Threads of the model; 0 for one per available core."""
