"""How a training computes its loss: the model's own one or `TargetLoss`, of whole batches or of parts of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from transformers import Trainer

from yoyak.errors import UserError
from yoyak.models.families.base import TrainedFamily
from yoyak.models.target_loss import TargetLoss, computes_the_same_logits, has_dropout
from yoyak.models.text import IGNORED
from yoyak.training import ranks


class LossTrainer(Trainer):
    """A Trainer whose family says what the model is called with, and whose params say how the loss is computed.

    The loss of a batch is divided by the target tokens of its update if the Trainer counts them, as it does for models
    that take their number, and else by those of the batch.
    """

    def __init__(
        self,
        *,
        family: TrainedFamily,
        base_model: Any,
        parameters: frozenset[str],
        target_loss: TargetLoss | None,
        max_batch_tokens: int | None,
        row_tokens: int | None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.size = ranks.world_size()
        self.family = family
        self.base_model = base_model
        """Without what an adapter or the Trainer puts around it."""
        self.parameters = parameters
        """Of the model's ``forward``."""
        self.target_loss = target_loss
        self.max_batch_tokens = max_batch_tokens
        self.row_tokens = row_tokens
        """Of the rows that examples are packed into in training; None if each is a row of its own."""
        self.batch_targets: torch.Tensor | None = None
        """The number of target tokens of the batch of which a part is computed, with the rows that other processes have
        of it in training; None if the batch is computed as a whole."""

    def check_loss(self, where: str, loss: TargetLoss, inputs: Mapping[str, Any]) -> None:
        """Raise UserError if the model does not have what the loss needs; it is called with ``inputs`` to see."""
        if loss.r_drop and not has_dropout(self.model):
            raise UserError(
                f"{where}.r_drop: the model has no dropout, so that both passes of a row are the same: set the dropout "
                "of its config, or leave out r_drop."
            )
        with self.accelerator.autocast():
            supported = computes_the_same_logits(loss, self.base_model, inputs)
        if not supported:
            name = "loss_chunk_tokens" if not loss.r_drop else "r_drop"
            raise UserError(
                f"{where}.{name} does not support {self.base_model.config.model_type}, which computes its logits in a "
                "way of its own: leave it out."
            )

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        """Compute the gradients of a batch, part by part if it has more than ``max_batch_tokens``."""
        shared = {name: inputs.pop(name) for name in (ranks.TARGETS,) if name in inputs}
        self.batch_targets = shared[ranks.TARGETS][1] if shared else _count_targets(inputs).to(self.args.device)
        if self.row_tokens is not None:
            inputs = self.family.pack(inputs, min(self.row_tokens, self._largest_part()))
        *parts, last = ({**part, **shared} for part in split_batch(inputs, self._largest_part()))
        try:
            losses = []
            for part in parts:
                # Several processes exchange their gradients once for a batch.
                with self.accelerator.no_sync(model):
                    losses.append(super().training_step(model, part, num_items_in_batch))
            losses.append(super().training_step(model, last, num_items_in_batch))
        finally:
            self.batch_targets = None
        return torch.stack(losses).sum() if parts else losses[0]

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Compute the loss from what the family calls the model with.

        In several processes it is made that of all their rows: in training by a factor, such that the mean of the
        gradients, which is what an update takes, is the gradient of one process with all rows.
        """
        shared = inputs.pop(ranks.TARGETS, None)
        compute = self._compute_own_loss if model.training else self._compute_dev_loss
        loss, outputs = compute(model, inputs, num_items_in_batch)
        if shared is not None:
            own, everyone = shared
            # A process without rows computes one that does not count.
            loss = loss * self.size * (own > 0) if model.training else ranks.add_up(loss * own / everyone)
        return (loss, outputs) if return_outputs else loss

    def _compute_dev_loss(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any) -> tuple[Any, Any]:
        """Return what `_compute_own_loss` does, part by part if the batch has more than ``max_batch_tokens``."""
        parts = split_batch(inputs, self._largest_part())
        if len(parts) == 1:
            return self._compute_own_loss(model, inputs, num_items_in_batch)
        self.batch_targets = _count_targets(inputs).to(self.args.device)
        try:
            loss = torch.stack([self._compute_own_loss(model, part, num_items_in_batch)[0] for part in parts]).sum()
        finally:
            self.batch_targets = None
        return loss, {"loss": loss}

    def _compute_own_loss(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any) -> tuple[Any, Any]:
        """Return the loss of the rows of this process, as its part of that of all, and the outputs."""
        counts_update = self.model_accepts_loss_kwargs and num_items_in_batch is not None
        targets = _count_targets(inputs).to(self.args.device)
        total = num_items_in_batch if counts_update else self.batch_targets
        inputs = self.family.loss_inputs(inputs, self.parameters)
        if self.target_loss is not None:
            with self.accelerator.autocast():
                loss = self.target_loss(model, self.base_model, inputs) / (targets if total is None else total)
            return loss, {"loss": loss}
        if self.label_smoother is not None:
            # The Trainer tells from the name of the model's class, which compiling and sharding change, whether the
            # labels are those of the next position.
            labels = self.family.predicted_labels(inputs.pop("labels"))
            outputs = model(**inputs)
            loss = self.label_smoother(outputs, labels)
        else:
            loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if total is not None and (self.label_smoother is not None or not counts_update):
            # It is the mean over this part.
            loss = loss * (targets / total)
        return loss, outputs

    def _largest_part(self) -> float:
        """Return how many tokens may be computed at once."""
        if self.max_batch_tokens is None:
            return math.inf
        return self.max_batch_tokens / (self.target_loss.passes(True) if self.target_loss else 1)


def _count_targets(inputs: Mapping[str, Any]) -> torch.Tensor:
    return (inputs["labels"] != IGNORED).sum()


def split_batch(batch: Mapping[str, Any], max_tokens: float) -> list[dict[str, Any]]:
    """Return a padded batch in parts of consecutive rows, of at most ``max_tokens`` with their padding each.

    A row is never split. The tokens of a row are those that it reads, and those of the summary where a decoder of its
    own reads it.
    """
    rows = len(batch["labels"])
    width = sum(batch[name].shape[1] for name in ("input_ids", "decoder_input_ids") if name in batch)
    parts = min(rows, math.ceil(rows / max(1, max_tokens // width))) if max_tokens < rows * width else 1
    if parts == 1:
        return [dict(batch)]
    split = {name: torch.tensor_split(value, parts) for name, value in batch.items()}
    return [{name: values[index] for name, values in split.items()} for index in range(parts)]
