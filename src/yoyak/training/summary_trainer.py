"""transformers' Trainer with batches of the family, a reproducible order, and evaluation by ROUGE."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import Trainer, TrainerState

from yoyak.data.records import Dialogue
from yoyak.decoding.torch import TorchSummarizer
from yoyak.errors import UserError
from yoyak.models.families import family_of
from yoyak.scoring.rouge import Protocol, rouge
from yoyak.training.dataset import EpochLengthGroupedSampler
from yoyak.training.plugins import Metric
from yoyak.training.recovery import STATE_FILE, Checkpoint

COMPARED_ROWS = 32
"""Dev rows on which a merged model is compared with its adapter attached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointScoring:
    """The ROUGE variant that selects the best checkpoint; models are compared with the same one."""

    granularity: str
    multi_reference: Protocol
    weights: tuple[float, float, float]
    """Weights of ROUGE-1, ROUGE-2 and ROUGE-L."""


class SummaryTrainer(Trainer):
    """Trainer whose evaluation also summarizes a sample of dev and scores the summaries."""

    def __init__(
        self,
        *,
        summarizer: TorchSummarizer,
        sample: Sequence[Dialogue],
        scoring: CheckpointScoring,
        metrics: Mapping[str, Metric],
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.metrics = metrics
        self.summarizer = summarizer
        self.sample = sample
        self.scoring = scoring
        self.family = family_of(summarizer.spec)
        self.parameters = frozenset(inspect.signature(summarizer.model.forward).parameters)

    def load_finished(self, checkpoint: Checkpoint) -> None:
        """Load the state and the best model of a run that ended with a checkpoint."""
        self.state = TrainerState.load_from_json(str(checkpoint.path / STATE_FILE))
        self._load_best_model()

    def sample_batches(self) -> list[dict[str, Any]]:
        """Return what the model is called with on the first `COMPARED_ROWS` rows of dev."""
        dev: Any = self.eval_dataset
        rows = dev.select(range(min(COMPARED_ROWS, len(dev))))
        batches = (self._prepare_inputs(batch) for batch in self.get_eval_dataloader(rows))
        return [self.family.loss_inputs(batch, self.parameters) for batch in batches]

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochLengthGroupedSampler:
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        lengths = [len(ids) for ids in rows["input_ids"]]
        return EpochLengthGroupedSampler(self.args.train_batch_size, lengths, self.args.seed)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Compute the loss from what the family calls the model with."""
        return super().compute_loss(model, self.family.loss_inputs(inputs, self.parameters), *args, **kwargs)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Add the combined ROUGE of greedy summaries to the Trainer's metrics."""
        output: Any = super().evaluation_loop(*args, **kwargs)
        if not math.isfinite(output.metrics["eval_loss"]):
            raise UserError(
                f"members.{self.summarizer.spec.member}: after {self.state.global_step} steps the dev loss is "
                f"{output.metrics['eval_loss']}: lower its learning_rate, {self.args.learning_rate:g}."
            )
        self.summarizer.model.eval()
        summaries = self.summarizer.summarize([row.dialogue for row in self.sample])
        scores = rouge(
            summaries.texts,
            [row.summaries for row in self.sample],
            granularity=self.scoring.granularity,
            multi_reference=self.scoring.multi_reference,
            weights=self.scoring.weights,
        )
        output.metrics["eval_combined"] = float(scores["combined"].mean())
        references = [row.summaries for row in self.sample]
        for name, metric in self.metrics.items():
            output.metrics[f"eval_{name}"] = float(metric(summaries.texts, references))
        return output
