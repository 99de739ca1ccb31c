"""The loss of the target tokens, computed from the states that the output layer reads.

A model's own loss needs the logits of all positions at once, which with a vocabulary of 128,000 tokens are the largest
thing in memory. Here the output layer gets the states of the target positions alone, some at a time, and their logits
are computed again for the backward pass in place of being kept. R-Drop needs the logits of two passes, and is computed
in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from yoyak.models.families.base import TrainedFamily
from yoyak.models.text import IGNORED
from yoyak.params.members import TrainedMember

R_DROP_CHUNK = 256
"""Tokens of a chunk with R-Drop, unless params.yaml says otherwise: it needs several matrices of the logits' size."""
LARGE_LOGIT = 50.0
"""The largest one when logits are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The positions of a batch [rows, tokens] at which a target is predicted, counted through all rows."""

    positions: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLoss:
    """The sum over the target tokens of their cross-entropy, smoothed, and of R-Drop's divergence.

    R-Drop (Liang et al. 2021, arXiv 2106.14448) reads each row twice, with different dropout, and wants both passes to
    predict the same. With p₁ and p₂ their distributions for a token y:

        ½ (-log p₁(y) - log p₂(y)) + α · ½ (KL(p₁‖p₂) + KL(p₂‖p₁))

    as in the authors' code; their formula has the sum of both cross-entropies, and so half this α.
    """

    family: TrainedFamily
    chunk_tokens: int
    r_drop: float
    label_smoothing: float

    def passes(self, training: bool) -> int:
        """Return how often each row is read."""
        return 2 if training and self.r_drop else 1

    def select_targets(self, labels: torch.Tensor) -> Targets:
        """Return where the targets of a batch are predicted."""
        predicted = self.family.predicted_labels(labels).flatten()
        positions = (predicted != IGNORED).nonzero().flatten()
        return Targets(positions=positions, labels=predicted[positions])

    def read_states(self, call: Any, model: Any, inputs: Mapping[str, Any], targets: Targets) -> torch.Tensor:
        """Return what the output layer would read at the targets [passes, targets, dimensions].

        Args:
            call: The model as the Trainer calls it, which may be wrapped.
            model: The model itself.
            inputs: What it is called with, but for the labels.
        """
        passes = self.passes(model.training)
        repeated = {
            name: torch.cat([value] * passes) if isinstance(value, torch.Tensor) else value
            for name, value in inputs.items()
        }
        with _intercept(model.get_output_embeddings()) as seen:
            call(**repeated)
        [states] = seen
        return states.reshape(passes, -1, states.shape[-1])[:, targets.positions]

    def chunks(self, states: torch.Tensor, targets: Targets) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the states and labels of each chunk."""
        yield from zip(states.split(self.chunk_tokens, 1), targets.labels.split(self.chunk_tokens), strict=True)

    def chunk_loss(self, model: Any, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the sum over the tokens of a chunk."""
        logits = self.family.finish_logits(model, model.get_output_embeddings()(states)).float()
        if len(states) == 1:
            return torch.nn.functional.cross_entropy(
                logits[0], labels, reduction="sum", label_smoothing=self.label_smoothing
            )
        both = logits.log_softmax(-1)
        loss = -(1 - self.label_smoothing) * both.gather(-1, labels.expand(2, -1).unsqueeze(-1)).sum() / 2
        if self.label_smoothing:
            loss = loss - self.label_smoothing * both.mean(-1).sum() / 2
        first, second = both
        return loss + self.r_drop * ((first.exp() - second.exp()) * (first - second)).sum() / 2

    def __call__(self, call: Any, model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
        """Return the sum over all targets of a batch; ``inputs`` are those of `TrainedFamily.loss_inputs`."""
        targets = self.select_targets(inputs["labels"])
        states = self.read_states(call, model, without_labels(inputs), targets)
        losses = [
            checkpoint(self.chunk_loss, model, *chunk, use_reentrant=False) for chunk in self.chunks(states, targets)
        ]
        return torch.stack(losses).sum()


def target_loss(member: TrainedMember, family: TrainedFamily) -> TargetLoss | None:
    """Return the loss of a member; None if its model's own one does."""
    if member.loss_chunk_tokens is None and not member.r_drop:
        return None
    return TargetLoss(
        family=family,
        chunk_tokens=member.loss_chunk_tokens or R_DROP_CHUNK,
        r_drop=member.r_drop,
        label_smoothing=member.label_smoothing,
    )


def without_labels(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of a model that is to compute no loss."""
    return {name: value for name, value in inputs.items() if name != "labels"}


def computes_the_same_logits(loss: TargetLoss, model: Any, inputs: Mapping[str, Any]) -> bool:
    """Return whether the output layer gives a model's logits, with what its family knows to be done to them.

    Some models do more, each in its own way. What is done to large logits alone, such as a cap, would not be seen in a
    model that is new: those of this comparison are scaled.
    """
    training = model.training
    model.eval()
    factor: list[float] = []

    def scale(module: Any, arguments: Any, logits: torch.Tensor) -> torch.Tensor:
        if not factor:
            factor.append(LARGE_LOGIT / max(float(logits.abs().max()), 1e-6))
        return logits * factor[0]

    try:
        hook = model.get_output_embeddings().register_forward_hook(scale)
    except AttributeError:
        return False
    try:
        with torch.no_grad():
            targets = loss.select_targets(inputs["labels"])
            expected = model(**without_labels(inputs)).logits
            expected = expected.reshape(-1, expected.shape[-1])[targets.positions].float()
            [states] = loss.read_states(model, model, without_labels(inputs), targets)
            logits = loss.family.finish_logits(model, model.get_output_embeddings()(states)).float()
    except (ValueError, TypeError, RuntimeError):
        # Its forward does not use the layer, or gives it something else than states.
        return False
    finally:
        hook.remove()
        model.train(training)
    return logits.shape == expected.shape and torch.allclose(logits, expected, rtol=1e-2, atol=1e-2 * LARGE_LOGIT)


def has_dropout(model: Any) -> bool:
    """Return whether two passes of a model in training can differ."""
    return any(
        isinstance(value, float) and value > 0
        for module in model.modules()
        for name, value in vars(module).items()
        if "drop" in name or (isinstance(module, torch.nn.Dropout) and name == "p")
    )


@contextmanager
def _intercept(output_layer: Any) -> Iterator[list[torch.Tensor]]:
    """Collect what the output layer would read, and give it no position to compute logits for."""
    seen: list[torch.Tensor] = []

    def keep(module: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        seen.append(arguments[0])
        return (arguments[0][:, :0], *arguments[1:])

    hook = output_layer.register_forward_pre_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()
