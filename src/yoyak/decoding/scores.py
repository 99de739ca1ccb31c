"""The score of each generated sequence, without keeping the scores of the whole vocabulary for every step.

transformers' ``output_scores=True`` keeps rows x vocabulary x steps: 8 GB for mT5 with 32 dialogues, 4 beams and 64
tokens. A search only ever chooses among the top few tokens of each row, so those are enough.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor

from yoyak.decoding.deadline import check_deadline

NEVER = -1e9
"""The score that transformers gives a beam that must not win."""


class SequenceScores(LogitsProcessor):
    """The last logits processor of a search: it changes nothing and records the top scores of each step."""

    def __init__(self, config: GenerationConfig) -> None:
        self.config = config
        # Beam search considers twice as many tokens per beam as there are beams.
        self.count = 1 if config.num_beams == 1 else 2 * config.num_beams
        self.steps: list[Any] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Record the top scores of a step. It runs at each, which makes it the place to end a search as well."""
        check_deadline()
        self.steps.append(scores.topk(min(self.count, scores.shape[-1])))
        if self.config.num_beams == 1:
            # Greedy search sees logits, beam search log probabilities.
            values, tokens = self.steps[-1]
            self.steps[-1] = (values - scores.logsumexp(-1, keepdim=True), tokens)
        return scores

    def score_sequences(
        self, sequences: torch.Tensor, beam_indices: torch.Tensor | None
    ) -> tuple[list[float], list[int]]:
        """Return the score of each returned sequence and its number of tokens, including the end mark.

        Args:
            sequences: What `generate` returned [sequences, tokens], including the prompt.
            beam_indices: The row that each token was chosen from [sequences, steps]; None after a greedy search.

        A score is the sum of the tokens' log probabilities divided by their number to the power of ``length_penalty``.
        """
        values, tokens = (torch.stack(part) for part in zip(*self.steps, strict=True))
        if beam_indices is None:
            new_tokens = sequences[:, -len(values) :]
            # Finished rows are filled up with padding, which may be the same token as the end mark.
            counted = new_tokens.ne(self.config.pad_token_id)
            counted[:, 0] = True
            chosen = values[..., 0].T
            start = torch.zeros(len(new_tokens), device=new_tokens.device)
            ended = new_tokens.eq(self.config.eos_token_id)
            lengths = torch.where(ended.any(1), ended.int().argmax(1) + 1, new_tokens.shape[1])
        else:
            new_tokens = sequences[:, -beam_indices.shape[1] :]
            counted = beam_indices >= 0
            rows, steps = beam_indices.clamp(min=0), torch.arange(new_tokens.shape[1], device=new_tokens.device)
            matches = tokens[steps, rows] == new_tokens[..., None]
            # A chosen token that is not among the top ones has the same score as the last of them.
            index = torch.where(matches.any(-1), matches.int().argmax(-1), matches.shape[-1] - 1)
            chosen = values[steps, rows].gather(-1, index[..., None])[..., 0]
            # transformers starts from the first beam of each dialogue only.
            start = torch.where(beam_indices[:, 0] % self.config.num_beams > 0, NEVER, 0.0)
            lengths = counted.sum(1)
        total = start + chosen.masked_fill(~counted, 0.0).sum(1)
        scores = total / counted.sum(1).clamp(min=1).pow(self.config.length_penalty)
        scores = torch.where(counted.any(1), scores, NEVER)
        return scores.tolist(), lengths.tolist()
