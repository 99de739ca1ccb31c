"""transformers' Trainer with batches of the family, a reproducible order, and evaluation by ROUGE."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import TrainerState

from yoyak.data.records import Dialogue
from yoyak.decoding.summarizer import texts_to_read
from yoyak.decoding.torch import TorchSummarizer
from yoyak.errors import UserError
from yoyak.models.families import family_of
from yoyak.scoring.rouge import rouge
from yoyak.training import ranks
from yoyak.training.dataset import LengthSampler, ShuffledSampler
from yoyak.training.distributed_trainer import DistributedTrainer
from yoyak.training.plugins import Metric
from yoyak.training.recovery import STATE_FILE, Checkpoint
from yoyak.training.selection import CheckpointScoring
from yoyak.training.termination import ResumableTrainer

COMPARED_ROWS = 32
"""Dev rows on which a merged model is compared with its adapter attached."""


class SummaryTrainer(ResumableTrainer, DistributedTrainer):
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
        super().__init__(
            family=family_of(summarizer.spec),
            base_model=summarizer.model,
            parameters=frozenset(inspect.signature(summarizer.model.forward).parameters),
            **arguments,
        )
        self.metrics = metrics
        self.summarizer = summarizer
        self.sample = sample
        self.scoring = scoring

    def load_finished(self, checkpoint: Checkpoint) -> None:
        """Load the state and the best model of a run that ended with a checkpoint."""
        self.state = TrainerState.load_from_json(str(checkpoint.path / STATE_FILE))
        self._load_best_model()

    def free_optimizer(self) -> None:
        """Give back the memory of the optimizer's state, to which the callbacks and accelerate refer too."""
        for owner in (self, self.callback_handler):
            owner.optimizer = owner.lr_scheduler = None
        self.accelerator.free_memory()

    def sample_batches(self, size: int = COMPARED_ROWS) -> list[dict[str, Any]]:
        """Return what the model is called with on the first ``size`` rows of dev."""
        dev: Any = self.eval_dataset
        rows = dev.select(range(min(size, len(dev))))
        loader: Any = self.get_eval_dataloader(rows) if self.size == 1 else self._unshared_batches(rows)
        batches = (self._prepare_inputs(batch) for batch in loader)
        return [self.family.loss_inputs(batch, self.parameters) for batch in batches]

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthSampler | ShuffledSampler:
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        lengths = list(zip(map(len, rows["input_ids"]), map(len, rows["labels"]), strict=True))
        if not self.args.group_by_length:
            # So that memory runs out at once if it does.
            longest = max(range(len(lengths)), key=lambda row: sum(lengths[row]))
            return ShuffledSampler(len(lengths), self.args.seed, first=longest)
        return LengthSampler(self.args.train_batch_size, lengths, self.args.seed)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Add the combined ROUGE of greedy summaries to the Trainer's metrics."""
        if self.size > 1:
            self.gather_function = self._first_rows
        output: Any = super().evaluation_loop(*args, **kwargs)
        if not math.isfinite(output.metrics["eval_loss"]):
            raise UserError(
                f"members.{self.summarizer.spec.member}: after {self.state.global_step} steps the evaluation loss is "
                f"{output.metrics['eval_loss']}: lower its learning_rate, {self.args.learning_rate:g}."
            )
        self.summarizer.model.eval()
        texts = self._summarize_sample()
        output.metrics.update(ranks.from_first(lambda: self._score_sample(texts)))
        return output

    def _summarize_sample(self) -> list[str]:
        """Return greedy summaries of the sample. Processes share its batches, which are those of one process."""
        dialogues = texts_to_read(self.summarizer, self.sample)
        if self.sharded:
            # Every layer is put together by all processes, so they all do the same. `generate` begins inside the model.
            self.model.unshard()
        if self.size == 1 or self.sharded:
            return self.summarizer.summarize(dialogues).texts
        lengths = [len(ids) for ids in self.summarizer.encode(dialogues).input_ids]
        order, batch_size = (
            sorted(range(len(lengths)), key=lambda row: -lengths[row]),
            self.summarizer.generation.batch_size,
        )
        batches = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
        own = [row for batch in batches[ranks.rank() :: self.size] for row in batch]
        texts = self.summarizer.summarize([dialogues[row] for row in own]).texts if own else []
        shared = ranks.from_all(dict(zip(own, texts, strict=True)))
        texts_by_row = {row: text for texts in shared for row, text in texts.items()}
        return [texts_by_row[row] for row in range(len(dialogues))]

    def _score_sample(self, texts: Sequence[str]) -> dict[str, float]:
        references = [row.summaries for row in self.sample]
        scores = rouge(
            texts,
            references,
            granularity=self.scoring.granularity,
            multi_reference=self.scoring.multi_reference,
            weights=self.scoring.weights,
        )
        metrics = {"eval_combined": float(scores["combined"].mean())}
        for name, metric in self.metrics.items():
            metrics[f"eval_{name}"] = float(metric(texts, references))
        return metrics
