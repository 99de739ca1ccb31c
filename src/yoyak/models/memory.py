"""How much memory a training takes, from the model's config: no weight is loaded and nothing is computed.

The model runs forward on torch's fake tensors, which have shapes and dtypes but no values, and what autograd keeps for
the backward pass is counted. Of layers that are all alike, only one and two are run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, PretrainedConfig
from transformers.pytorch_utils import Conv1D

from yoyak.errors import UserError, first_line
from yoyak.models.families.base import TrainedFamily
from yoyak.models.precision import Decision
from yoyak.models.target_loss import TargetLoss, target_loss, without_labels
from yoyak.params.adapters import Lora
from yoyak.params.members import TrainedMember

LAYERS = ("num_hidden_layers", "n_layer", "encoder_layers", "decoder_layers", "num_layers", "num_decoder_layers")
"""The names by which configs say how many layers a model has."""
OPTIMIZER_BYTES = {
    "adamw_torch": 8.0,
    "adamw_bnb_8bit": 2.0,
    "paged_adamw_32bit": 8.0,
    "paged_adamw_8bit": 2.0,
    "adafactor": 0.1,
}
"""Bytes of the optimizer's state for each weight that is trained."""
CPU_OVERHEAD = 1.35
"""How much more than what is alive activations take on a CPU: 1.05 to 1.65 times as much in benchmarks/memory.py, for
an allocator that returns large blocks (`process.return_freed_memory`), and up to twice as much for another."""
MEASURED_ROWS = 1024
"""Rows that a batch is measured with; the activations of a larger one are as many times more."""
FOUR_BITS = 0.53
"""Bytes of a weight in 4 bits, with the constants of its block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The memory of a training, in bytes."""

    parameters: int
    """A number, not bytes."""
    trained: int
    """How many of them are trained."""
    weights: int
    gradients: int
    optimizer: int
    activations: int
    """Of one batch: what autograd keeps, and the gradient of the largest of it, mostly the logits'."""
    rows: int
    """Of the batch, or of the part of it that is computed at once."""

    @property
    def fixed(self) -> int:
        """What does not depend on the batch."""
        return self.weights + self.gradients + self.optimizer

    @property
    def total(self) -> int:
        """The peak."""
        return self.fixed + self.activations


