"""The section ``export`` of params.yaml: which model is exported for serving, and how."""

from __future__ import annotations

from typing import Literal

from yoyak.params_base import Name, Section


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
