"""Batched generation with torch: from dialogues to n-best summaries with scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from yoyak.decoding.batches import Generated, summarize_in_batches
from yoyak.decoding.candidates import Candidate
from yoyak.decoding.scores import SequenceScores
from yoyak.decoding.summarizer import Summaries
from yoyak.models.families import family_of
from yoyak.models.families.reader import Reader
from yoyak.models.load import load_trained
from yoyak.models.precision import find_device
from yoyak.models.spec import ModelSpec, load_spec
from yoyak.models.text import Encoded, decode
from yoyak.models.tokenizers import load_tokenizer
from yoyak.models.window import find_positions, new_token_limit
from yoyak.params import Generation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TorchSummarizer:
    """A model with its tokenizer, ready to summarize."""

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase, spec: ModelSpec) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.spec = spec
        self.family = family_of(spec)

    @classmethod
    def load(cls, folder: str | Path, device: str | None = None) -> TorchSummarizer:
        """Load a model that `yoyak train` saved, onto the best available device unless one is given.

        Raises UserError if the folder does not hold such a model.
        """
        folder = Path(folder)
        spec = load_spec(folder)
        family, tokenizer = family_of(spec), load_tokenizer(folder)
        family.check_tokenizer(spec, tokenizer)
        model = load_trained(folder, family)
        model.to(torch.device(device) if device else find_device())
        return cls(model.eval(), tokenizer, spec)

    @property
    def generation(self) -> Generation:
        """The default generation settings."""
        return self.spec.generation

    @property
    def new_token_limit(self) -> int | None:
        """How many tokens it can generate after its longest input; None means no limit."""
        return new_token_limit(self.spec, find_positions(self.model.config.to_dict()))

    def summarize(
        self, dialogues: Sequence[str], *, generation: Generation | None = None, progress: bool = False
    ) -> Summaries:
        """Return the candidates of each dialogue, best first, in the order of the dialogues."""
        settings = generation or self.generation
        inputs = self.encode(dialogues)
        config = self.generation_config(settings)
        return summarize_in_batches(
            inputs,
            lambda rows: self.generate([inputs.input_ids[row] for row in rows], config),
            batch_size=settings.batch_size,
            ran_out_of_memory=ran_out_of_memory,
            progress=progress,
        )

    def encode(self, dialogues: Sequence[str]) -> Encoded:
        """Return the input ids of each dialogue, and which of them were cut."""
        return self.family.encode_dialogues(self.tokenizer, dialogues, self.spec)

    @torch.inference_mode()
    def generate(
        self, inputs: Sequence[list[int]], config: GenerationConfig, processors: Sequence[LogitsProcessor] = ()
    ) -> list[Generated]:
        """Summarize one batch of input ids.

        Args:
            config: The settings, see `generation_config`.
            processors: Applied to the scores of each step after the processors that ``config`` implies.
        """
        ids, mask = self.pad(inputs)
        scores = SequenceScores(config)
        output: Any = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=config,
            logits_processor=LogitsProcessorList([*processors, scores]),
            # Otherwise the checkpoint's own settings would override every value that equals the library's default.
            use_model_defaults=False,
            return_dict_in_generate=True,
            **self.family.read_prompts(self.model, ids, mask, config),
        )
        written = output.sequences[:, self.family.prompt_length(ids.shape[1]) :]
        texts = decode(self.tokenizer, written.tolist())
        values, lengths = scores.score_sequences(output.sequences, output.get("beam_indices"))
        candidates = [Candidate(text, round(value, 6)) for text, value in zip(texts, values, strict=True)]
        count = config.num_return_sequences
        return [
            Generated(candidates=candidates[first : first + count], tokens=sum(lengths[first : first + count]))
            for first in range(0, len(candidates), count)
        ]

    def pad(self, inputs: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids and attention mask, padded to the longest row."""
        width = max(map(len, inputs))
        ids = torch.full((len(inputs), width), int(self.tokenizer.pad_token_id))
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(inputs):
            start = width - len(tokens) if self.family.pads_left else 0
            ids[row, start : start + len(tokens)] = torch.tensor(tokens)
            mask[row, start : start + len(tokens)] = 1
        return ids.to(self.model.device), mask.to(self.model.device)

    def open_reader(self, inputs: Sequence[list[int]]) -> Reader:
        """Feed the model one batch of input ids, for a caller that runs the search itself, token by token."""
        ids, mask = self.pad(inputs)
        return self.family.open_reader(self.model, ids, mask)

    def generation_config(self, settings: Generation) -> GenerationConfig:
        """Return transformers' configuration for ``settings``, with the special tokens of this model."""
        checkpoint_config = self.model.generation_config
        return GenerationConfig(
            **settings.model_dump(exclude={"batch_size"}),
            do_sample=False,
            early_stopping=settings.num_beams > 1,
            bos_token_id=checkpoint_config.bos_token_id,
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
            decoder_start_token_id=checkpoint_config.decoder_start_token_id,
            forced_bos_token_id=checkpoint_config.forced_bos_token_id,
            forced_eos_token_id=checkpoint_config.forced_eos_token_id,
        )


def ran_out_of_memory(error: Exception) -> bool:
    """Return whether a torch error means that memory ran out; if so, free CUDA's cached memory."""
    # torch has no error class for running out of CPU memory.
    if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and "can't allocate memory" not in str(error):
        return False
    torch.cuda.empty_cache()
    return True