def estimate_memory(
    member: TrainedMember,
    family: TrainedFamily,
    config: PretrainedConfig,
    precision: Decision,
    *,
    device: str,
    vocabulary: int,
    input_tokens: int,
    target_tokens: int,
    batch_size: int,
) -> Memory:
    """Return the memory of training a model on batches of rows of this length.

    Args:
        config: Of the checkpoint or of a new model.
        device: ``cpu``, ``cuda`` or ``mps``.
        vocabulary: Tokens of the tokenizer, of which the model gets more embeddings if it has fewer.

    Raises UserError if the model cannot be built from its config, and NotImplementedError if it can, but does something
    that depends on values, as mixtures of experts do.
    """
    values = config.to_dict()
    values.pop("layer_types", None)
    values["vocab_size"] = max(vocabulary, int(values.get("vocab_size") or vocabulary))
    counts = {name: int(values[name]) for name in LAYERS if isinstance(values.get(name), int)}
    if member.max_batch_tokens is not None:
        passes = 2 if member.r_drop else 1
        batch_size = min(batch_size, max(1, member.max_batch_tokens // passes // (input_tokens + target_tokens)))
    measured = min(batch_size, MEASURED_ROWS)
    rows = (measured, input_tokens, target_tokens)

    def measure(layers: Mapping[str, int]) -> _Counts:
        return _measure(member, family, AutoConfig.for_model(**{**values, **layers}), precision, rows)

    if max(counts.values(), default=1) <= 2:
        counted = measure({})
    else:
        one = dict.fromkeys(counts, 1)
        counted = base = measure(one)
        for name, count in counts.items():
            counted = counted.plus(measure({**one, name: 2}).minus(base).times(count - 1))
    recomputed = 0
    if member.gradient_checkpointing:
        # One layer at a time is computed again for its backward pass.
        member = member.model_copy(update={"gradient_checkpointing": False})
        one = dict.fromkeys(counts, 1)
        base = measure(one)
        recomputed = max((measure({**one, name: 2}).minus(base).saved for name in counts), default=0)
    activations = (counted.saved + counted.largest + recomputed) * batch_size / measured
    return Memory(
        rows=batch_size,
        parameters=counted.parameters,
        trained=counted.trained,
        weights=counted.weights,
        gradients=counted.trained * 4,
        optimizer=int(counted.trained * OPTIMIZER_BYTES[member.optim]),
        activations=int(activations * (CPU_OVERHEAD if device == "cpu" else 1)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    parameters: int
    trained: int
    weights: int
    saved: int
    largest: int

    def plus(self, other: _Counts) -> _Counts:
        return _Counts(
            parameters=self.parameters + other.parameters,
            trained=self.trained + other.trained,
            weights=self.weights + other.weights,
            saved=self.saved + other.saved,
            largest=max(self.largest, other.largest),
        )

    def minus(self, other: _Counts) -> _Counts:
        return _Counts(
            parameters=self.parameters - other.parameters,
            trained=self.trained - other.trained,
            weights=self.weights - other.weights,
            saved=self.saved - other.saved,
            largest=self.largest,
        )

    def times(self, factor: int) -> _Counts:
        return _Counts(
            parameters=self.parameters * factor,
            trained=self.trained * factor,
            weights=self.weights * factor,
            saved=self.saved * factor,
            largest=self.largest,
        )


def _measure(
    member: TrainedMember,
    family: TrainedFamily,
    config: PretrainedConfig,
    precision: Decision,
    rows: tuple[int, int, int],
) -> _Counts:
    from torch._subclasses.fake_tensor import FakeTensorMode

    dtype = getattr(torch, precision.dtype) if member.adapter else torch.float32
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        try:
            model = family.auto_class().from_config(config, dtype=dtype)
        except Exception as error:  # Each architecture rejects invalid sizes in its own way.
            raise UserError(f"no {config.model_type} can be built from its config: {first_line(error)}") from error
        parameters = sum(parameter.numel() for parameter in model.parameters())
        weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        if member.adapter:
            weights += _attach(model, member.adapter)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    if member.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    for module in model.train().modules():
        if hasattr(module, "layerdrop"):
            # BART's stacks ask whether a random number is below it, and would leave out every layer. Not recursive.
            module.training = False
    inputs = make_batch(family, model, *rows)
    autocast = torch.autocast("cpu", getattr(torch, precision.dtype), enabled=precision.precision != "fp32")
    try:
        with mode, _AnswerYes(), autocast:
            saved, largest = _count_activations(model, inputs, target_loss(member, family))
    except Exception as error:  # Whatever a model's code does with tensors that have no values.
        raise NotImplementedError(f"{type(error).__name__} in {config.model_type}") from error
    return _Counts(parameters=parameters, trained=trained, weights=weights, saved=saved, largest=largest)


def make_batch(
    family: TrainedFamily, model: Any, batch_size: int, input_tokens: int, target_tokens: int
) -> dict[str, Any]:
    """Return what the model is called with for a batch of equal rows."""
    example, labels = family.make_example([3] * input_tokens, [3] * target_tokens)
    batch = {
        "input_ids": torch.full((batch_size, len(example)), 3),
        "attention_mask": torch.ones((batch_size, len(example)), dtype=torch.long),
        "labels": torch.tensor([labels]).repeat(batch_size, 1),
    }
    inputs = family.loss_inputs(batch, inspect.signature(model.forward).parameters.keys())
    # Rows of equal length need no mask.
    return {name: value for name, value in inputs.items() if name != "attention_mask"}


def with_decoder_inputs(model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs with what the collator adds for a model with a decoder of its own."""
    if not hasattr(model, "prepare_decoder_input_ids_from_labels"):
        return dict(inputs)
    return {**inputs, "decoder_input_ids": model.prepare_decoder_input_ids_from_labels(labels=inputs["labels"])}


def _attach(model: Any, lora: Lora) -> int:
    """Attach an adapter to a fake model, and return by how much its weights grow, or shrink if they are in 4 bits."""
    model.requires_grad_(False)
    head, growth = model.get_output_embeddings(), 0
    linear = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear | Conv1D)}
    for name, module in linear.items():
        if module is head:
            continue
        if lora.quantization is not None:
            growth += int(module.weight.numel() * (FOUR_BITS - module.weight.element_size()))
        if lora.target_modules == "all-linear" or name.endswith(tuple(lora.target_modules)):
            layer = _LoraLayer(module, lora)
            growth += sum(parameter.numel() * 4 for parameter in layer.parameters() if parameter.requires_grad)
            model.set_submodule(name, layer)
    return growth


class _LoraLayer(torch.nn.Module):
    """What peft puts in the place of a linear layer; its own does not take fake tensors."""

    def __init__(self, base: Any, lora: Lora) -> None:
        super().__init__()
        inputs, outputs = base.weight.shape if isinstance(base, Conv1D) else base.weight.shape[::-1]
        self.base = base
        self.dropout = torch.nn.Dropout(lora.lora_dropout)
        self.lora_a = torch.nn.Linear(inputs, lora.r, bias=False)
        self.lora_b = torch.nn.Linear(lora.r, outputs, bias=False)

    @property
    def weight(self) -> Any:
        """Some models look at the weight of a layer."""
        return self.base.weight

    def forward(self, states: torch.Tensor) -> Any:
        """Return the sum of both."""
        return self.base(states) + self.lora_b(self.lora_a(self.dropout(states.float()))).to(states.dtype)


def _count_activations(model: Any, inputs: Mapping[str, Any], loss: TargetLoss | None) -> tuple[int, int]:
    """Return the bytes that autograd keeps of the forward pass of a batch, and the most that the backward pass adds."""
    if loss is None:
        return _count_saved(model, lambda: model(**inputs).loss)
    with unset_fake_temporarily():
        # A fake tensor cannot say how many of its values are targets.
        targets = loss.select_targets(inputs["labels"])
        inputs = without_labels(with_decoder_inputs(model, inputs))
    states: list[torch.Tensor] = []

    def read() -> torch.Tensor:
        states.append(loss.read_states(model, model, inputs, targets))
        return states[0]

    saved, largest = _count_saved(model, read)
    chunk = next(loss.chunks(states[0], targets))
    # What the first pass of a chunk keeps is dropped; the backward pass holds that of one at a time.
    recomputed, largest_of_chunk = _count_saved(model, lambda: loss.chunk_loss(model, *chunk))
    return saved, max(largest, recomputed + largest_of_chunk)


def _count_saved(model: Any, compute: Callable[[], torch.Tensor]) -> tuple[int, int]:
    """Return the bytes that autograd keeps of what is computed but for the weights, and those of the largest tensor."""
    own = {_storage(parameter) for parameter in model.parameters()}
    kept: dict[int, int] = {}
    # A storage that is freed could give its address to another one.
    alive: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)
        if _storage(tensor) not in own:
            kept[_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        alive.append(compute())
    return sum(kept.values()), max(kept.values(), default=0)


class _AnswerYes(TorchDispatchMode):
    """Answers code that asks for a value, which fake tensors do not have: is all of the attention mask set?"""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return 1 if func is torch.ops.aten._local_scalar_dense.default else func(*args, **(kwargs or {}))


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
