"""Rules on repetition for models that have the dialogue in the sequence that they write.

transformers counts everything before the next token. In a decoder-only model that is the dialogue too, which a summary
has to quote: with ``no_repeat_ngram_size`` 3 it could use no three tokens in a row that somebody has said.
"""

from __future__ import annotations

import torch
from transformers import GenerationConfig, LogitsProcessor
from transformers.generation import NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor


class OfSummary(LogitsProcessor):
    """Shows a processor only the tokens from position ``first`` on."""

    def __init__(self, processor: LogitsProcessor, first: int) -> None:
        self.processor, self.first = processor, first

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Return the scores of the processor; the first token of a summary repeats nothing."""
        if input_ids.shape[1] <= self.first:
            return scores
        changed: torch.FloatTensor = self.processor(input_ids[:, self.first :], scores)
        return changed


def take_rules(config: GenerationConfig, first: int) -> list[LogitsProcessor]:
    """Move the rules on repetition out of a config into processors, in transformers' order.

    Args:
        config: What ``generate`` is called with; it has no such rules afterwards.
        first: The first position that counts: see `Family.first_counted`.
    """
    rules: list[LogitsProcessor] = []
    if config.repetition_penalty != 1.0:
        rules.append(RepetitionPenaltyLogitsProcessor(config.repetition_penalty))
    if config.no_repeat_ngram_size:
        rules.append(NoRepeatNGramLogitsProcessor(config.no_repeat_ngram_size))
    config.repetition_penalty, config.no_repeat_ngram_size = 1.0, 0
    return [OfSummary(rule, first) for rule in rules]
