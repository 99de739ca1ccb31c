"""The section ``members`` of params.yaml: the models of the ensemble, each of a family."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from yoyak.params.adapters import Lora
from yoyak.params.base import Name, Section

FAMILIES = {
    **{entry.name: entry.value for entry in entry_points(group="yoyak.families")},
    "seq2seq": "yoyak.models.families.seq2seq:Seq2Seq",
    "causal": "yoyak.models.families.causal:Causal",
}
"""Where each family is defined; other packages add theirs as entry points.

This package must not import the families, so it refers to them by name.
"""


class Member(Section):
    """Settings common to members of all families."""

    family: str
    """How the model is built, loaded and run: a name in `FAMILIES`."""


class TrainedMember(Member):
    """A member that is trained here. Training params are named as in transformers' TrainingArguments."""

    checkpoint: str | None = None
    """A name in the catalog or on the Hugging Face Hub, or a folder under pretrained/; null builds from ``config``."""
    revision: str | None = None
    """Commit, tag or branch of a checkpoint on the Hub."""
    config: dict[str, Any] = {}
    """Without a checkpoint: the model's config (``model_type`` and sizes), trained from scratch.
    With a checkpoint: overrides of its config."""
    tokenizer: Name | None = None
    """Name in ``tokenizers``; null for the checkpoint's own."""
    prefix: str | None = None
    """Text put before the dialogue; null is what the catalog says, such as ``summarize: `` for T5, else none."""
    max_input_tokens: Annotated[int, Field(gt=0)] = 512
    max_target_tokens: Annotated[int, Field(gt=1)] = 96
    """Tokens of a summary, including EOS."""
    learning_rate: Annotated[float, Field(gt=0)]
    batch_size: Annotated[int, Field(gt=0)] = 16
    gradient_accumulation_steps: Annotated[int, Field(gt=0)] = 1
    num_epochs: Annotated[float, Field(gt=0)] = 10
    warmup_ratio: Annotated[float, Field(ge=0, le=1)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    lr_scheduler_type: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Training precision: auto is bf16 where the hardware computes in it, else fp16 on a GPU, else fp32. What cannot
    work is refused, or corrected and said. Weights that are trained are fp32; those that an adapter leaves as they
    are have this precision."""
    adapter: Lora | None = None
    """Train an adapter in place of all weights."""
    optim: Literal["adamw_torch", "adamw_bnb_8bit", "paged_adamw_32bit", "paged_adamw_8bit", "adafactor"] = (
        "adamw_torch"
    )
    """The optimizer; 8 bits take a quarter of AdamW's memory, and paged ones move to the CPU if a GPU's is full."""
    gradient_checkpointing: bool = False
    """Compute activations twice in place of storing them: far less memory, and a third more time."""
    torch_compile: bool = False
    """Compile the model before training."""
    evaluations: Annotated[int, Field(gt=0)] = 8
    """Number of evaluations during training; each scores the dev set and saves a checkpoint."""
    evaluation_dialogues: Annotated[int, Field(gt=0)] = 100
    """Size of the random sample of dev dialogues that is summarized greedily at each evaluation."""
    early_stopping_patience: Annotated[int, Field(gt=0)] = 3
    """Training stops after this many evaluations without an improvement in combined ROUGE."""
    max_truncated_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """`yoyak train` warns if a larger share of the training dialogues or summaries is cut at ``max_input_tokens`` or
    ``max_target_tokens``."""

    callbacks: list[Name] = []
    """Names of entry points in the group ``yoyak.callbacks``: subclasses of transformers' TrainerCallback."""
    metrics: list[Name] = []
    """Names of entry points in the group ``yoyak.metrics``: functions that score the summaries of each evaluation."""

    @model_validator(mode="after")
    def _has_a_source(self) -> TrainedMember:
        if self.checkpoint is None and "model_type" not in self.config:
            raise ValueError("a member needs a checkpoint, or a config with model_type")
        if self.checkpoint is None and self.adapter is not None:
            raise ValueError("an adapter needs a checkpoint: new weights have to be trained themselves")
        if self.checkpoint is None and self.tokenizer is None:
            raise ValueError("a member built from config needs a tokenizer")
        return self
