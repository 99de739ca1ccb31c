"""Batched generation with torch: from dialogues to n-best summaries with scores."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from yoyak.decoding.batches import Generated, summarize_in_batches
from yoyak.decoding.candidates import Candidate
from yoyak.decoding.deadline import check_deadline
from yoyak.decoding.likelihood import Target, score_in_batches
from yoyak.decoding.memory import Footprint
from yoyak.decoding.reading import Window, count_searches, make_window, summarize_all
from yoyak.decoding.repetition import take_rules
from yoyak.decoding.scores import SequenceScores
from yoyak.decoding.summarizer import Summaries
from yoyak.models.families import family_of
from yoyak.models.families.reader import Reader
from yoyak.models.load import load_trained
from yoyak.models.precision import find_device
from yoyak.models.spec import ModelSpec, load_spec
from yoyak.models.steps import TOPIC, prepare_target
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

    @functools.cached_property
    def footprint(self) -> Footprint:
        """How much memory a search takes, from the caches that a short one fills."""
        ids, mask = self.pad([[int(self.tokenizer.eos_token_id)] * 2])
        settings = Generation(max_new_tokens=2, min_new_tokens=2, num_beams=1, num_return_sequences=1)
        with torch.inference_mode():
            output: Any = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=self.generation_config(settings),
                use_model_defaults=False,
                return_dict_in_generate=True,
            )
        cache = output.past_key_values
        own, cross = getattr(cache, "self_attention_cache", cache), getattr(cache, "cross_attention_cache", None)
        keys = own.layers[0].keys
        config = self.model.config.get_text_config(decoder=True)
        return Footprint(
            token_bytes=_cache_bytes(own),
            read_bytes=_cache_bytes(cross) if cross is not None else 0,
            vocabulary=int(config.vocab_size),
            heads=int(getattr(config, "num_attention_heads", keys.shape[1])),
            width=int(keys.shape[1] * keys.shape[3]),
        )

    def bytes_per_dialogue(self, settings: Generation) -> int:
        """Return what a search takes for one dialogue that fills the window, at most."""
        return self.footprint.bytes_per_dialogue(
            read=self.spec.max_input_tokens, new=settings.max_new_tokens, beams=settings.num_beams
        )

    def summarize(
        self, dialogues: Sequence[str], *, generation: Generation | None = None, progress: bool = False
    ) -> Summaries:
        """Return the candidates of each dialogue, best first, in the order of the dialogues."""

        def search(texts: Sequence[str], settings: Generation) -> Summaries:
            inputs = self.encode(texts)
            config = self.generation_config(settings)
            return summarize_in_batches(
                inputs,
                lambda rows: self.generate([inputs.input_ids[row] for row in rows], config),
                batch_size=settings.batch_size,
                truncate=self.spec.truncate,
                ran_out_of_memory=ran_out_of_memory,
                progress=progress,
            )

        settings = generation or self.generation
        return summarize_all(dialogues, settings, search, window=self.window, preprocessing=self.spec.preprocessing)

    @property
    def reads_topics(self) -> bool:
        """Whether it was trained to read a dialogue with its topic."""
        return TOPIC in self.spec.preprocessing

    def count_searches(self, dialogues: Sequence[str]) -> list[int]:
        """Return how many texts are searched for each dialogue: more than one for what is read in parts."""
        return count_searches(dialogues, self.window, self.spec.preprocessing)

    @functools.cached_property
    def window(self) -> Window | None:
        """How it reads a dialogue in parts; None if it truncates."""
        return make_window(self.family, self.tokenizer, self.spec)

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
        config = copy.copy(config)
        first = self.family.first_counted(ids.shape[1])
        rules = take_rules(config, first) if first else []
        scores = SequenceScores(config)
        output: Any = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=config,
            logits_processor=LogitsProcessorList([*rules, *processors, scores]),
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

    def log_likelihoods(self, dialogues: Sequence[str], texts: Sequence[Sequence[str]]) -> list[list[float]]:
        """Return the log-likelihood of each text of each dialogue as its summary, with its end, in nats.

        Of a text that is longer than the model's window, the rest is as likely as its beginning, token by token.
        """
        inputs = self.encode(dialogues).input_ids
        flat = [prepare_target(text, self.spec.preprocessing) for row in texts for text in row]
        owners = [index for index, row in enumerate(texts) for _ in row]
        limit = max(len(text.encode()) for text in flat) + 3 if flat else 0  # No tokenizer makes more of a text.
        tokens = self.family.encode_summaries(self.tokenizer, flat, limit, self.model.generation_config) if flat else []
        window = self.new_token_limit or limit
        totals = score_in_batches(
            [Target(owner, ids[:window]) for owner, ids in zip(owners, tokens, strict=True)],
            [len(ids) for ids in inputs],
            lambda batch: self._score(inputs, batch),
            vocabulary=int(self.model.config.get_text_config(decoder=True).vocab_size),
            ran_out_of_memory=ran_out_of_memory,
        )
        scores = iter(total * len(ids) / min(window, len(ids)) for total, ids in zip(totals, tokens, strict=True))
        return [[next(scores) for _ in row] for row in texts]

    @torch.inference_mode()
    def _score(self, inputs: Sequence[list[int]], batch: Sequence[Target]) -> list[float]:
        """Return the log-likelihoods of a batch; each of its dialogues is read once, however many texts it has."""
        check_deadline()
        read = list(dict.fromkeys(target.dialogue for target in batch))
        reader = self.open_reader([inputs[dialogue] for dialogue in read])
        width = max(len(target.tokens) for target in batch)
        device = self.model.device
        ids = torch.tensor([[*target.tokens, *[target.tokens[-1]] * (width - len(target.tokens))] for target in batch])
        counted = torch.arange(width) < torch.tensor([[len(target.tokens)] for target in batch])
        ids, counted = ids.to(device), counted.to(device)
        logits = reader.begin(torch.tensor([read.index(target.dialogue) for target in batch], device=device))[:, None]
        if width > 1:
            logits = torch.cat([logits, reader.follow(None, ids[:, :-1])], 1)
        chosen = logits.gather(-1, ids[..., None])[..., 0] - logits.logsumexp(-1)
        totals: list[float] = chosen.double().masked_fill(~counted, 0.0).sum(1).tolist()
        return totals

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
            **settings.search,
            do_sample=False,
            early_stopping=settings.num_beams > 1,
            bos_token_id=checkpoint_config.bos_token_id,
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
            decoder_start_token_id=checkpoint_config.decoder_start_token_id,
            forced_bos_token_id=checkpoint_config.forced_bos_token_id,
            forced_eos_token_id=checkpoint_config.forced_eos_token_id,
        )


def _cache_bytes(cache: Any) -> int:
    """Return the bytes of one token in all layers of a cache."""
    tensors = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
    return sum(tensor.shape[1] * tensor.shape[3] * tensor.element_size() for tensor in tensors)


def ran_out_of_memory(error: Exception) -> bool:
    """Return whether a torch error means that memory ran out; if so, free CUDA's cached memory."""
    # torch has no error class for running out of CPU memory.
    if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and "can't allocate memory" not in str(error):
        return False
    torch.cuda.empty_cache()
    return True
