"""The section ``members`` of params.yaml: the models of the ensemble, each of a family."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from yoyak.params.adapters import Lora
from yoyak.params.base import Name, Section

InputStep = Literal["clean_symbols", "drop_fillers", "plain_masks", "topic"]
"""The steps of `TrainedMember.preprocessing`, defined in `yoyak.models.steps`."""
FAMILIES = {
    **{entry.name: entry.value for entry in entry_points(group="yoyak.families")},
    "seq2seq": "yoyak.models.families.seq2seq:Seq2Seq",
    "causal": "yoyak.models.families.causal:Causal",
    "api": "yoyak.models.families.api:Api",
}
"""Where each family is defined; other packages add theirs as entry points.

This package must not import the families, so it refers to them by name.
"""


class Fold(Section):
    """A part of the training set that a member is not trained on."""

    index: Annotated[int, Field(ge=1)]
    """Which part, counted from 1."""
    of: Annotated[int, Field(ge=2)]
    """How many parts there are."""

    @model_validator(mode="after")
    def _exists(self) -> Fold:
        if self.index > self.of:
            raise ValueError(f"there is no part {self.index} of {self.of}")
        return self


class Member(Section):
    """Settings common to members of all families."""

    family: str
    """How the model is built, loaded and run: a name in `FAMILIES`."""

    @property
    def sample_size(self) -> int | None:
        """How many dialogues of each split it summarizes; None for all, without which no ensemble can use it."""
        return None


class Windows(Section):
    """Reading a dialogue that does not fit into ``max_input_tokens`` in parts, each summarized by itself."""

    max_parts: Annotated[int, Field(ge=2)] = 8
    """Of a dialogue that would have more, only so much is read, as ``truncate`` says."""
    part_tokens: Annotated[int, Field(gt=0)] | None = None
    """A part has at most so many tokens; null is as many as fit. A model that was trained on short dialogues may need
    parts of their length: it writes one sentence, whatever the length."""
    overlap_turns: Annotated[int, Field(ge=0)] = 2
    """Turns at the end of a part with which the next one begins again."""
    merge: Literal["summarize", "join"] = "summarize"
    """``summarize``: the summary is that of the parts' summaries, read as a dialogue. ``join``: it is these summaries,
    one after the other."""


class Launcher(Section):
    """The processes that train a member together, one for each GPU. What they are to result in does not depend on it:
    batches, updates and evaluations are those of one process."""

    processes: Annotated[int, Field(gt=0)] = 1
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """``ddp``: each process holds the whole model, and they share the batch. ``fsdp``: each also holds only its share
    of the weights, gradients and optimizer, for a model that one GPU does not hold."""


class TrainedMember(Member):
    """A member that is trained here. Training params are named as in transformers' TrainingArguments."""

    checkpoint: str | None = None
    """A name in the catalog or on the Hugging Face Hub, or a folder under pretrained/; null builds from ``config``."""
    revision: str | None = None
    """Commit, tag or branch of a checkpoint on the Hub."""
    fold: Fold | None = None
    """Train on the other parts of the training set, and choose the checkpoint on this one in place of dev.
    `yoyak fold` writes the members of all parts."""
    config: dict[str, Any] = {}
    """Without a checkpoint: the model's config (``model_type`` and sizes), trained from scratch.
    With a checkpoint: overrides of its config."""
    tokenizer: Name | None = None
    """Name in ``tokenizers``; null for the checkpoint's own."""
    prefix: str | None = None
    """Text put before the dialogue; null is what the catalog says, such as ``summarize: `` for T5, else none."""
    preprocessing: tuple[InputStep, ...] = ()
    """Steps that change each dialogue before it is read, in this order, in training and wherever the member summarizes:
    see docs/processing.md."""
    max_input_tokens: Annotated[int, Field(gt=0)] = 512
    truncate: Literal["head", "tail", "both"] = "head"
    """What is read of a dialogue that does not fit into ``max_input_tokens``, in training and in decoding: as many
    tokens as fit from its beginning, or whole turns from its end, or from both."""
    windows: Windows | None = None
    """In decoding, read a dialogue that does not fit in several parts instead; null truncates it. Training never does:
    nothing says which part of the dialogue a summary is of."""
    max_target_tokens: Annotated[int, Field(gt=1)] = 96
    """Tokens of a summary, including EOS."""
    learning_rate: Annotated[float, Field(gt=0)]
    batch_size: Annotated[int, Field(gt=0)] = 16
    gradient_accumulation_steps: Annotated[int, Field(gt=0)] = 1
    num_epochs: Annotated[float, Field(gt=0)] = 10
    warmup_ratio: Annotated[float, Field(ge=0, le=1)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augmentation: Annotated[int, Field(ge=0)] = 0
    """So many views of each training dialogue are trained on beside it, with its summary: fillers left out, other
    punctuation and spaces, as `ensemble.tta` makes them. An epoch then has as many more rows."""
    group_by_length: bool = True
    """Batches of dialogues of similar length, with little padding; false draws every batch at random. Where length says
    something about the content, such a batch is no fair sample, and a model learns a little less from the same rows."""
    r_drop: Annotated[float, Field(ge=0)] = 0.0
    """R-Drop's α: each row is read twice, with different dropout, and this is the weight of the divergence of the two
    predictions. 0 is no R-Drop."""
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
    launcher: Launcher = Launcher()
    loss_chunk_tokens: Annotated[int, Field(gt=0)] | None = None
    """Compute the logits of so many target tokens at a time, and again in the backward pass; null is all at once."""
    max_batch_tokens: Annotated[int, Field(gt=0)] | None = None
    """A batch that has more tokens with its padding is computed in parts, whose gradients are added up."""
    max_load_seconds: Annotated[float, Field(gt=0)] | None = 3600.0
    """How long loading the checkpoint may take, with its download; then it hangs, and the process ends. null is no
    limit."""
    max_first_step_seconds: Annotated[float, Field(gt=0)] | None = 3600.0
    """How long the first update may take, with compiling and what a resumed run skips. null is no limit."""
    evaluations: Annotated[int, Field(gt=0)] = 8
    """Number of evaluations during training; each scores the dev set and saves a checkpoint."""
    evaluation_dialogues: Annotated[int, Field(gt=0)] = 100
    """Size of the random sample of dev dialogues that is summarized greedily at each evaluation."""
    early_stopping_patience: Annotated[int, Field(gt=0)] | None = 3
    """Training stops after this many evaluations without an improvement in combined ROUGE; null never stops it."""
    max_truncated_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """`yoyak train` warns if a larger share of the training dialogues or summaries is cut at ``max_input_tokens`` or
    ``max_target_tokens``."""

    tensorboard: bool = False
    """Also write the curves as TensorBoard's event files, a folder for each training below ``logs/tensorboard``; needs
    the package tensorboard."""
    callbacks: list[Name] = []
    """Names of entry points in the group ``yoyak.callbacks``: subclasses of transformers' TrainerCallback."""
    metrics: list[Name] = []
    """Names of entry points in the group ``yoyak.metrics``: functions that score the summaries of each evaluation."""

    @property
    def row_tokens(self) -> int | None:
        """Return how many tokens of a batch's examples are packed into a row; None if each is a row of its own."""
        return None

    @model_validator(mode="after")
    def _has_a_source(self) -> TrainedMember:
        if self.checkpoint is None and "model_type" not in self.config:
            raise ValueError("a member needs a checkpoint, or a config with model_type")
        if self.checkpoint is None and self.adapter is not None:
            raise ValueError("an adapter needs a checkpoint: new weights have to be trained themselves")
        if self.checkpoint is None and self.tokenizer is None:
            raise ValueError("a member built from config needs a tokenizer")
        if self.torch_compile and (self.loss_chunk_tokens is not None or self.r_drop):
            raise ValueError("torch_compile does not go with loss_chunk_tokens and r_drop: leave it out")
        return self

    @model_validator(mode="after")
    def _keeps_the_topic(self) -> TrainedMember:
        if "topic" in self.preprocessing and self.truncate == "tail":
            raise ValueError(
                "preprocessing: topic is the first line of a dialogue, which truncate: tail cuts off: use head or both"
            )
        return self

    @model_validator(mode="after")
    def _suits_unsloth(self) -> TrainedMember:
        if self.adapter is None or not self.adapter.unsloth:
            return self
        # unsloth has layers and a loss of its own, and reads no mask.
        keys = ("config", "label_smoothing", "loss_chunk_tokens", "packing", "r_drop", "torch_compile")
        given = [key for key in keys if getattr(self, key, None)]
        if self.launcher.processes > 1:
            given.append("launcher.processes")
        if given:
            raise ValueError(f"adapter.unsloth does not go with {', '.join(given)}: leave one or the other out")
        return self

    @model_validator(mode="after")
    def _can_be_launched(self) -> TrainedMember:
        if self.launcher.processes > self.batch_size:
            raise ValueError(
                f"launcher.processes is {self.launcher.processes}, but a batch has only {self.batch_size} rows to share"
            )
        if self.launcher.processes > 1 and (self.loss_chunk_tokens is not None or self.r_drop):
            raise ValueError(
                "launcher.processes above 1 does not go with loss_chunk_tokens and r_drop, whose output layer the "
                "processes would not share: leave them out"
            )
        if self.launcher.strategy == "fsdp" and self.max_batch_tokens is not None:
            raise ValueError("launcher.strategy: fsdp does not go with max_batch_tokens: leave it out")
        if self.launcher.strategy == "fsdp" and (self.adapter or self.torch_compile or self.optim != "adamw_torch"):
            raise ValueError(
                "launcher.strategy: fsdp needs optim: adamw_torch, and neither an adapter nor torch_compile"
            )
        return self
